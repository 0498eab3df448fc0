"""Mapping of new cells onto those that a model was trained on."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData

from scrae.cluster.conformal import conformal_p
from scrae.cluster.transfer import transfer_labels
from scrae.core.alignment import fit_alignment
from scrae.core.model import SCRAE
from scrae.errors import ScraeError, did_you_mean
from scrae.io.notes import add_note
from scrae.tl._codes import codes_of, sample_of
from scrae.tl._counts import count_data, counts_for
from scrae.tl._train import encode

__all__ = ["map"]

_N_CHECKED = 20  # cells that are encoded again, to check that the codes are this model's
_TOLERANCE = 1e-3
_UNSEEN = 0.05
_FITTED = 10_000
_FEWEST = 20
"""Of fewer held-out cells no p-value is below 0.05."""


def map(
    query: AnnData,
    reference: AnnData,
    model: SCRAE,
    *,
    cluster_key: str = "scrae",
    key_added: str = "scrae",
    n_neighbors: int = 15,
    min_overlap: float = 0.5,
    refine: bool = False,
    align: bool = False,
) -> None:
    """Embed new cells with a trained model and transfer the clusters of a reference to them.

    Each new cell gets the majority cluster of its nearest reference cells, and a p-value of "this cell is like the
    reference". A cell that is not flagged as unseen can still be new: the encoder may place unknown cells among known
    ones. Cells of another laboratory may be flagged altogether.

    Parameters
    ----------
    query : AnnData
        New cells with raw counts in ``layers["counts"]``; genes are aligned to the model's by name.
    reference : AnnData
        Cells with the model's codes in ``obsm["X_scrae"]``, usually its training cells; not changed.
    model : SCRAE
        The trained model.
    cluster_key : str
        Column of the reference's ``obs`` to transfer: clusters or cell type names. Cells without a value do not vote.
    key_added : str
        Name of the results.
    n_neighbors : int
        Number of reference cells that vote.
    min_overlap : float
        Smallest allowed fraction of the model's genes in the data.
    refine : bool
        Refine the codes of the new cells, for cells with few molecules: see :func:`embed`. The p-values are those of
        the codes that are not refined.
    align : bool
        Remove from the codes of the new cells what sets them apart from the reference within soft clusters
        (:func:`scrae.core.alignment.fit_alignment`; the reference does not move). For cells of a new batch, of which
        there should be some hundred; map each batch by itself. A type that the reference does not have may be moved
        to a type that it has.

    Raises
    ------
    ScraeError
        As :func:`count_data`; a reference without clusters or with codes of another model; or query and reference are
        the same object.

    Notes
    -----
    Writes into ``query``:

    - ``obsm["X_" + key_added]``: codes, float32 [cells, latent].
    - ``obs[key_added]``: majority cluster of the neighbors, categorical with the reference's categories.
    - ``obs[key_added + "_confidence"]``: fraction of the neighbors in it, 0 to 1.
    - ``obs[key_added + "_distance"]``: mean distance to the neighbors, divided by the same mean of the neighbors
      themselves (:func:`scrae.cluster.transfer.transfer_labels`): about 1 for a similar cell.
    - ``obs[key_added + "_p"]``: conformal p-value (:func:`scrae.cluster.conformal.conformal_p`) of that distance among
      the reference cells that :func:`train` held out (``obs["scrae_held_out"]``), or among all if fewer than 20 were.
    - ``obs[key_added + "_unseen"]``: whether p is at most 0.05, or the cell has no counts in the modeled genes. The
      model has not seen such cells, and their cluster means little. Of cells like the reference, 5 % are flagged.
    - ``uns[key_added + "_colors"]``: the reference's colors, if it has any.
    - ``uns["scrae"]["map"]``: cluster_key, n_neighbors, n_compared and n_unseen.

    Examples
    --------
    >>> scrae.tl.map(new, adata, model, cluster_key="bulk_labels", key_added="label")
    >>> labels = new.obs[["label", "label_confidence", "label_unseen"]]
    """
    if query is reference:
        raise ScraeError("map: expected new cells, found the reference itself; use scrae.tl.cluster")
    clusters = _clusters(reference, cluster_key)
    z = codes_of(reference, "X_scrae")
    _check_codes(reference, z, model)
    data = counts_for(query, model, min_overlap=min_overlap)
    codes = model.encode(data)
    if align:
        codes = _aligned(codes, z)
    known = clusters.codes >= 0
    found = transfer_labels(codes, z[known], clusters.codes[known], n_neighbors=n_neighbors)
    compared = _compared(reference, known)
    p = conformal_p(found.distance, found.reference_distance[compared])
    if refine:
        codes = encode(model, data, refine=True)
        codes = _aligned(codes, z) if align else codes
        found = transfer_labels(codes, z[known], clusters.codes[known], n_neighbors=n_neighbors)
    unseen = (p <= _UNSEEN) | (data.totals == 0).cpu().numpy()
    query.obsm[f"X_{key_added}"] = codes
    query.obs[key_added] = pd.Categorical.from_codes(found.label, dtype=clusters.dtype)
    query.obs[f"{key_added}_confidence"] = found.share
    query.obs[f"{key_added}_distance"] = found.distance
    query.obs[f"{key_added}_p"] = p
    query.obs[f"{key_added}_unseen"] = unseen
    if f"{cluster_key}_colors" in reference.uns:
        query.uns[f"{key_added}_colors"] = reference.uns[f"{cluster_key}_colors"]
    query.uns.setdefault("scrae", {})["map"] = {
        "cluster_key": cluster_key,
        "n_neighbors": n_neighbors,
        "n_compared": int(compared.sum()),
        "n_unseen": int(unseen.sum()),
    }
    add_note(
        query,
        f"{unseen.sum()} of {len(unseen)} cells are unlike the reference (p <= 0.05; of cells like it, 5 % are).",
    )


def _aligned(codes: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the codes of a new batch, moved to those of the reference; at most 10,000 cells of each say how."""
    known, new = (z[sample_of(len(z), _FITTED, seed=0)] for z in (reference, codes))
    batch = np.repeat([0, 1], [len(known), len(new)])
    fitted = fit_alignment(np.vstack([known, new]), batch, 2, seed=0, fixed=0)
    return fitted.apply(codes, np.ones(len(codes), dtype=np.int64))


