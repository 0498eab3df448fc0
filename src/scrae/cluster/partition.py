"""Clusters of latent codes, and the number of clusters without labels."""

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

from ..config import ClusterConfig
from ..errors import ScraeError
from .graph import NeighborGraph, smooth
from .leiden import leiden, leiden_n_clusters

__all__ = [
    "ClusterCount",
    "Partition",
    "choose_n_clusters",
    "cluster_codes",
    "gmm",
    "kmeans",
    "n_distinct",
    "rank_by_size",
]

_CANDIDATES = range(2, 26)
_SUBSAMPLES, _FRACTION, _MAX_CELLS = 5, 0.8, 2000
"""K is chosen on this many random subsamples, each of this fraction of the cells and at most so large."""
_RIDGE = 1e-4
"""Added to the variances of a Gaussian, as a fraction of the codes' mean variance: no component shrinks to one cell."""
_MAX_ITERATIONS = 300
_ROUNDING = 1e-6
_N_INIT, _N_INIT_SMOOTHED = 10, 20
"""Starts of K-means; after smoothing, close groups have many nearly equal partitions."""


@dataclass(frozen=True, kw_only=True)
class ClusterCount:
    """A number of clusters chosen without labels, and the curve behind it.

    Attributes
    ----------
    n_clusters : int
        The chosen number.
    criterion : str
        Name of the criterion; larger values are better.
    candidates : ndarray of int64, shape (n_candidates,)
        The numbers tried.
    values : ndarray of float64, shape (n_candidates,)
        The criterion, averaged over the subsamples.
    parts : ndarray of int64, shape (n_subsamples,)
        The choice of each subsample alone; their spread shows how certain the choice is.
    """

    n_clusters: int
    criterion: str
    candidates: np.ndarray
    values: np.ndarray
    parts: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Partition:
    """Clusters of cells, and how their number came about.

    Attributes
    ----------
    labels : ndarray of int64, shape (n_cells,)
        Cluster of each cell; 0 is the largest.
    n_requested : int
        The given or chosen number of clusters; that of the labels can differ for leiden and gmm.
    resolution : float or None
        Resolution of leiden; None for other methods.
    choice : ClusterCount or None
        How the number was chosen; None = it was given.
    """

    labels: np.ndarray
    n_requested: int
    resolution: float | None = None
    choice: ClusterCount | None = None

    @property
    def n_clusters(self) -> int:
        """Number of clusters of the labels."""
        return int(self.labels.max()) + 1


def cluster_codes(
    z: np.ndarray, config: ClusterConfig, *, seed: int, graph: NeighborGraph | None = None
) -> Partition:
    """Cluster latent codes as the settings say.

    Parameters
    ----------
    z : ndarray of shape (n_cells, n_latent)
        Latent codes.
    config : ClusterConfig
        Method, and number of clusters or resolution.
    seed : int
        Seed of the clustering and of the choice of the number.
    graph : NeighborGraph, optional
        Graph of these codes, for the methods smoothed and leiden. Without it (too few cells for one) they are K-means
        on the codes.

    Returns
    -------
    Partition

    Raises
    ------
    ScraeError
        More clusters than cells or than distinct codes.
    """
    if graph is not None and config.resolution is not None:
        labels = rank_by_size(leiden(graph.joined, config.resolution, seed=seed))
        return Partition(labels=labels, n_requested=int(labels.max()) + 1, resolution=config.resolution)
    points = z if graph is None else smooth(graph)
    n_clusters, choice, resolution = config.n_clusters, None, None
    if n_clusters is None:
        choice = choose_n_clusters(z, seed=seed, smoothed=points)
        n_clusters = choice.n_clusters
    if config.method == "leiden" and graph is not None:
        _check_n_clusters("leiden", z, n_clusters)
        labels, resolution = leiden_n_clusters(graph.joined, n_clusters, seed=seed)
        labels = rank_by_size(labels)
    elif config.method == "gmm":
        labels = gmm(points, n_clusters, seed=seed)
    else:
        n_init = _N_INIT_SMOOTHED if config.method == "smoothed" else _N_INIT
        labels = kmeans(points, n_clusters, seed=seed, n_init=n_init)
    return Partition(labels=labels, n_requested=n_clusters, resolution=resolution, choice=choice)


def kmeans(z: np.ndarray, n_clusters: int, *, seed: int, n_init: int = _N_INIT) -> np.ndarray:
    """Cluster codes by K-means.

    Parameters
    ----------
    z : ndarray of shape (n_cells, n_latent)
        Latent codes.
    n_clusters : int
        Number of clusters.
    seed : int
        Seed of the starts.
    n_init : int
        Number of starts, of which the best is kept.

    Returns
    -------
    ndarray of int64, shape (n_cells,)
        Cluster of each cell; 0 is the largest.

    Raises
    ------
    ScraeError
        More clusters than cells or than distinct codes.
    """
    _check_n_clusters("kmeans", z, n_clusters)
    _check_n_distinct("kmeans", z, n_clusters)
    labels = KMeans(n_clusters, n_init=n_init, random_state=seed).fit_predict(z)
    return rank_by_size(labels)


