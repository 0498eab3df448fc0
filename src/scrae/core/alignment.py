"""Removal of batch effects from a representation of cells, by linear models within soft clusters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.cluster import kmeans_plusplus
from threadpoolctl import threadpool_limits

__all__ = ["Alignment", "align_batches", "fit_alignment"]

_FITTED = 20_000
"""Most cells that the correction is estimated from: a random sample of more."""
_CELLS_PER_CLUSTER, _MAX_CLUSTERS = 30, 100
_WIDTH, _DIVERSITY, _RIDGE = 0.1, 2.0, 0.2
_ROUNDS, _PASSES, _BLOCKS = 10, 4, 20
_MOVED = 0.01
"""Rounds end when the points move less than this, relative to their norm."""
_ROWS = 10_000


@dataclass(frozen=True, kw_only=True)
class _Round:
    """One round: how cells are assigned to soft clusters, and what is then subtracted.

    Attributes
    ----------
    centers : ndarray of shape (n_clusters, n_dimensions)
        Unit vectors.
    weight : ndarray of shape (n_batches, n_clusters)
        Larger than 1 where a batch has fewer cells in a cluster than its share.
    shift : ndarray of shape (n_clusters, n_batches, n_dimensions)
        Effect of each batch in each cluster.
    """

    centers: np.ndarray
    weight: np.ndarray
    shift: np.ndarray

    def apply(self, original: np.ndarray, points: np.ndarray, batch: np.ndarray) -> np.ndarray:
        """Assign the points and subtract from the original ones the effects of their batch."""
        assigned = _similarity(points, self.centers) * self.weight[batch]
        assigned /= assigned.sum(axis=1, keepdims=True)
        after = original.copy()
        for code in range(len(self.weight)):
            rows = batch == code
            after[rows] -= assigned[rows] @ self.shift[:, code]
        return after


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """An estimated correction; see :func:`fit_alignment`."""

    origin: np.ndarray
    rounds: tuple[_Round, ...]

    def apply(self, points: np.ndarray, batch: np.ndarray) -> np.ndarray:
        """Return corrected points, float32 [cells, dimensions], of cells in the given batches, int64 [cells]."""
        parts = []
        for start in range(0, len(points), _ROWS):
            codes = batch[start : start + _ROWS]
            after = original = points[start : start + _ROWS].astype(np.float64) - self.origin
            for one in self.rounds:
                after = one.apply(original, after, codes)
            parts.append((after + self.origin).astype(np.float32))
        return np.concatenate(parts)


def align_batches(
    points: np.ndarray, batch: np.ndarray, *, seed: int, fixed: int | None = None
) -> np.ndarray:
    """Estimate and apply a correction.

    Parameters
    ----------
    points : ndarray of shape (n_cells, n_dimensions)
        For instance principal components, at least one cell.
    batch : ndarray of int64, shape (n_cells,)
        Batch of each cell, from 0.
    seed : int
        Seed of sample and clusters.
    fixed : int, optional
        A batch that stays in place: the others move to it. None = all move to their common mean.

    Returns
    -------
    ndarray of float32, shape (n_cells, n_dimensions)
    """
    rows = np.arange(len(points))
    if len(rows) > _FITTED:
        rows = np.sort(np.random.default_rng(seed).permutation(len(rows))[:_FITTED])
    n_batches = int(batch.max()) + 1
    return fit_alignment(points[rows], batch[rows], n_batches, seed=seed, fixed=fixed).apply(points, batch)


def fit_alignment(
    points: np.ndarray, batch: np.ndarray, n_batches: int, *, seed: int, fixed: int | None = None
) -> Alignment:
    """Estimate the correction of Harmony (Korsunsky et al., Nature Methods 16:1289, 2019), written from its equations.

    A round has two steps. Soft K-means by cosine, with one cluster per 30 cells and at most 100, prefers clusters with
    the batches in their overall shares. Then a ridge regression within each cluster estimates the effect of each
    batch, and every cell moves by the effects of its clusters. The penalty is a fifth of the cells that a batch would
    have in a cluster if it were spread evenly, so that a few cells of a batch in a cluster move little. At most ten
    rounds.

    Parameters
    ----------
    points, batch, seed, fixed
        As for :func:`align_batches`.
    n_batches : int
        Number of batches; those without cells are not moved.

    Returns
    -------
    Alignment
    """
    with threadpool_limits(1):  # sums in one order
        rng, one_hot = np.random.default_rng(seed), np.eye(n_batches)[batch]
        origin = points.mean(axis=0, dtype=np.float64)
        after = original = points.astype(np.float64) - origin
        n_clusters = min(max(round(len(points) / _CELLS_PER_CLUSTER), 1), _MAX_CLUSTERS)
        centers = kmeans_plusplus(_unit(original), n_clusters, random_state=seed)[0]
        assigned = _similarity(original, centers)
        assigned /= assigned.sum(axis=1, keepdims=True)
        rounds = []
        for _ in range(_ROUNDS):
            centers, weight = _assign(_unit(after), assigned, one_hot, rng)
            shift = _effects(original, assigned, one_hot)
            if fixed is not None:
                shift -= shift[:, [fixed]]
            rounds.append(_Round(centers=centers, weight=weight, shift=shift))
            before, after = after, rounds[-1].apply(original, after, batch)
            if np.linalg.norm(after - before) <= _MOVED * np.linalg.norm(before):
                break
    return Alignment(origin=origin, rounds=tuple(rounds))


def _assign(
    points: np.ndarray, assigned: np.ndarray, one_hot: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Update the soft assignment [cells, clusters] in place; return centers and weights of the batches.

    Cells are assigned anew in random blocks of a twentieth, given the others.
    """
    share = one_hot.mean(axis=0)[:, None]
    observed = one_hot.T @ assigned  # [batches, clusters]

    def weight() -> np.ndarray:
        expected = share * observed.sum(axis=0)
        return np.asarray(((expected + 1) / (observed + 1)) ** _DIVERSITY)

    for _ in range(_PASSES):
        centers = _unit(assigned.T @ points)
        similarity = _similarity(points, centers)
        for rows in np.array_split(rng.permutation(len(points)), _BLOCKS):
            observed -= one_hot[rows].T @ assigned[rows]
            new = similarity[rows] * (one_hot[rows] @ weight())
            assigned[rows] = new / new.sum(axis=1, keepdims=True)
            observed += one_hot[rows].T @ assigned[rows]
    return centers, weight()


