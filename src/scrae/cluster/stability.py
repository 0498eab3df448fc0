"""How far clusters come out again: from parts of the cells, from other seeds, from other models."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from sklearn.metrics import adjusted_rand_score

__all__ = ["Stability", "jaccard", "stability"]


class Stability(NamedTuple):
    """Agreement of clusters with repetitions of the clustering.

    Attributes
    ----------
    ari : float64 [repeats], adjusted Rand index of each repetition and the clusters, over the cells that both have;
        NaN where it has none.
    jaccard : float64 [clusters], mean over repetitions of :func:`jaccard`; NaN where no repetition had such a cell.
    """

    ari: np.ndarray
    jaccard: np.ndarray


def jaccard(labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return for each cluster of ``labels`` the largest Jaccard index with a cluster of ``others``, 0 to 1.

    The Jaccard index of two sets is the size of what they share over the size of what either has.

    Parameters
    ----------
    labels, others : int64 [cells], clusters numbered from 0.

    Returns
    -------
    float64 [clusters of ``labels``]; NaN where a number between has no cells.
    """
    shared = np.zeros((labels.max() + 1, others.max() + 1))
    np.add.at(shared, (labels, others), 1)
    sizes = shared.sum(axis=1)
    either = sizes[:, None] + shared.sum(axis=0) - shared
    best = (shared / np.maximum(either, 1)).max(axis=1)
    return np.asarray(np.where(sizes > 0, best, np.nan))


def stability(
    labels: np.ndarray,
    again: Callable[[np.ndarray, int], np.ndarray],
    *,
    seed: int,
    repeats: int = 10,
    share: float = 0.8,
) -> Stability:
    """Cluster random parts of the cells again and compare (Hennig, 2007, CSDA 52:258, with subsets).

    Parameters
    ----------
    labels : int64 [cells], the clusters in question.
    again : from the numbers of some cells and a seed to their clusters, int64 [these cells]; -1 = left out.
    share : how much of the cells each repetition has.
    """
    rng = np.random.default_rng(seed)
    ari, overlaps = np.full(repeats, np.nan), np.full((repeats, labels.max() + 1), np.nan)
    for i in range(repeats):
        cells = np.sort(rng.choice(len(labels), max(round(share * len(labels)), 1), replace=False))
        found = again(cells, int(rng.integers(2**31)))
        before, after = labels[cells[found >= 0]], found[found >= 0]
        if not len(after):
            continue
        ari[i] = adjusted_rand_score(before, after)
        one = jaccard(before, after)
        overlaps[i, : len(one)] = one
    known = np.isfinite(overlaps)
    total = np.where(known, overlaps, 0).sum(axis=0)
    return Stability(ari, np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan))
