"""Nearest points: exact among few, nearly exact among many."""

from __future__ import annotations

import math

import numpy as np
from scipy import sparse
from sklearn.metrics import pairwise_distances_argmin
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

__all__ = ["nearest"]

_FEW = 10_000
"""Points among which the search is exact."""
_PROBED = 32
"""Cells that are searched, of as many as the square root of the points."""
_ROUNDS = 3


def nearest(
    points: np.ndarray, n_neighbors: int, *, among: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest points by Euclidean distance, nearest first.

    Among up to 10,000 points the search is exact, by a k-d tree. Of more, the square root of their number are drawn,
    and three of Lloyd's rounds from there divide the others into so many cells. Who lies in a cell, or nearest to its
    centre, is compared with all points of the 32 cells whose centres are nearest to that one (an inverted file, as in
    Jégou et al., IEEE TPAMI 33:117, 2011, without the quantiser). ``docs/scale.md`` says how many neighbours that
    finds. The draw is the same in every call and one thread does all, so that the same points have the same neighbours.

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
    if len(there) <= _FEW or n_neighbors >= _PROBED:  # each cell has one point at least
        tree = NearestNeighbors(n_neighbors=n_neighbors, algorithm="kd_tree").fit(there)
        distance, index = tree.kneighbors(None if among is None else points)
        return distance, index
    with threadpool_limits(1):
        return _by_cells(points, n_neighbors, there, itself=among is None)


def _by_cells(
    points: np.ndarray, n_neighbors: int, there: np.ndarray, *, itself: bool
) -> tuple[np.ndarray, np.ndarray]:
    centres = _centres(there)
    cells = _members(pairwise_distances_argmin(there, centres), len(centres))
    centres = centres[[len(cell) > 0 for cell in cells]]
    cells = [cell for cell in cells if len(cell)]
    wanting = cells if itself else _members(pairwise_distances_argmin(points, centres), len(centres))
    probed = min(_PROBED, len(cells))
    near = NearestNeighbors(n_neighbors=probed, algorithm="brute").fit(centres)
    distance = np.empty((len(points), n_neighbors))
    index = np.empty((len(points), n_neighbors), dtype=np.int64)
    for rows, probes in zip(wanting, near.kneighbors(centres, return_distance=False), strict=True):
        if not len(rows):
            continue
        candidates = np.concatenate([cells[probe] for probe in probes])
        search = NearestNeighbors(n_neighbors=n_neighbors + itself, algorithm="brute").fit(there[candidates])
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
