"""Clusterers for any embedding: codes in, one cluster for each cell out."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import scanpy as sc
from anndata import AnnData
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture

from scrae.cluster.leiden import leiden as communities
from scrae.cluster.leiden import leiden_n_clusters

__all__ = ["Cluster", "Clustering", "gmm", "kmeans", "leiden", "leiden_k"]


class Clustering(NamedTuple):
    """What a clusterer gives.

    Attributes
    ----------
    clusters
        int64 [cells].
    facts
        What turned out during the run and belongs in the record, such as the resolution found.
    """

    clusters: NDArray[np.int64]
    facts: dict[str, Any]


class Cluster(Protocol):
    """A clusterer: a function of codes [cells, dimensions], the true K, seed and config."""

    def __call__(
        self, codes: NDArray[np.float32], *, n_clusters: int, seed: int, config: dict[str, Any]
    ) -> Clustering:
        """Cluster every row of `codes`."""
        ...


def kmeans(codes: NDArray[np.float32], *, n_clusters: int, seed: int, config: dict[str, Any]) -> Clustering:
    """K-means with the true K."""
    model = KMeans(n_clusters=n_clusters, n_init=config["n_init"], random_state=seed)
    return Clustering(model.fit_predict(codes).astype(np.int64), {})


def gmm(codes: NDArray[np.float32], *, n_clusters: int, seed: int, config: dict[str, Any]) -> Clustering:
    """A Gaussian mixture with full covariances and the true K."""
    model = GaussianMixture(n_components=n_clusters, n_init=config["n_init"], random_state=seed)
    clusters = model.fit_predict(codes.astype(np.float64))
    return Clustering(clusters.astype(np.int64), {"converged": bool(model.converged_)})


def leiden(codes: NDArray[np.float32], *, n_clusters: int, seed: int, config: dict[str, Any]) -> Clustering:
    """Scanpy's neighbors and Leiden at a fixed resolution; K is not used."""
    del n_clusters
    graph = _neighbors(codes, config["n_neighbors"], seed)
    clusters = communities(graph.obsp["connectivities"], config["resolution"], seed=seed)
    return Clustering(clusters, {"resolution": config["resolution"]})


def leiden_k(codes: NDArray[np.float32], *, n_clusters: int, seed: int, config: dict[str, Any]) -> Clustering:
    """Leiden with the resolution bisected until it gives K clusters, or as near as it comes."""
    graph = _neighbors(codes, config["n_neighbors"], seed)
    clusters, resolution = leiden_n_clusters(graph.obsp["connectivities"], n_clusters, seed=seed)
    return Clustering(clusters, {"resolution": resolution})


def _neighbors(codes: NDArray[np.float32], n_neighbors: int, seed: int) -> AnnData:
    graph = AnnData(codes)
    # Exact at every size, as scanpy's default is below 8,192 cells. Above, its default hands over to pynndescent,
    # whose version 0.7 returns an array that scanpy 1.11 cannot read.
    sc.pp.neighbors(graph, n_neighbors=n_neighbors, use_rep="X", random_state=seed, transformer="sklearn")
    return graph
