"""Clusters of latent codes, and the number of clusters without labels."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from ..config import ClusterConfig
from ..errors import ScraeError
from .graph import NeighborGraph, smooth
from .leiden import leiden, leiden_counts, leiden_n_clusters

__all__ = [
    "ClusterCount",
    "Partition",
    "check_n_clusters",
    "choose_n_clusters",
    "cluster_codes",
    "gmm",
    "kmeans",
    "n_distinct",
    "rank_by_size",
]

_RESOLUTION, _RUNS = 0.35, 3
"""K is the median number of communities of this many runs of Leiden at this resolution."""
_N_SEEDS = 2**32
_RIDGE = 1e-4
"""Added to the variances of a Gaussian, as a fraction of the codes' mean variance: no component shrinks to one cell."""
_MAX_ITERATIONS = 300
_ROUNDING = 1e-6
_N_INIT, _N_INIT_SMOOTHED = 10, 20
"""Starts of K-means; after smoothing, close groups have many nearly equal partitions."""


@dataclass(frozen=True, kw_only=True)
class ClusterCount:
    """A number of clusters chosen without labels.

    Attributes
    ----------
    n_clusters : int
        The chosen number.
    runs : ndarray of int64, shape (3,)
        The number of communities of each run of Leiden; their spread shows how certain the choice is.
    """

    n_clusters: int
    runs: np.ndarray


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
        Graph of these codes, for the choice of the number and for the methods smoothed and leiden. Without it (too
        few cells for one) these are K-means on the codes, and the number must be given.

    Returns
    -------
    Partition

    Raises
    ------
    ScraeError
        More clusters than cells or than distinct codes; no number of clusters and no graph.
    """
    if graph is not None and config.resolution is not None:
        labels = rank_by_size(leiden(graph.joined, config.resolution, seed=seed))
        return Partition(labels=labels, n_requested=int(labels.max()) + 1, resolution=config.resolution)
    n_clusters, choice, resolution = config.n_clusters, None, None
    if n_clusters is None:
        if graph is None:
            raise ScraeError(
                f"cluster: expected enough cells to choose the number of clusters, found {len(z)}; "
                "give the number of clusters"
            )
        choice = choose_n_clusters(graph, seed=seed)
        n_clusters = choice.n_clusters
    points = z if graph is None or config.method in ("kmeans", "gmm") else smooth(graph)
    if config.method == "leiden" and graph is not None:
        check_n_clusters("leiden", len(z), n_clusters)
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
    check_n_clusters("kmeans", len(z), n_clusters)
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
    check_n_clusters("gmm", len(z), n_clusters)
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


def check_n_clusters(name: str, n_cells: int, n_clusters: int) -> None:
    """Raise ScraeError if there are more clusters than cells; ``name`` begins the message."""
    if n_clusters > n_cells:
        raise ScraeError(
            f"{name}: expected at most as many clusters as cells ({n_cells}), found {n_clusters}"
        )


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


def choose_n_clusters(graph: NeighborGraph, *, seed: int) -> ClusterCount:
    """Choose the number of clusters K without labels: the number of Leiden communities at a fixed resolution.

    Leiden divides the joined graph at resolution 0.35 in three runs with consecutive seeds; K is the median of their
    numbers of communities, and at least 2. The resolution was chosen on labeled data sets; ``docs/recipe.md`` compares
    other rules.

    Parameters
    ----------
    graph : NeighborGraph
        Neighbor graph of the cells.
    seed : int
        Seed of the first run.

    Returns
    -------
    ClusterCount

    Raises
    ------
    ScraeError
        Fewer than two distinct codes.
    """
    if (distinct := n_distinct(graph.codes)) < 2:
        raise ScraeError(
            f"choose_n_clusters: expected at least 2 distinct codes, found {distinct}; give the number of clusters"
        )
    counts = leiden_counts(graph.joined, _RESOLUTION, seeds=[(seed + run) % _N_SEEDS for run in range(_RUNS)])
    return ClusterCount(n_clusters=min(max(int(np.median(counts)), 2), distinct), runs=counts)