def _compared(reference: AnnData, known: np.ndarray) -> np.ndarray:
    """Return which of the known cells the p-values compare with: those that training held out, or all."""
    if "scrae_held_out" not in reference.obs:
        return np.ones(known.sum(), dtype=bool)
    held_out = reference.obs["scrae_held_out"].to_numpy(dtype=bool)[known]
    return held_out if held_out.sum() >= _FEWEST else np.ones(len(held_out), dtype=bool)


def _clusters(reference: AnnData, key: str) -> pd.Categorical:
    if key not in reference.obs:
        raise ScraeError(
            f"map: expected a column {key!r} in the reference's obs, found "
            f"{', '.join(reference.obs.columns) or 'none'}; "
            "use scrae.tl.cluster(reference), or name a column as cluster_key"
            f"{did_you_mean(key, reference.obs)}"
        )
    clusters = pd.Categorical(reference.obs[key])
    if not len(clusters.categories):
        raise ScraeError(f"map: expected clusters in the reference's obs[{key!r}], found none")
    return clusters


def _check_codes(reference: AnnData, z: np.ndarray, model: SCRAE) -> None:
    """Refuse codes of another model; if the reference has counts, a few cells are encoded again."""
    same = z.shape[1] == model.config.n_latent
    if same and "counts" in reference.layers and set(model.genes) <= set(reference.var_names):
        few = np.linspace(0, len(z) - 1, min(_N_CHECKED, len(z))).astype(int)
        again = model.encode(count_data(reference[few], genes=model.genes, device=model.library_mean.device))
        same = np.allclose(z[few], again, rtol=_TOLERANCE, atol=_TOLERANCE * float(np.abs(z).max()))
    if not same:
        raise ScraeError(
            'map: expected codes of this model in the reference\'s obsm["X_scrae"], found others; '
            "use scrae.tl.embed(reference, model) and scrae.tl.cluster(reference)"
        )
