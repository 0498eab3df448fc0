from __future__ import annotations

import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from scrae.cluster.graph import NeighborGraph, neighbor_graph, smooth
from scrae.cluster.leiden import leiden_n_clusters


def variance(z: np.ndarray) -> float:
    return float(z.var(axis=0).sum())


@pytest.mark.usefixtures("global_randomness_untouched")
def test_smoothing_is_a_power_of_the_dense_average_and_stops_at_a_third():
    z = np.random.default_rng(0).normal(size=(300, 4)) * [2.0, 1.0, 1.0, 1.0]
    graph = neighbor_graph(z)
    weights = graph.connectivities.toarray().astype(np.float64)
    average = weights / weights.sum(axis=1, keepdims=True)
    rounds, expected = 0, z
    while variance(average @ expected) >= variance(z) / 3:
        rounds, expected = rounds + 1, average @ expected
    assert 1 <= rounds < 40  # the bound of the oracle's own loop was not the number of rounds
    np.testing.assert_allclose(
        smooth(graph), 0.99 * np.linalg.matrix_power(average, rounds) @ z + 0.01 * z, atol=1e-10
    )


def test_separate_groups_keep_their_means_and_the_rounds_are_bounded():
    group = np.repeat([0, 1], [200, 150])
    z = group[:, None] * np.array([100.0, 0.0]) + np.random.default_rng(1).normal(size=(350, 2))
    after = smooth(neighbor_graph(z))
    for k in (0, 1):
        assert np.linalg.norm(after[group == k].mean(axis=0) - z[group == k].mean(axis=0)) < 0.5
        assert variance(after[group == k]) < variance(z[group == k]) / 2


def test_a_wide_type_beside_narrow_ones_is_not_split():
    """What smoothing is for: K-means alone cuts the long type and joins the two small ones."""
    rng = np.random.default_rng(2)
    wide = np.c_[rng.uniform(-40, 40, 1200), rng.normal(size=1200)]
    small = [rng.normal((x, 9.0), 1.0, (150, 2)) for x in (-4.0, 4.0)]
    z, truth = np.concatenate([wide, *small]), np.repeat([0, 1, 2], [1200, 150, 150])
    alone = KMeans(3, n_init=10, random_state=0).fit_predict(z)
    after = KMeans(3, n_init=10, random_state=0).fit_predict(smooth(neighbor_graph(z)))
    assert adjusted_rand_score(truth, alone) < adjusted_rand_score(truth, after)


def test_few_cells_are_left_as_they_are():
    z = np.random.default_rng(3).normal(size=(12, 2))  # everyone is everyone's neighbor
    np.testing.assert_allclose(smooth(neighbor_graph(z)), z)


@pytest.mark.parametrize("n_cells", [6, 40, 700])
def test_the_graph_is_that_of_scanpy(n_cells: int):
    z = np.random.default_rng(4).normal(size=(n_cells, 5)).astype(np.float32)
    z[:2] = 10.0  # neighbors at distance zero; far out, so that no other cell must choose between the two
    other = AnnData(z)
    sc.pp.neighbors(other, n_neighbors=min(15, n_cells), use_rep="X")
    graph = neighbor_graph(z)
    for name in ("connectivities", "distances"):
        expected = other.obsp[name].toarray()
        np.testing.assert_allclose(getattr(graph, name).toarray(), expected, atol=2e-5)


def test_copies_of_one_cell_are_neighbors_of_full_weight():
    graph = neighbor_graph(np.zeros((20, 3)))
    weights = graph.connectivities
    assert weights.nnz >= 20 * 14
    np.testing.assert_array_equal(weights.data, 1.0)
    np.testing.assert_array_equal(smooth(graph), 0.0)


def test_the_joined_graph_has_the_larger_weight_of_each_pair():
    rng = np.random.default_rng(5)
    z, beside = rng.normal(size=(60, 3)), rng.normal(size=(60, 4))
    graph = neighbor_graph(z, beside)
    one, other = (neighbor_graph(x).connectivities.toarray() for x in (z, beside))
    np.testing.assert_array_equal(graph.connectivities.toarray(), one)
    np.testing.assert_array_equal(graph.joined.toarray(), np.maximum(one, other))


@pytest.mark.parametrize("method", ["smoothed", "leiden"])
def test_clusters_are_made_of_the_joined_graph(method: str):
    """Codes that tear a group in two, and put one part nearer to the other group; beside them it is whole."""
    rng = np.random.default_rng(6)
    part = np.repeat([0, 1, 2], [120, 120, 40])
    z = np.array([[0.0, 0.0], [60.0, 0.0], [90.0, 0.0]])[part] + rng.normal(size=(280, 2))
    beside = np.array([[0.0, 0.0], [0.0, 0.0], [90.0, 0.0]])[part] + rng.normal(size=(280, 2))

    def clusters(graph: NeighborGraph) -> np.ndarray:
        if method == "leiden":
            return leiden_n_clusters(graph.joined, 2, seed=0)[0]
        return KMeans(2, n_init=10, random_state=0).fit_predict(smooth(graph))

    assert adjusted_rand_score(part == 2, clusters(neighbor_graph(z, beside))) == 1.0
    assert adjusted_rand_score(part == 2, clusters(neighbor_graph(z))) < 0.5


def test_a_subset_is_the_induced_graph():
    rng = np.random.default_rng(7)
    graph = neighbor_graph(rng.normal(size=(40, 2)), rng.normal(size=(40, 3)), cells=np.arange(40) * 2)
    rows = np.array([3, 4, 11, 30])
    for chosen in (rows, np.isin(np.arange(40), rows)):
        part = graph.subset(chosen)
        np.testing.assert_array_equal(part.cells, rows * 2)
        np.testing.assert_array_equal(part.codes, graph.codes[rows])
        for name in ("connectivities", "distances", "joined"):
            expected = getattr(graph, name).toarray()[np.ix_(rows, rows)]
            np.testing.assert_array_equal(getattr(part, name).toarray(), expected)
