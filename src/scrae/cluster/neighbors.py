"""Nearest neighbors: exact among few points, approximate among many."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.metrics import euclidean_distances, pairwise_distances_argmin
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

__all__ = ["NeighborIndex", "find_neighbors"]

_EXACT = 10_000
"""Largest number of points with an exact search."""
_TREE_DIMENSIONS = 15
"""With more, brute force is faster than a k-d tree."""
_RECALL, _SAMPLE = 0.995, 1000
"""Enough partitions are searched to hold this fraction of the true neighbors of a sample of this size."""
_LLOYD_ITERATIONS = 3


def find_neighbors(points: np.ndarray, n_neighbors: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest neighbors of each point among the others; see :meth:`NeighborIndex.search_self`."""
    return NeighborIndex(points).search_self(n_neighbors)


class NeighborIndex:
    """Index for nearest-neighbor queries by Euclidean distance.

    Up to 10,000 points are searched exactly: by a k-d tree up to 15 dimensions, otherwise by brute force. More points
    are divided into as many partitions as the square root of their number, by three iterations of Lloyd's algorithm
    from random centers. A query is compared with all points of the partitions nearest to its own (an inverted file:
    Jégou et al., IEEE TPAMI 33:117, 2011, without quantization). The number of partitions searched is chosen such that
    they hold 99.5 % of the exact neighbors of 1,000 random queries. It is small for points in groups, and close to all
    partitions for points without structure.

    The random draws are fixed and the search uses one thread, so the same points always have the same neighbors.

    Parameters
    ----------
    points : ndarray of shape (n_points, n_dimensions)
        The points to search.
    """

    def __init__(self, points: np.ndarray) -> None:
        self.points = np.asarray(points, dtype=np.float64)
        self._exact: Any = None
        if len(self.points) <= _EXACT:
            many = self.points.shape[1] > _TREE_DIMENSIONS
            self._exact = NearestNeighbors(algorithm="brute" if many else "kd_tree").fit(self.points)
            return
        with threadpool_limits(1):
            centers = _centers(self.points)
            used, self._home = np.unique(pairwise_distances_argmin(self.points, centers), return_inverse=True)
            self._centers = centers[used]
            self._members = _members(self._home, len(used))
            distance = euclidean_distances(self._centers)
            self._nearest_partitions = np.argsort(distance, axis=1, kind="stable")

    def search(self, queries: np.ndarray, n_neighbors: int) -> tuple[np.ndarray, np.ndarray]:
        """Find the nearest points of each query, nearest first.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_dimensions)
            Where to look from.
        n_neighbors : int
            Neighbors per query, at most the number of points.

        Returns
        -------
        distance : ndarray of float64, shape (n_queries, n_neighbors)
            Euclidean distances.
        index : ndarray of int64, shape (n_queries, n_neighbors)
            Rows of the index's points.
        """
        queries = np.asarray(queries, dtype=np.float64)
        if self._exact is not None:
            distance, index = self._exact.kneighbors(queries, n_neighbors)
            return distance, index
        with threadpool_limits(1):
            home = pairwise_distances_argmin(queries, self._centers)
            return self._search_partitions(queries, home, n_neighbors, exclude_self=False)

    def search_self(self, n_neighbors: int) -> tuple[np.ndarray, np.ndarray]:
        """Find the nearest other points of each point; as :meth:`search`, with fewer neighbors than points."""
        if self._exact is not None:
            distance, index = self._exact.kneighbors(None, n_neighbors)
            return distance, index
        with threadpool_limits(1):
            return self._search_partitions(self.points, self._home, n_neighbors, exclude_self=True)

    def _search_partitions(
        self, queries: np.ndarray, home: np.ndarray, n_neighbors: int, *, exclude_self: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        wanted = n_neighbors + exclude_self
        n_searched = self._n_partitions_to_search(queries, home, wanted, exclude_self)
        distance = np.empty((len(queries), n_neighbors))
        index = np.empty((len(queries), n_neighbors), dtype=np.int64)
        groups = _members(home, len(self._centers))
        for rows, searched in zip(groups, self._nearest_partitions[:, :n_searched], strict=True):
            if not len(rows):
                continue
            candidates = np.concatenate([self._members[partition] for partition in searched])
            brute = NearestNeighbors(n_neighbors=wanted, algorithm="brute").fit(self.points[candidates])
            found = candidates[brute.kneighbors(queries[rows], return_distance=False)]
            if exclude_self:
                others = found != rows[:, None]
                others[others.all(axis=1), -1] = False  # more duplicates than neighbors: itself is not found
                found = found[others].reshape(len(rows), n_neighbors)
            exact = np.linalg.norm(queries[rows, None] - self.points[found], axis=2)  # brute force rounds
            order = np.argsort(exact, axis=1, kind="stable")
            distance[rows] = np.take_along_axis(exact, order, axis=1)
            index[rows] = np.take_along_axis(found, order, axis=1)
        return distance, index

    def _n_partitions_to_search(
        self, queries: np.ndarray, home: np.ndarray, wanted: int, exclude_self: bool
    ) -> int:
        """Return how many of the nearest partitions hold nearly all exact neighbors of a sample of queries."""
        sample = np.random.default_rng(0).permutation(len(queries))[:_SAMPLE]
        brute = NearestNeighbors(n_neighbors=wanted, algorithm="brute").fit(self.points)
        found = brute.kneighbors(queries[sample], return_distance=False)[:, int(exclude_self) :]
        place = np.argsort(self._nearest_partitions, axis=1)[home[sample][:, None], self._home[found]]
        # no partition is empty, so that `wanted` of them hold enough points
        return max(int(np.quantile(place, _RECALL, method="higher")) + 1, wanted)


def _centers(points: np.ndarray) -> np.ndarray:
    """Return the centers of the partitions, [partitions, dimensions]."""
    n_partitions = math.isqrt(len(points))
    centers = points[np.random.default_rng(0).choice(len(points), n_partitions, replace=False)]
    for _ in range(_LLOYD_ITERATIONS):
        home = pairwise_distances_argmin(points, centers)
        ones = sparse.csr_matrix(
            (np.ones(len(points)), (home, np.arange(len(points)))), (n_partitions, len(points))
        )
        size = np.bincount(home, minlength=n_partitions)[:, None]
        centers = np.where(size > 0, (ones @ points) / np.maximum(size, 1), centers)
    return centers


def _members(partition: np.ndarray, n_partitions: int) -> list[np.ndarray]:
    """Return the rows of each partition, in order."""
    order = np.argsort(partition, kind="stable")
    return np.split(order, np.searchsorted(partition[order], np.arange(1, n_partitions)))