def _effects(points: np.ndarray, assigned: np.ndarray, one_hot: np.ndarray) -> np.ndarray:
    """Return the effect of each batch in each cluster, [clusters, batches, dimensions]: ridge regression.

    The regression has an intercept without penalty. Its normal equations are solved by elimination: the effect of
    batch b is (n_b / (n_b + penalty_b)) (mean_b - intercept).
    """
    share = one_hot.mean(axis=0)[:, None]
    size = one_hot.T @ assigned  # [batches, clusters]
    kept = size / np.maximum(size + _RIDGE * share * size.sum(axis=0), 1e-12)
    total = np.stack(
        [assigned[rows].T @ points[rows] for rows in one_hot.T == 1]
    )  # [batches, clusters, dimensions]
    mean = total / np.maximum(size, 1e-12)[:, :, None]
    free = (size * (1 - kept))[:, :, None]
    intercept = (free * mean).sum(axis=0) / np.maximum(free.sum(axis=0), 1e-12)
    return np.asarray((kept[:, :, None] * (mean - intercept)).transpose(1, 0, 2))


def _similarity(points: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Return exp of minus the squared distance of unit vectors to the centers in units of the width."""
    exponent = (_unit(points) @ centers.T) * (2 / _WIDTH)
    return np.asarray(np.exp(exponent - exponent.max(axis=1, keepdims=True)))


def _unit(points: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(points, axis=1, keepdims=True)
    return np.asarray(points / np.maximum(norm, 1e-12))
