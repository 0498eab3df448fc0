"""Clusters from latent codes, and the number of clusters without labels."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import silhouette_score
from sklearn.mixture import GaussianMixture

from .errors import ScraeError

__all__ = ["ClusterCount", "by_size", "choose_n_clusters", "gmm", "kmeans"]

_CANDIDATES = range(2, 26)
_SAMPLE = 2000
"""Cells that the choice of K looks at: silhouettes cost the square of it."""
_RIDGE = 1e-4
"""Added to the variances of a Gaussian, as a share of the codes' mean variance: no component shrinks onto one cell."""
_ROUNDS = 300


@dataclass(frozen=True, kw_only=True)
class ClusterCount:
    """A chosen number of clusters and the curve it was read from.

    Attributes
    ----------
    n_clusters : the choice.
    criterion : what the values measure; larger is better.
    candidates : int64 [candidates], the numbers tried.
    values : float64 [candidates].
    """

    n_clusters: int
    criterion: str
    candidates: np.ndarray
    values: np.ndarray


def kmeans(z: np.ndarray, n_clusters: int, *, seed: int, n_init: int = 10) -> np.ndarray:
    """K-means on codes [cells, latent]; int64 labels [cells], 0 being the largest cluster.

    Raises
    ------
    ScraeError : more clusters than cells, or than distinct codes.
    """
    _refuse_too_many("kmeans", z, n_clusters)
    labels = KMeans(n_clusters, n_init=n_init, random_state=seed).fit_predict(z)
    return by_size(labels)


def gmm(z: np.ndarray, n_clusters: int, *, seed: int) -> np.ndarray:
    """Cluster codes [cells, latent] by a mixture of Gaussians with full covariances, started from K-means.

    Returns
    -------
    int64 [cells], 0 being the largest cluster. Each cell is in its likeliest component; components without any cell
    are no clusters, so there may be fewer than ``n_clusters``.

    Raises
    ------
    ScraeError : more clusters than cells, or than distinct codes.
    """
    _refuse_too_many("gmm", z, n_clusters)
    z = np.asarray(z, dtype=np.float64)
    ridge = _RIDGE * max(float(z.var(axis=0).mean()), np.finfo(float).tiny)
    mixture = GaussianMixture(n_clusters, reg_covar=ridge, max_iter=_ROUNDS, n_init=3, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the best of so many rounds is taken
        labels = mixture.fit_predict(z)
    return by_size(np.unique(labels, return_inverse=True)[1])


def _refuse_too_many(name: str, z: np.ndarray, n_clusters: int) -> None:
    if n_clusters > len(z):
        raise ScraeError(f"{name}: expected at most as many clusters as cells ({len(z)}), found {n_clusters}")
    if n_clusters > (distinct := len(np.unique(z, axis=0))):
        raise ScraeError(
            f"{name}: expected at most as many clusters as distinct codes ({distinct}), found {n_clusters}"
        )


def by_size(labels: np.ndarray) -> np.ndarray:
    """Number clusters 0, 1, ... by decreasing size; of equal ones the order stays."""
    order = np.argsort(-np.bincount(labels), kind="stable")
    return np.asarray(np.argsort(order)[labels])


def choose_n_clusters(
    z: np.ndarray,
    *,
    seed: int,
    smoothed: np.ndarray | None = None,
    candidates: Sequence[int] = _CANDIDATES,
) -> ClusterCount:
    """Choose K without labels: the candidate whose K-means clusters have the largest mean silhouette on the codes.

    Looks at no more than 2,000 cells, drawn with ``seed``.

    Parameters
    ----------
    smoothed : what K-means clusters, [cells, latent]; None = the codes themselves.
    candidates : numbers of clusters to try; those of at least the number of distinct codes are left out.

    Raises
    ------
    ScraeError : no candidate fits the number of distinct codes.
    """
    rng = np.random.default_rng(seed)
    few = np.arange(len(z)) if len(z) <= _SAMPLE else np.sort(rng.choice(len(z), _SAMPLE, replace=False))
    sample = z[few]
    points = sample if smoothed is None else smoothed[few]
    distinct = len(np.unique(points, axis=0))
    tried = np.asarray([k for k in candidates if 2 <= k < distinct])
    if not len(tried):
        raise ScraeError(
            f"choose_n_clusters: expected a candidate of at least 2 and below the {distinct} distinct codes, "
            "found none; give the number of clusters"
        )
    values = np.asarray(
        [silhouette_score(sample, kmeans(points, int(k), seed=seed, n_init=3)) for k in tried]
    )
    best = int(tried[int(np.argmax(values))])
    return ClusterCount(n_clusters=best, criterion="mean silhouette", candidates=tried, values=values)
