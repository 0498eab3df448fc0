"""Leiden communities, against scanpy's."""

from __future__ import annotations

import random

import igraph
import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData

from scrae.cluster.graph import neighbor_graph
from scrae.cluster.leiden import bisect_resolution, leiden, leiden_n_clusters

Z = np.random.default_rng(0).normal(size=(400, 3)) * [3.0, 1.0, 1.0]


@pytest.mark.usefixtures("global_randomness_untouched")
@pytest.mark.parametrize(("resolution", "seed"), [(0.3, 0), (1.0, 0), (1.0, 7), (4.0, 3)])
def test_labels_are_those_of_scanpy(resolution: float, seed: int) -> None:
    weights = neighbor_graph(Z, Z[:, :2] + 0.1).joined
    other = AnnData(Z)
    sc.tl.leiden(
        other,
        resolution,
        random_state=seed,
        adjacency=weights,
        flavor="igraph",
        n_iterations=2,
        directed=False,
    )
    np.testing.assert_array_equal(leiden(weights, resolution, seed=seed), other.obs["leiden"].astype(int))


def test_the_seed_decides_and_igraph_keeps_its_own_generator() -> None:
    weights = neighbor_graph(Z).joined
    first, again, other = (leiden(weights, 4.0, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    state = random.getstate()
    try:
        random.seed(5)
        edges = igraph.Graph.Erdos_Renyi(30, 0.5).get_edgelist()
        leiden(weights, 1.0, seed=0)
        random.seed(5)
        assert igraph.Graph.Erdos_Renyi(30, 0.5).get_edgelist() == edges
    finally:
        random.setstate(state)


@pytest.mark.parametrize("n_clusters", [2, 5, 15])
def test_the_resolution_gives_the_number(n_clusters: int) -> None:
    weights = neighbor_graph(Z).joined
    labels, resolution = leiden_n_clusters(weights, n_clusters, seed=0)
    assert set(labels.tolist()) == set(range(n_clusters))
    np.testing.assert_array_equal(labels, leiden(weights, resolution, seed=0))


def test_where_the_number_is_skipped_the_nearest_is_returned() -> None:
    def cluster_at(resolution: float) -> np.ndarray:
        return np.arange(10) % (2 if resolution < 0.7 else 7)

    assert bisect_resolution(cluster_at, 4)[0].max() + 1 == 2
    assert bisect_resolution(cluster_at, 5)[0].max() + 1 == 7
    labels, resolution = bisect_resolution(cluster_at, 9)
    assert (labels.max() + 1, resolution) == (7, 64.0)
