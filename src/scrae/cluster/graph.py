"""Neighbour graphs of codes, codes averaged over them, and Leiden at a wanted number of clusters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scanpy as sc
from anndata import AnnData
from scipy import sparse

from .neighbors import nearest
from .partition import by_size

__all__ = ["bisected", "leiden", "leiden_at", "neighbours", "smoothed"]

_NEIGHBOURS = 15
_KEPT, _ROUNDS = 1 / 3, 40
"""Codes are averaged while this share of their variance is left, and at most so often."""
_OWN = 0.01
_HIGHEST = 64.0
_BISECTIONS = 60
_LEAST_WIDTH = 1e-3
"""Of a cell's weights, as a share of the mean distance to its neighbours; UMAP's value."""


def neighbours(z: np.ndarray, beside: np.ndarray | None = None) -> AnnData:
    """Return the codes [cells, latent] as X and their weighted graph where scanpy keeps its own.

    ``obsp["joined"]`` is what clusters are made of: for each pair of cells the larger of its weights in the graph of
    the codes and in that of ``beside`` [cells, dimensions]; None = the codes' graph itself.

    A graph is that of ``scanpy.pp.neighbors`` with 15 neighbours, the cell itself being one of them, and UMAP's weights
    (McInnes et al., 2018, section 3.1), made without compiling UMAP first: that takes ten seconds. They are found by
    :func:`scrae.cluster.neighbors.nearest`, exactly among up to 10,000 cells.
    """
    weights, distances = _graph(z)
    graph = AnnData(z)
    graph.obsp["connectivities"], graph.obsp["distances"] = weights, distances
    graph.obsp["joined"] = weights if beside is None else weights.maximum(_graph(beside)[0])
    graph.uns["neighbors"] = {
        "connectivities_key": "connectivities",
        "distances_key": "distances",
        "params": {
            "n_neighbors": min(_NEIGHBOURS, len(z)),
            "method": "umap",
            "metric": "euclidean",
            "use_rep": "X",
        },
    }
    return graph


def _graph(z: np.ndarray) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Return the weights and the distances of each point's neighbours, [cells, cells]."""
    n_neighbors = min(_NEIGHBOURS, len(z))
    distance, index = nearest(z, n_neighbors - 1)  # [cells, neighbours], without the cell itself
    rows = np.arange(len(z) + 1) * (n_neighbors - 1)
    shape = (len(z), len(z))
    weights = _weights(distance, np.log2(n_neighbors))
    one_way = sparse.csr_matrix((weights.ravel(), index.ravel(), rows), shape)
    both = one_way + one_way.T - one_way.multiply(one_way.T)
    distances = sparse.csr_matrix((distance.ravel(), index.ravel(), rows), shape)
    return sparse.csr_matrix(both, dtype=np.float32), distances


def _weights(distance: np.ndarray, total: float) -> np.ndarray:
    """Return exp(-(d - d_nearest) / width), with each cell's width such that its weights sum to ``total``."""
    nearest = np.where(distance > 0, distance, np.inf).min(axis=1, keepdims=True)
    beyond = np.maximum(distance - np.where(np.isfinite(nearest), nearest, 0.0), 0.0)
    low, high = np.zeros_like(nearest), np.full_like(nearest, 2 * beyond.max() + 1e-12)
    for _ in range(_BISECTIONS):
        width = (low + high) / 2
        many = np.exp(-beyond / width).sum(axis=1, keepdims=True) > total
        low, high = np.where(many, low, width), np.where(many, width, high)
    mean = distance.mean(axis=1, keepdims=True)
    least = _LEAST_WIDTH * np.where(np.isfinite(nearest), mean, mean.mean())
    return np.asarray(np.exp(-beyond / np.maximum(width, least + np.finfo(float).tiny)))


def smoothed(graph: AnnData) -> np.ndarray:
    """Return the codes of :func:`neighbours`' graph after averaging over it, joined, float64 [cells, latent].

    Each round replaces a cell's code by the weighted mean of its neighbours' codes (graph convolution, Zhang et al.,
    IJCAI 2019, without the learned part), so that a wide type contracts to its middle and different types, with few
    edges between them, stay apart. It ends before the total variance falls below a third of what it was. A hundredth
    of each result is the cell's own code, so that cells of a part without edges to others do not fall together.
    """
    weights = sparse.csr_matrix(graph.obsp["joined"], dtype=np.float64)
    average = sparse.diags_array(1 / np.asarray(weights.sum(axis=1)).ravel()) @ weights
    z = own = np.asarray(graph.X, dtype=np.float64)
    least = _KEPT * z.var(axis=0).sum()
    for _ in range(_ROUNDS):
        after = np.asarray(average @ z)
        if after.var(axis=0).sum() < least:
            break
        z = after
    return (1 - _OWN) * z + _OWN * own


def leiden(graph: AnnData, n_clusters: int, *, seed: int) -> tuple[np.ndarray, float]:
    """Return Leiden clusters of :func:`neighbours`' joined graph, 0 the largest, int64 [cells], and their resolution.

    The resolution is bisected until there are ``n_clusters``; where the number jumps over it, the nearest stands.
    """
    labels, resolution = bisected(lambda resolution: leiden_at(graph, resolution, seed=seed), n_clusters)
    return by_size(labels), resolution


def bisected(clusters_at: Callable[[float], np.ndarray], n_clusters: int) -> tuple[np.ndarray, float]:
    """Return the clusters, and the resolution, at which their number is nearest to ``n_clusters``.

    ``clusters_at`` gives the clusters of a resolution, numbered from 0 without gaps.
    """
    low, high = 0.0, 1.0
    best = clusters_at(high), high
    while _count(best[0]) < n_clusters and high < _HIGHEST:
        low, high = high, 2 * high
        best = clusters_at(high), high
    for _ in range(_BISECTIONS):
        if _count(best[0]) == n_clusters:
            break
        middle = (low + high) / 2
        labels = clusters_at(middle)
        low, high = (middle, high) if _count(labels) < n_clusters else (low, middle)
        if abs(_count(labels) - n_clusters) <= abs(_count(best[0]) - n_clusters):
            best = labels, middle
    return best


def _count(labels: np.ndarray) -> int:
    return int(labels.max()) + 1


def leiden_at(graph: AnnData, resolution: float, *, seed: int) -> np.ndarray:
    """Return Leiden clusters at a resolution, int64 [cells], of the joined graph; without one of scanpy's own."""
    weights = graph.obsp["joined" if "joined" in graph.obsp else "connectivities"]
    sc.tl.leiden(
        graph,
        resolution=resolution,
        random_state=seed,
        adjacency=weights,
        flavor="igraph",
        n_iterations=2,
        directed=False,
    )
    return np.asarray(graph.obs["leiden"].astype(np.int64))
