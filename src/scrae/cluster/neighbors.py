"""Nearest points: exact among few, nearly all of them among many."""

from __future__ import annotations

import math

import numpy as np
from scipy import sparse
from sklearn.metrics import euclidean_distances, pairwise_distances_argmin
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

__all__ = ["nearest"]

_FEW = 10_000
"""Points among which the search is exact."""
_RECALL, _CHECKED = 0.995, 1000
"""So many cells are searched that this share of the neighbours of so many random points is in them."""
_ROUNDS = 3


def nearest(
    points: np.ndarray, n_neighbors: int, *, among: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest points by Euclidean distance, nearest first.

    Among up to 10,000 points the search is exact, by a k-d tree. Of more, the square root of their number are drawn,
    and three of Lloyd's rounds from there divide the others into so many cells. Who lies in a cell, or nearest to its
    centre, is compared with all points of the cells whose centres are nearest to that one (an inverted file, as in
    Jégou et al., IEEE TPAMI 33:117, 2011, without the quantiser). How many cells is read off the exact neighbours of
    1,000 random points, of which 99.5 % have to be in them: few where the points form groups, all where they form
    none. The draws are the same in every call and one thread does all: the same points have the same neighbours.

    Parameters
    ----------
    points : [points, dimensions], whose neighbours are wanted.
    n_neighbors : how many each; fewer than the points, or at most as many as those of ``among``.
    among : where to look, [others, dimensions]; None = the points themselves, each without itself.

    Returns
    -------
    distance : float64 [points, n_neighbors].
    index : int64 [points, n_neighbors], rows of ``among``, or of ``points``.
    """
    points = np.asarray(points, dtype=np.float64)
    there = points if among is None else np.asarray(among, dtype=np.float64)
    if len(there) <= _FEW:
        tree = NearestNeighbors(n_neighbors=n_neighbors, algorithm="kd_tree").fit(there)
        distance, index = tree.kneighbors(None if among is None else points)
        return distance, index
    with threadpool_limits(1):
        return _by_cells(points, n_neighbors, there, itself=among is None)


def _by_cells(
    points: np.ndarray, n_neighbors: int, there: np.ndarray, *, itself: bool
) -> tuple[np.ndarray, np.ndarray]:
    centres = _centres(there)
    kept, cell = np.unique(pairwise_distances_argmin(there, centres), return_inverse=True)
    centres, wanted = centres[kept], n_neighbors + itself
    home = cell if itself else pairwise_distances_argmin(points, centres)
    near = np.argsort(
        euclidean_distances(centres), axis=1, kind="stable"
    )  # [cells, cells], the nearest first
    sample = np.random.default_rng(0).permutation(len(points))[:_CHECKED]
    exact = NearestNeighbors(n_neighbors=wanted, algorithm="brute").fit(there)
    found = exact.kneighbors(points[sample], return_distance=False)[:, int(itself) :]
    place = np.argsort(near, axis=1)[
        home[sample][:, None], cell[found]
    ]  # of their cells among those nearest to home
    searched = max(
        int(np.quantile(place, _RECALL, method="higher")) + 1, wanted
    )  # each cell has a point at least
    cells, wanting = _members(cell, len(kept)), _members(home, len(kept))
    distance = np.empty((len(points), n_neighbors))
    index = np.empty((len(points), n_neighbors), dtype=np.int64)
    for rows, probes in zip(wanting, near[:, :searched], strict=True):
        if not len(rows):
            continue
        candidates = np.concatenate([cells[probe] for probe in probes])
        search = NearestNeighbors(n_neighbors=wanted, algorithm="brute").fit(there[candidates])
        found = candidates[search.kneighbors(points[rows], return_distance=False)]
        if itself:
            others = found != rows[:, None]
            others[others.all(axis=1), -1] = False  # among so many copies that it is not there itself
            found = found[others].reshape(len(rows), n_neighbors)
        away = np.linalg.norm(points[rows, None] - there[found], axis=2)  # those by products are rounded
        order = np.argsort(away, axis=1, kind="stable")
        distance[rows] = np.take_along_axis(away, order, axis=1)
        index[rows] = np.take_along_axis(found, order, axis=1)
    return distance, index


def _centres(points: np.ndarray) -> np.ndarray:
    """Return the centres of about as many cells as each will have points, [cells, dimensions]."""
    n_cells = math.isqrt(len(points))
    centres = points[np.random.default_rng(0).choice(len(points), n_cells, replace=False)]
    for _ in range(_ROUNDS):
        cell = pairwise_distances_argmin(points, centres)
        ones = sparse.csr_matrix(
            (np.ones(len(points)), (cell, np.arange(len(points)))), (n_cells, len(points))
        )
        size = np.bincount(cell, minlength=n_cells)[:, None]
        centres = np.where(size > 0, (ones @ points) / np.maximum(size, 1), centres)
    return centres


def _members(cell: np.ndarray, n_cells: int) -> list[np.ndarray]:
    """Return the rows of each cell, in order."""
    order = np.argsort(cell, kind="stable")
    return np.split(order, np.searchsorted(cell[order], np.arange(1, n_cells)))
