"""Clusters of the latent representation, and their scores against labels."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scrae.cluster.graph import NeighborGraph
from scrae.cluster.metrics import score as score_clusters
from scrae.cluster.partition import Partition, cluster_codes, rank_by_size
from scrae.cluster.significance import is_one_population
from scrae.cluster.transfer import vote
from scrae.config import ClusterConfig, ClusterMethod
from scrae.errors import ScraeError, did_you_mean
from scrae.io.notes import add_note, remove_notes
from scrae.pp._gene_kinds import mitochondrial
from scrae.tl import _codes
from scrae.tl._codes import codes_of, input_key, neighbors, sample_of

__all__ = ["cluster", "score"]

_SAMPLED, _ONE = "Clusters were computed on", "One cluster was chosen:"


def cluster(
    adata: AnnData,
    *,
    n_clusters: int | None = None,
    method: ClusterMethod = ClusterConfig.method,
    resolution: float | None = None,
    use_rep: str = "X_scrae",
    input_rep: str | None = "auto",
    key_added: str = "scrae",
    graph: NeighborGraph | None = None,
    seed: int = 0,
) -> None:
    """Cluster the cells by their latent representation.

    For more than 100,000 cells a random sample of 100,000 is clustered. Each other cell gets the majority cluster of
    its 15 nearest neighbors in the sample; the notes say so.

    Parameters
    ----------
    adata : AnnData
        Cells with a latent representation.
    n_clusters : int, optional
        Number of clusters K; None = chosen without labels (:func:`scrae.cluster.partition.choose_n_clusters`), or
        left to ``resolution``. It is 1 if the raw counts in ``layers["counts"]`` show no difference between cells
        (:func:`scrae.cluster.significance.is_one_population`).
    method : {"smoothed", "leiden", "kmeans", "gmm"}
        ``smoothed``: K-means on codes averaged over neighboring cells (:func:`scrae.cluster.graph.smooth`).
        ``leiden``: Leiden on the same graph, at the resolution that gives K clusters or the nearest possible number
        (noted). ``kmeans``: K-means on the codes, as in the paper. ``gmm``: a mixture of K Gaussians with full
        covariances on the codes.
    resolution : float, optional
        Resolution of ``leiden``, instead of K.
    use_rep : str
        Key of ``obsm`` with the latent representation.
    input_rep : str or None
        Key of ``obsm`` with a second representation whose neighbors are joined; see :func:`neighbors`.
    key_added : str
        Column of ``obs`` for the clusters, and key of ``uns`` for how they were computed.
    graph : NeighborGraph, optional
        Result of :func:`neighbors` for this representation, if it was computed before; ``input_rep`` is then ignored.
    seed : int
        Seed of sample, choice of K and clustering.

    Raises
    ------
    ScraeError
        No such representation, an invalid setting, or more clusters than cells.

    Notes
    -----
    Writes ``obs[key_added]``, categorical, named "0", "1", ... by decreasing size, and ``uns[key_added]["clusters"]``:
    the settings, the number of clusters and, if it was chosen, the number of communities in each run of Leiden.

    Examples
    --------
    >>> scrae.tl.cluster(adata, n_clusters=5, key_added="five")
    >>> list(adata.obs["five"].cat.categories)
    ['0', '1', '2', '3', '4']
    """
    config = ClusterConfig(n_clusters=n_clusters, method=method, resolution=resolution)
    z, second = codes_of(adata, use_rep), input_key(adata, use_rep, input_rep)
    if config.method in ("kmeans", "gmm") and n_clusters is not None:
        graph = None
    elif graph is None:
        graph = neighbors(adata, use_rep=use_rep, input_rep=second, seed=seed)
    cells = sample_of(len(z), _codes.MAX_CELLS, seed=seed) if graph is None else graph.cells
    found = cluster_codes(z[cells], config, seed=seed, graph=graph)
    remove_notes(adata, _ONE)
    if found.choice is not None and _one_population(adata, seed):
        found = replace(found, labels=np.zeros_like(found.labels), n_requested=1)
        add_note(
            adata,
            f"{_ONE} the counts show no difference between cells; n_clusters divides them nevertheless.",
        )
    facts: dict[str, Any] = {
        "method": config.method,
        "use_rep": use_rep,
        "input_rep": second or "",
        "seed": seed,
    }
    facts |= {} if found.resolution is None else {"resolution": found.resolution}
    facts |= {} if found.choice is None else asdict(found.choice)
    _note_number(adata, found, config.method)
    labels = found.labels
    remove_notes(adata, _SAMPLED)
    if len(cells) < len(z):
        labels = _label_all(labels, cells, z)
        facts["n_sampled"] = len(cells)
        add_note(
            adata,
            f"{_SAMPLED} a random sample of {len(cells)} of {len(z)} cells; "
            "each other cell got the majority cluster of its nearest neighbors in the sample.",
        )
    names = [str(k) for k in range(found.n_clusters)]
    adata.obs[key_added] = pd.Categorical(labels.astype(str), names)
    about = adata.uns.setdefault(key_added, {})
    about["clusters"] = facts | {"n_clusters": found.n_clusters}
    for earlier in ("tree", "significance", "markers", "marker_test"):
        about.pop(earlier, None)


def _one_population(adata: AnnData, seed: int) -> bool:
    """Whether the raw counts show one population; False without raw counts."""
    if "counts" not in adata.layers:
        return False
    counts = sparse.csr_matrix(adata.layers["counts"])
    return is_one_population(counts, mitochondrial(adata.var_names), seed=seed)


def _note_number(adata: AnnData, found: Partition, method: str) -> None:
    if found.n_clusters != found.n_requested:
        gives = "the mixture fills {}" if method == "gmm" else "Leiden gives {} at the nearest resolution"
        add_note(adata, f"{found.n_requested} clusters were requested; {gives.format(found.n_clusters)}.")


def _label_all(labels: np.ndarray, sample: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return labels of all codes [cells, latent], 0 the largest, from those of a sample of them."""
    everyone = np.zeros(len(z), dtype=np.int64)
    everyone[sample] = labels
    others = np.ones(len(z), dtype=bool)
    others[sample] = False
    everyone[others] = vote(z[others], z[sample], labels)
    return rank_by_size(everyone)


