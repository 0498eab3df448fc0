"""Clusters of codes, and their scores where labels are named."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pandas as pd
from anndata import AnnData

from scrae.clustering import choose_n_clusters, kmeans
from scrae.config import ClusterConfig, ClusterMethod
from scrae.errors import ScraeError
from scrae.graph import leiden, neighbours, smoothed
from scrae.io import note
from scrae.metrics import score as score_clusters
from scrae.tl._codes import FEW, codes_of

__all__ = ["cluster", "score"]


def cluster(
    adata: AnnData,
    *,
    n_clusters: int | None = None,
    method: ClusterMethod = "smoothed",
    use_rep: str = "X_scrae",
    key_added: str = "scrae",
    seed: int = 0,
) -> None:
    """Cluster the codes; writes ``obs[key_added]``, named "0", "1", ... by decreasing size.

    Parameters
    ----------
    n_clusters : K; None = chosen without labels by :func:`scrae.clustering.choose_n_clusters`, whose curve goes to
        ``uns["scrae"]["clusters"]``.
    method : ``smoothed``: K-means on the codes after averaging over the graph of 15 neighbours
        (:func:`scrae.graph.smoothed`); ``leiden``: on that graph, at the resolution that gives K clusters, or the
        nearest number that it can give (noted); ``kmeans``: on the codes, as in the paper.

    Raises
    ------
    ScraeError : no such codes, another method, or more clusters than cells.
    """
    z = codes_of(adata, use_rep)
    config = ClusterConfig(n_clusters=n_clusters, method=method)
    facts: dict[str, Any] = {"method": config.method, "use_rep": use_rep, "seed": seed}
    graph = None if method == "kmeans" or len(z) <= FEW else neighbours(z)
    points = z if graph is None or method == "leiden" else smoothed(graph)
    if n_clusters is None:
        choice = choose_n_clusters(z, seed=seed, smoothed=points)
        facts |= asdict(choice)
        n_clusters = choice.n_clusters
    if n_clusters > len(z):
        raise ScraeError(
            f"cluster: expected at most as many clusters as cells ({len(z)}), found {n_clusters}"
        )
    if method == "leiden" and graph is not None:
        labels, facts["resolution"] = leiden(graph, n_clusters, seed=seed)
    else:
        labels = kmeans(points, n_clusters, seed=seed)
    found = int(labels.max()) + 1
    if found != n_clusters:
        note(adata, f"{n_clusters} clusters were asked for; Leiden gives {found} at the nearest resolution.")
    adata.obs[key_added] = pd.Categorical(labels.astype(str), [str(k) for k in range(found)])
    adata.uns.setdefault("scrae", {})["clusters"] = facts | {"n_clusters": found}


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
            )
    known = adata.obs[label_key].notna().to_numpy()
    if not known.any():
        raise ScraeError(f"score: expected labels in obs[{label_key!r}], found none")
    labels = adata.obs[label_key].astype(str).to_numpy()[known]
    scores = asdict(score_clusters(labels, adata.obs[cluster_key].astype(str).to_numpy()[known]))
    adata.uns.setdefault("scrae", {})["scores"] = scores | {"label_key": label_key}
    return scores
