"""Clusters from latent codes, and the number of clusters without labels."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import logsumexp
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from ..errors import ScraeError

__all__ = ["ClusterCount", "by_size", "choose_n_clusters", "gmm", "kmeans"]

_CANDIDATES = range(2, 26)
_PARTS, _SHARE, _MOST = 5, 0.8, 2000
"""Parts of the cells that the choice of K looks at; each has this share of them, or so many."""
_RIDGE = 1e-4
"""Added to the variances of a Gaussian, as a share of the codes' mean variance: no component shrinks onto one cell."""
_ROUNDS = 300
_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class ClusterCount:
    """A chosen number of clusters and the curve it was read from.

    Attributes
    ----------
    n_clusters : the choice.
    criterion : what the values measure; larger is better.
    candidates : int64 [candidates], the numbers tried.
    values : float64 [candidates], means over parts of the cells.
    parts : int64 [parts], what each part alone would choose: how far they differ says how sure the choice is.
    """

    n_clusters: int
    criterion: str
    candidates: np.ndarray
    values: np.ndarray
    parts: np.ndarray


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
    if n_clusters > (distinct := _n_distinct(z)):
        raise ScraeError(
            f"{name}: expected at most as many clusters as distinct codes ({distinct}), found {n_clusters}"
        )


def _n_distinct(z: np.ndarray) -> int:
    """Count the codes that differ; 1 where all are one but for rounding, as equal cells' codes are, by their place."""
    alike = np.ptp(z, axis=0).max() <= _ROUNDING * np.abs(z).max()
    return 1 if alike else len(np.unique(z, axis=0))


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
    """Choose K without labels: the candidate whose K-means clusters, as Gaussians, have the best BIC.

    Each of five random parts of the cells (four fifths of them, at most 2,000) is clustered at every candidate. One
    Gaussian a cluster, weighted by its size, then describes the part's codes: their log-likelihood less half of the log
    of the number of cells for each parameter (Schwarz, Annals of Statistics 6:461, 1978), in nats a cell, is averaged
    over the parts. ``docs/clusters.md`` compares it with other criteria.

    Parameters
    ----------
    smoothed : what K-means clusters, [cells, latent]; None = the codes themselves.
    candidates : numbers of clusters to try; those of at least the number of distinct codes of a part are left out.

    Raises
    ------
    ScraeError : no candidate fits the number of distinct codes.
    """
    rng = np.random.default_rng(seed)
    points, size = z if smoothed is None else smoothed, min(_MOST, math.ceil(_SHARE * len(z)))
    parts = [np.sort(rng.choice(len(z), size, replace=False)) for _ in range(_PARTS)]
    seeds = rng.integers(2**31, size=_PARTS).tolist()
    distinct = min(_n_distinct(points[part]) for part in parts)
    tried = np.asarray([k for k in candidates if 2 <= k < distinct])
    if not len(tried):
        raise ScraeError(
            f"choose_n_clusters: expected a candidate of at least 2 and below the {distinct} distinct codes, "
            "found none; give the number of clusters"
        )
    values = np.array(
        [
            [_bic(z[part], kmeans(points[part], int(k), seed=one, n_init=1)) for k in tried]
            for part, one in zip(parts, seeds, strict=True)
        ]
    )
    mean = values.mean(axis=0)
    return ClusterCount(
        n_clusters=int(tried[np.argmax(mean)]),
        criterion="BIC",
        candidates=tried,
        values=mean,
        parts=tried[values.argmax(axis=1)],
    )


def _bic(z: np.ndarray, labels: np.ndarray) -> float:
    """Return BIC a cell, larger being better, of one Gaussian a cluster; small ones lean on the pooled covariance."""
    z = np.asarray(z, dtype=np.float64)
    (n_cells, n_latent), sizes = z.shape, np.bincount(labels)
    means = np.stack([z[labels == k].mean(axis=0) for k in range(len(sizes))])
    rest = z - means[labels]
    ridge = _RIDGE * max(float(z.var(axis=0).mean()), np.finfo(float).tiny) * np.eye(n_latent)
    pooled = rest.T @ rest / n_cells + ridge
    density = np.empty((n_cells, len(sizes)))
    for k, size in enumerate(sizes):
        within = rest[labels == k].T @ rest[labels == k]
        root = np.linalg.cholesky((within + n_latent * pooled) / (size + n_latent))
        away = solve_triangular(root, (z - means[k]).T, lower=True)
        density[:, k] = np.log(size / n_cells) - 0.5 * (away**2).sum(axis=0) - np.log(np.diag(root)).sum()
    log_likelihood = logsumexp(density, axis=1).mean() - 0.5 * n_latent * math.log(2 * math.pi)
    n_parameters = len(sizes) * (1 + n_latent + n_latent * (n_latent + 1) / 2) - 1
    return float(log_likelihood - 0.5 * n_parameters * math.log(n_cells) / n_cells)