def score(adata: AnnData, label_key: str, *, cluster_key: str = "scrae") -> dict[str, float]:
    """Score clusters against labels; nothing else in the package reads labels.

    Parameters
    ----------
    adata : AnnData
        Cells with clusters and labels.
    label_key : str
        Column of ``obs`` with the labels. Cells without a label are excluded.
    cluster_key : str
        Column of ``obs`` with the clusters.

    Returns
    -------
    dict of str to float
        ``nmi`` (geometric mean), ``ari``, ``ami``, ``homogeneity`` and ``completeness``; see
        :func:`scrae.metrics.score`.

    Raises
    ------
    ScraeError
        No such column, or no labels in it.

    Notes
    -----
    Writes ``uns[cluster_key]["scores"]``: the scores and the label key.

    Examples
    --------
    >>> scores = scrae.tl.score(adata, "bulk_labels")
    >>> 0 < scores["nmi"] < 1
    True
    """
    for key in (label_key, cluster_key):
        if key not in adata.obs:
            raise ScraeError(
                f"score: expected a column {key!r} in obs, found {', '.join(adata.obs.columns) or 'none'}"
                f"{did_you_mean(key, adata.obs)}"
            )
    known = adata.obs[label_key].notna().to_numpy()
    if not known.any():
        raise ScraeError(f"score: expected labels in obs[{label_key!r}], found none")
    labels = adata.obs[label_key].astype(str).to_numpy()[known]
    scores = asdict(score_clusters(labels, adata.obs[cluster_key].astype(str).to_numpy()[known]))
    adata.uns.setdefault(cluster_key, {})["scores"] = scores | {"label_key": label_key}
    return scores
