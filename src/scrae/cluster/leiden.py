"""Leiden communities of a neighbor graph, at a resolution or at a number of clusters."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import igraph
import numpy as np
from scipy import sparse

__all__ = ["bisect_resolution", "leiden", "leiden_counts", "leiden_n_clusters"]

_MAX_RESOLUTION = 64.0
_BISECTIONS = 60


def leiden(weights: sparse.csr_matrix, resolution: float, *, seed: int) -> np.ndarray:
    """Find communities by the Leiden algorithm (Traag et al., Scientific Reports 9:5233, 2019).

    The result equals ``scanpy.tl.leiden(flavor="igraph", n_iterations=2, directed=False)``.

    Parameters
    ----------
    weights : csr_matrix of shape (n_cells, n_cells)
        Symmetric edge weights.
    resolution : float
        Resolution of the modularity; larger values give more clusters.
    seed : int
        Seed of the random order of moves.

    Returns
    -------
    ndarray of int64, shape (n_cells,)
        Labels from 0, without gaps.
    """
    return _communities(_to_igraph(weights), resolution, seed)


def leiden_counts(weights: sparse.csr_matrix, resolution: float, *, seeds: Sequence[int]) -> np.ndarray:
    """Return the number of communities that :func:`leiden` finds with each seed, int64 [seeds]."""
    graph = _to_igraph(weights)
    return np.array([_count(_communities(graph, resolution, seed)) for seed in seeds], dtype=np.int64)


def leiden_n_clusters(weights: sparse.csr_matrix, n_clusters: int, *, seed: int) -> tuple[np.ndarray, float]:
    """Find communities at the resolution that gives a number of clusters, or the nearest possible number.

    Parameters
    ----------
    weights, seed
        As for :func:`leiden`.
    n_clusters : int
        Number of clusters.

    Returns
    -------
    labels : ndarray of int64, shape (n_cells,)
        Labels from 0, without gaps.
    resolution : float
        The resolution found by bisection.
    """
    graph = _to_igraph(weights)
    return bisect_resolution(lambda resolution: _communities(graph, resolution, seed), n_clusters)


def bisect_resolution(cluster_at: Callable[[float], np.ndarray], n_clusters: int) -> tuple[np.ndarray, float]:
    """Return the labels, and the resolution, whose number of clusters is nearest to ``n_clusters``.

    ``cluster_at`` maps a resolution to labels from 0, without gaps.
    """
    low, high = 0.0, 1.0
    best = cluster_at(high), high
    while _count(best[0]) < n_clusters and high < _MAX_RESOLUTION:
        low, high = high, 2 * high
        best = cluster_at(high), high
    for _ in range(_BISECTIONS):
        if _count(best[0]) == n_clusters:
            break
        middle = (low + high) / 2
        labels = cluster_at(middle)
        low, high = (middle, high) if _count(labels) < n_clusters else (low, middle)
        if abs(_count(labels) - n_clusters) <= abs(_count(best[0]) - n_clusters):
            best = labels, middle
    return best


def _count(labels: np.ndarray) -> int:
    return int(labels.max()) + 1


def _to_igraph(weights: sparse.csr_matrix) -> igraph.Graph:
    """Return the undirected graph with both edges of each pair, as scanpy makes it."""
    edges = weights.tocoo()
    stored = edges.data != 0
    pairs = np.column_stack([edges.row[stored], edges.col[stored]])
    return igraph.Graph(n=weights.shape[0], edges=pairs, edge_attrs={"weight": edges.data[stored]})


def _communities(graph: igraph.Graph, resolution: float, seed: int) -> np.ndarray:
    igraph.set_random_number_generator(_SeededRandom(seed))
    try:
        found = graph.community_leiden(
            objective_function="modularity", weights="weight", resolution=resolution, n_iterations=2
        )
    finally:
        igraph.set_random_number_generator(random)  # igraph's default
    return np.asarray(found.membership, dtype=np.int64)


class _SeededRandom:
    """The random numbers that igraph asks for, from a seed; the same draws as scanpy's."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.RandomState(seed)
        self.random, self.gauss = self._rng.random, self._rng.normal

    def getrandbits(self, k: int) -> int:
        return int(self._rng.tomaxint()) & ((1 << k) - 1)

    def randint(self, low: int, high: int) -> int:
        return self._rng.randint(low, high + 1)