def gmm(z: np.ndarray, n_clusters: int, *, seed: int) -> np.ndarray:
    """Cluster codes by a mixture of Gaussians with full covariances, initialized by K-means.

    Parameters
    ----------
    z, n_clusters, seed
        As for :func:`kmeans`.

    Returns
    -------
    ndarray of int64, shape (n_cells,)
        The most likely component of each cell; 0 is the largest. Components without cells are dropped, so there may be
        fewer than ``n_clusters``.

    Raises
    ------
    ScraeError
        More clusters than cells or than distinct codes.
    """
    _check_n_clusters("gmm", z, n_clusters)
    _check_n_distinct("gmm", z, n_clusters)
    z = np.asarray(z, dtype=np.float64)
    ridge = _RIDGE * max(float(z.var(axis=0).mean()), np.finfo(float).tiny)
    mixture = GaussianMixture(
        n_clusters, reg_covar=ridge, max_iter=_MAX_ITERATIONS, n_init=3, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the best iterate is used
        labels = mixture.fit_predict(z)
    return rank_by_size(np.unique(labels, return_inverse=True)[1])


def _check_n_clusters(name: str, z: np.ndarray, n_clusters: int) -> None:
    if n_clusters > len(z):
        raise ScraeError(f"{name}: expected at most as many clusters as cells ({len(z)}), found {n_clusters}")


def _check_n_distinct(name: str, z: np.ndarray, n_clusters: int) -> None:
    if n_clusters > (distinct := n_distinct(z)):
        raise ScraeError(
            f"{name}: expected at most as many clusters as distinct codes ({distinct}), found {n_clusters}"
        )


def n_distinct(z: np.ndarray) -> int:
    """Count distinct codes; 1 if all are equal up to rounding, since codes of equal cells depend on their order."""
    equal = np.ptp(z, axis=0).max() <= _ROUNDING * np.abs(z).max()
    return 1 if equal else len(np.unique(z, axis=0))


def rank_by_size(labels: np.ndarray) -> np.ndarray:
    """Number clusters 0, 1, ... by decreasing size; ties keep their order."""
    order = np.argsort(-np.bincount(labels), kind="stable")
    return np.asarray(np.argsort(order)[labels])


def choose_n_clusters(
    z: np.ndarray,
    *,
    seed: int,
    smoothed: np.ndarray | None = None,
    candidates: Sequence[int] = _CANDIDATES,
) -> ClusterCount:
    """Choose the number of clusters K without labels, by BIC.

    Each of five random subsamples (80 % of the cells, at most 2,000) is clustered by K-means at every candidate K.
    One Gaussian per cluster, weighted by its size, then models the codes of the subsample. BIC is their log-likelihood
    minus half the log of the number of cells per parameter (Schwarz, Annals of Statistics 6:461, 1978), in nats per
    cell. The K with the largest mean over the subsamples is chosen. ``docs/clusters.md`` compares other criteria.

    Parameters
    ----------
    z : ndarray of shape (n_cells, n_latent)
        Latent codes, which the Gaussians model.
    seed : int
        Seed of the subsamples and of K-means.
    smoothed : ndarray of shape (n_cells, n_latent), optional
        What K-means clusters; None = ``z``.
    candidates : sequence of int
        Numbers to try. Those of at least the number of distinct codes in a subsample are skipped.

    Returns
    -------
    ClusterCount

    Raises
    ------
    ScraeError
        No candidate is smaller than the number of distinct codes.
    """
    rng = np.random.default_rng(seed)
    points, size = z if smoothed is None else smoothed, min(_MAX_CELLS, math.ceil(_FRACTION * len(z)))
    parts = [np.sort(rng.choice(len(z), size, replace=False)) for _ in range(_SUBSAMPLES)]
    seeds = rng.integers(2**31, size=_SUBSAMPLES).tolist()
    distinct = min(n_distinct(points[part]) for part in parts)
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
    """Return BIC per cell, of one Gaussian per cluster with a covariance shrunk toward the pooled one."""
    z = np.asarray(z, dtype=np.float64)
    (n_cells, n_latent), sizes = z.shape, np.bincount(labels)
    means = np.stack([z[labels == k].mean(axis=0) for k in range(len(sizes))])
    residual = z - means[labels]
    ridge = _RIDGE * max(float(z.var(axis=0).mean()), np.finfo(float).tiny) * np.eye(n_latent)
    pooled = residual.T @ residual / n_cells + ridge
    density = np.empty((n_cells, len(sizes)))
    for k, size in enumerate(sizes):
        within = residual[labels == k].T @ residual[labels == k]
        root = np.linalg.cholesky((within + n_latent * pooled) / (size + n_latent))
        scaled = solve_triangular(root, (z - means[k]).T, lower=True)
        density[:, k] = np.log(size / n_cells) - 0.5 * (scaled**2).sum(axis=0) - np.log(np.diag(root)).sum()
    log_likelihood = logsumexp(density, axis=1).mean() - 0.5 * n_latent * math.log(2 * math.pi)
    n_parameters = len(sizes) * (1 + n_latent + n_latent * (n_latent + 1) / 2) - 1
    return float(log_likelihood - 0.5 * n_parameters * math.log(n_cells) / n_cells)
