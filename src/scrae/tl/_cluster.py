"""Clusters of codes, and their scores where labels are named."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from scrae.cluster.graph import leiden, leiden_at, smoothed
from scrae.cluster.metrics import score as score_clusters
from scrae.cluster.partition import by_size, choose_n_clusters, gmm, kmeans
from scrae.cluster.transfer import vote
from scrae.config import ClusterConfig, ClusterMethod
from scrae.errors import ScraeError, did_you_mean
from scrae.io.notes import add_note, remove_notes
from scrae.tl._codes import MOST, codes_of, neighbours, sample_of

__all__ = ["cluster", "score"]

_STARTS = 20
"""Of K-means on averaged codes: groups that lie close together have many nearly equal partitions."""
_SAMPLED = "Clusters were made of"


def cluster(
    adata: AnnData,
    *,
    n_clusters: int | None = None,
    method: ClusterMethod = ClusterConfig.method,
    resolution: float | None = None,
    use_rep: str = "X_scrae",
    key_added: str = "scrae",
    graph: AnnData | None = None,
    seed: int = 0,
) -> None:
    """Cluster the codes; writes ``obs[key_added]``, named "0", "1", ... by decreasing size.

    Of more than 100,000 cells a random sample of so many is clustered, and each other cell gets the cluster that most
    of its 15 nearest among them have; the notes say so.

    Parameters
    ----------
    n_clusters : K; None = chosen without labels by :func:`scrae.cluster.partition.choose_n_clusters`, with its curve in
        ``uns["scrae"]["clusters"]``, or left to ``resolution``.
    method : ``smoothed``: K-means on the codes after averaging over 15 neighbours in the codes and 15 in the input's
        components (:func:`neighbours`, :func:`scrae.cluster.graph.smoothed`); ``leiden``: there, at the resolution
        that gives K clusters, or the nearest number that it can give (noted); ``kmeans``: on the codes, as in the
        paper; ``gmm``: a mixture of K Gaussians with full covariances, on the codes.
    resolution : of ``leiden``, in place of K; None = the one that gives K.
    graph : :func:`neighbours` of these codes, where it was made already; None = it is made.

    Raises
    ------
    ScraeError : no such codes, another method, a resolution that cannot be, or more clusters than cells.
    """
    z = codes_of(adata, use_rep)
    config = ClusterConfig(n_clusters=n_clusters, method=method, resolution=resolution)
    facts: dict[str, Any] = {"method": config.method, "use_rep": use_rep, "seed": seed}
    if method in ("kmeans", "gmm"):
        graph = None
    elif graph is None:
        graph = neighbours(adata, use_rep=use_rep, seed=seed)
    sample = sample_of(len(z), MOST, seed=seed) if graph is None else graph.obs["cell"].to_numpy()
    everyone, z = z, z[sample]
    points = z if graph is None else smoothed(graph)
    if resolution is not None and graph is not None:
        labels = by_size(leiden_at(graph, resolution, seed=seed))
        facts["resolution"] = resolution
        n_clusters = int(labels.max()) + 1
    else:
        if n_clusters is None:
            choice = choose_n_clusters(z, seed=seed, smoothed=points)
            facts |= asdict(choice)
            n_clusters = choice.n_clusters
        if n_clusters > len(everyone):
            raise ScraeError(
                f"cluster: expected at most as many clusters as cells ({len(everyone)}), found {n_clusters}"
            )
        if method == "leiden" and graph is not None:
            labels, facts["resolution"] = leiden(graph, n_clusters, seed=seed)
        else:
            labels = _partition(points, n_clusters, method, seed)
    found = int(labels.max()) + 1
    if found != n_clusters:
        gives = "the mixture fills {}" if method == "gmm" else "Leiden gives {} at the nearest resolution"
        add_note(adata, f"{n_clusters} clusters were asked for; {gives.format(found)}.")
    remove_notes(adata, _SAMPLED)
    if len(z) < len(everyone):
        labels = _given_to_all(labels, sample, everyone)
        facts["n_sampled"] = len(z)
        others = "each other one got that of its nearest among them"
        add_note(adata, f"{_SAMPLED} {len(z)} of {len(everyone)} cells; {others}.")
    adata.obs[key_added] = pd.Categorical(labels.astype(str), [str(k) for k in range(found)])
    adata.uns.setdefault("scrae", {})["clusters"] = facts | {"n_clusters": found}


def _partition(points: np.ndarray, n_clusters: int, method: ClusterMethod, seed: int) -> np.ndarray:
    if method == "gmm":
        return gmm(points, n_clusters, seed=seed)
    return kmeans(points, n_clusters, seed=seed, n_init=_STARTS if method == "smoothed" else 10)


def _given_to_all(labels: np.ndarray, sample: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return labels of all codes [cells, latent], 0 the largest, from those of a sample of them."""
    everyone = np.zeros(len(z), dtype=np.int64)
    everyone[sample] = labels
    others = np.ones(len(z), dtype=bool)
    others[sample] = False
    everyone[others] = vote(z[others], z[sample], labels)
    return by_size(everyone)


def score(adata: AnnData, label_key: str, *, cluster_key: str = "scrae") -> dict[str, float]:
    """Score clusters against labels; the only place where labels are read.

    Cells without a label are left out. Writes ``uns["scrae"]["scores"]`` and returns it: nmi (geometric), ari,
    ami, homogeneity, completeness.

    Raises
    ------
    ScraeError : no such column; the message suggests one that is there.
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
    adata.uns.setdefault("scrae", {})["scores"] = scores | {"label_key": label_key}
    return scores
