"""Cluster stability: overlap of two partitions, and repeated clustering of random subsamples."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from sklearn.metrics import adjusted_rand_score

__all__ = ["Stability", "jaccard", "stability"]


class Stability(NamedTuple):
    """Agreement of clusters with those of subsamples.

    Attributes
    ----------
    ari : ndarray of float64, shape (n_repeats,)
        Adjusted Rand index over the cells that both have; NaN if there are none.
    jaccard : ndarray of float64, shape (n_clusters,)
        Mean over the repeats of :func:`jaccard`; NaN for a cluster that no repeat contains.
    """

    ari: np.ndarray
    jaccard: np.ndarray


def jaccard(labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Compute the largest Jaccard index of each cluster with a cluster of another partition.

    Parameters
    ----------
    labels, others : ndarray of int64, shape (n_cells,)
        Clusters of the same cells, numbered from 0.

    Returns
    -------
    ndarray of float64, shape (number of clusters in ``labels``,)
        Size of the intersection over size of the union, 0 to 1; NaN for a cluster without cells.
    """
    shared = np.zeros((labels.max() + 1, others.max() + 1))
    np.add.at(shared, (labels, others), 1)
    sizes = shared.sum(axis=1)
    union = sizes[:, None] + shared.sum(axis=0) - shared
    best = (shared / np.maximum(union, 1)).max(axis=1)
    return np.asarray(np.where(sizes > 0, best, np.nan))


def stability(
    labels: np.ndarray,
    recluster: Callable[[np.ndarray, int], np.ndarray],
    *,
    seed: int,
    repeats: int = 10,
    share: float = 0.8,
) -> Stability:
    """Cluster random subsamples of the cells and compare (Hennig, 2007, CSDA 52:258).

    Parameters
    ----------
    labels : ndarray of int64, shape (n_cells,)
        The clusters to assess.
    recluster : callable
        Maps the rows of a subsample (sorted) and a seed to their clusters, int64; -1 = excluded.
    seed : int
        Seed of the subsamples and of the seeds passed on.
    repeats : int
        Number of subsamples.
    share : float
        Fraction of the cells in each.

    Returns
    -------
    Stability
    """
    rng = np.random.default_rng(seed)
    ari, overlaps = np.full(repeats, np.nan), np.full((repeats, labels.max() + 1), np.nan)
    for i in range(repeats):
        cells = np.sort(rng.choice(len(labels), max(round(share * len(labels)), 1), replace=False))
        found = recluster(cells, int(rng.integers(2**31)))
        before, after = labels[cells[found >= 0]], found[found >= 0]
        if not len(after):
            continue
        ari[i] = adjusted_rand_score(before, after)
        one = jaccard(before, after)
        overlaps[i, : len(one)] = one
    known = np.isfinite(overlaps)
    total = np.where(known, overlaps, 0).sum(axis=0)
    return Stability(ari, np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan))
