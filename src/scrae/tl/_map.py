"""New cells among those that a model was trained on."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData

from scrae.cluster.transfer import nearest_clusters
from scrae.core.model import SCRAE
from scrae.errors import ScraeError, did_you_mean
from scrae.io.notes import add_note
from scrae.tl._codes import codes_of
from scrae.tl._train import count_data

__all__ = ["map"]

_CHECKED = 20  # cells whose codes are made again, to see whether they are this model's
_TOLERANCE = 1e-3


def map(
    query: AnnData,
    reference: AnnData,
    model: SCRAE,
    *,
    cluster_key: str = "scrae",
    key_added: str = "scrae",
    n_neighbors: int = 15,
    min_overlap: float = 0.5,
) -> None:
    """Embed new cells with a trained model and name them after the clusters of the reference around them.

    Parameters
    ----------
    query : cells with raw counts in ``layers["counts"]``; genes are aligned to the model's by name.
    reference : cells with the model's codes in ``obsm["X_scrae"]``, usually those it was trained on; stays as it is.
    cluster_key : the column of the reference's ``obs`` that is voted on: its clusters, or names of cell types. Cells
        without a value do not vote.
    key_added : where the results go.
    n_neighbors : how many cells of the reference vote.
    min_overlap : the least share of the model's genes that must be there.

    Notes
    -----
    Writes into ``query``:

    - ``obsm["X_" + key_added]``: codes, float32 [cells, latent].
    - ``obs[key_added]``: the cluster of most neighbours, categorical with the reference's categories.
    - ``obs[key_added + "_confidence"]``: the share of the neighbours in it, 0 to 1.
    - ``obs[key_added + "_distance"]``: the mean distance to the neighbours, over what that is for the neighbours
      themselves (:func:`scrae.nearest.nearest_clusters`): about 1 for a cell like them.
    - ``obs[key_added + "_unseen"]``: whether that distance is larger than for 95 in 100 cells of the reference, or
      the cell has no count in the modelled genes. The model has not seen such cells, and their cluster means little.
    - ``uns[key_added + "_colors"]``: the reference's colours, where it has some.
    - ``uns["scrae"]["map"]``: cluster_key, n_neighbors, limit (of the distance) and n_unseen.

    A cell that is not flagged can still be new: the encoder may place what it does not know among what it knows.
    Cells of another laboratory may be flagged as a whole.

    Raises
    ------
    ScraeError : as :func:`count_data`; a reference without clusters or with codes of another model; or query and
        reference are one.
    """
    if query is reference:
        raise ScraeError("map: expected new cells, found the reference itself; use scrae.tl.cluster")
    clusters = _clusters(reference, cluster_key)
    z = codes_of(reference, "X_scrae")
    _check_codes(reference, z, model)
    data = count_data(query, genes=model.genes, min_overlap=min_overlap, device=model.library_mean.device)
    codes = model.encode(data)
    known = clusters.codes >= 0
    found = nearest_clusters(codes, z[known], clusters.codes[known], n_neighbors=n_neighbors)
    unseen = (found.distance > found.limit) | (data.totals == 0).cpu().numpy()
    query.obsm[f"X_{key_added}"] = codes
    query.obs[key_added] = pd.Categorical.from_codes(found.label, dtype=clusters.dtype)
    query.obs[f"{key_added}_confidence"] = found.share
    query.obs[f"{key_added}_distance"] = found.distance
    query.obs[f"{key_added}_unseen"] = unseen
    if f"{cluster_key}_colors" in reference.uns:
        query.uns[f"{key_added}_colors"] = reference.uns[f"{cluster_key}_colors"]
    query.uns.setdefault("scrae", {})["map"] = {
        "cluster_key": cluster_key,
        "n_neighbors": n_neighbors,
        "limit": found.limit,
        "n_unseen": int(unseen.sum()),
    }
    add_note(
        query,
        f"{unseen.sum()} of {len(unseen)} cells lie farther from the reference than 95 in 100 of its own cells do.",
    )


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
    """Refuse codes that are not this model's; where the counts are at hand, a few are made again."""
    same = z.shape[1] == model.config.n_latent
    if same and "counts" in reference.layers and set(model.genes) <= set(reference.var_names):
        few = np.linspace(0, len(z) - 1, min(_CHECKED, len(z))).astype(int)
        again = model.encode(count_data(reference[few], genes=model.genes, device=model.library_mean.device))
        same = np.allclose(z[few], again, rtol=_TOLERANCE, atol=_TOLERANCE * float(np.abs(z).max()))
    if not same:
        raise ScraeError(
            'map: expected codes of this model in the reference\'s obsm["X_scrae"], found others; '
            "use scrae.tl.embed(reference, model) and scrae.tl.cluster(reference)"
        )
