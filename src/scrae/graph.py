"""The neighbour graph of codes, by scanpy; codes averaged over it; Leiden at a wanted number of clusters."""

from __future__ import annotations

import numpy as np
import scanpy as sc
from anndata import AnnData
from scipy import sparse
from sklearn.neighbors import KNeighborsTransformer

from .clustering import by_size

__all__ = ["leiden", "neighbours", "smoothed"]

_NEIGHBOURS = 15
_KEPT, _ROUNDS = 1 / 3, 100
"""Codes are averaged while this share of their variance is left, and at most so often."""
_OWN = 0.01
_HIGHEST = 64.0
_BISECTIONS = 30


def neighbours(z: np.ndarray, *, seed: int) -> AnnData:
    """Return an AnnData with the codes [cells, latent] as X and scanpy's weighted graph of 15 exact neighbours."""
    graph = AnnData(z)
    n_neighbors = min(_NEIGHBOURS, len(z) - 1)
    exact = KNeighborsTransformer(n_neighbors=n_neighbors, algorithm="kd_tree")
    sc.pp.neighbors(graph, n_neighbors=n_neighbors, use_rep="X", transformer=exact, random_state=seed)
    return graph


def smoothed(graph: AnnData) -> np.ndarray:
    """Return the codes of :func:`neighbours`' graph after averaging over neighbours, float64 [cells, latent].

    Each round replaces a cell's code by the weighted mean of its neighbours' codes (graph convolution, Zhang et al.,
    IJCAI 2019, without the learned part), so that a wide type contracts to its middle and different types, with few
    edges between them, stay apart. It ends before the total variance falls below a third of what it was. A hundredth
    of each result is the cell's own code, so that cells of a part without edges to others do not fall together.
    """
    weights = sparse.csr_matrix(graph.obsp["connectivities"], dtype=np.float64)
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
    """Return Leiden clusters of :func:`neighbours`' graph, 0 the largest, int64 [cells], and their resolution.

    The resolution is bisected until there are ``n_clusters``; where the number jumps over it, the nearest stands.
    """
    low, high = 0.0, 1.0
    best = _leiden(graph, high, seed), high
    while _count(best[0]) < n_clusters and high < _HIGHEST:
        low, high = high, 2 * high
        best = _leiden(graph, high, seed), high
    for _ in range(_BISECTIONS):
        if _count(best[0]) == n_clusters:
            break
        middle = (low + high) / 2
        labels = _leiden(graph, middle, seed)
        low, high = (middle, high) if _count(labels) < n_clusters else (low, middle)
        if abs(_count(labels) - n_clusters) <= abs(_count(best[0]) - n_clusters):
            best = labels, middle
    return by_size(best[0]), best[1]


def _count(labels: np.ndarray) -> int:
    return int(labels.max()) + 1  # scanpy numbers them from 0 without gaps


def _leiden(graph: AnnData, resolution: float, seed: int) -> np.ndarray:
    sc.tl.leiden(
        graph, resolution=resolution, random_state=seed, flavor="igraph", n_iterations=2, directed=False
    )
    return np.asarray(graph.obs["leiden"].astype(np.int64))
