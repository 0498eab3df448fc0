from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from scrae.cluster.graph import neighbor_graph
from scrae.cluster.leiden import leiden
from scrae.cluster.partition import choose_n_clusters, cluster_codes, gmm, kmeans
from scrae.config import ClusterConfig
from scrae.errors import ScraeError

SIZES = [15, 60, 30, 45]
TYPES = np.repeat(np.arange(4), SIZES)


def codes(spread: float = 0.3, seed: int = 0) -> np.ndarray:
    """Four round groups at the corners of a square of side 5, as float32 [cells, 2]."""
    rng = np.random.default_rng(seed)
    corners = np.array([[0, 0], [5, 0], [0, 5], [5, 5]])
    return (corners[TYPES] + spread * rng.standard_normal((len(TYPES), 2))).astype(np.float32)


def test_clusters_are_the_groups_named_by_size():
    labels = kmeans(codes(), 4, seed=0)
    assert labels.dtype == np.int64
    # The largest group is type 1, then 3, 2 and 0.
    np.testing.assert_array_equal(labels, np.array([3, 0, 2, 1])[TYPES])


@pytest.mark.parametrize("n_clusters", [1, 3, 7])
def test_sizes_fall_whatever_the_number(n_clusters: int):
    sizes = np.bincount(kmeans(codes(spread=2.0), n_clusters, seed=3))
    assert len(sizes) == n_clusters
    assert (np.diff(sizes) <= 0).all()
    assert sizes.sum() == len(TYPES)


def test_labels_are_a_fixed_point_of_lloyd_s_algorithm():
    z = codes(spread=1.5)
    labels = kmeans(z, 4, seed=1)
    centres = np.array([z[labels == k].mean(axis=0) for k in range(4)])
    nearest = ((z[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest != labels).mean() < 0.01


@pytest.mark.usefixtures("global_randomness_untouched")
def test_a_mixture_tells_a_tight_group_inside_a_wide_one():
    rng = np.random.default_rng(2)
    kind = np.repeat([0, 1], [200, 100])
    z = np.where(kind == 0, 5.0, 0.3)[:, None] * rng.standard_normal((300, 2)) + 3 * kind[:, None]
    assert adjusted_rand_score(gmm(z, 2, seed=0), kind) > 0.85
    assert adjusted_rand_score(kmeans(z, 2, seed=0), kind) < 0.6
    np.testing.assert_array_equal(gmm(z / 1e4, 2, seed=0), gmm(z, 2, seed=0))  # whatever the unit


def test_components_without_a_cell_are_no_clusters():
    few = np.repeat(codes()[:3], [10, 1, 1], axis=0)
    labels = gmm(few, 3, seed=0)
    assert set(labels.tolist()) == set(range(labels.max() + 1))
    with pytest.raises(ScraeError) as error:
        gmm(few, 4, seed=0)
    assert str(error.value) == "gmm: expected at most as many clusters as distinct codes (3), found 4"


@pytest.mark.usefixtures("global_randomness_untouched")
def test_the_seed_decides():
    z = np.random.default_rng(1).standard_normal((300, 2)).astype(np.float32)  # no groups: many local optima
    first, again = kmeans(z, 9, seed=4, n_init=1), kmeans(z, 9, seed=4, n_init=1)
    np.testing.assert_array_equal(first, again)
    others = [kmeans(z, 9, seed=seed, n_init=1) for seed in range(5, 9)]
    assert min(adjusted_rand_score(first, other) for other in others) < 1


def test_more_clusters_than_cells_or_codes():
    with pytest.raises(ScraeError) as error:
        kmeans(codes()[:3], 4, seed=0)
    assert str(error.value) == "kmeans: expected at most as many clusters as cells (3), found 4"
    with pytest.raises(ScraeError) as error:
        kmeans(np.repeat(codes()[:2], 5, axis=0), 3, seed=0)
    assert str(error.value) == "kmeans: expected at most as many clusters as distinct codes (2), found 3"


@pytest.mark.usefixtures("global_randomness_untouched")
def test_the_number_of_clusters_is_the_median_of_three_leiden_runs():
    graph = neighbor_graph(np.random.default_rng(0).standard_normal((400, 5)).astype(np.float32))
    counts = [int(leiden(graph.joined, 0.35, seed=seed).max()) + 1 for seed in (7, 8, 9)]
    found = choose_n_clusters(graph, seed=7)
    assert found.runs.tolist() == counts
    assert found.n_clusters == sorted(counts)[1]
    assert len(set(choose_n_clusters(graph, seed=2**32 - 1).runs)) >= 1  # seeds wrap around


SMALL = np.concatenate([np.flatnonzero(kind == TYPES)[:35] for kind in range(4)])
"""At most 35 cells of each group: in two dimensions a larger one falls into several communities."""


def test_separate_groups_are_counted():
    found = choose_n_clusters(neighbor_graph(codes()[SMALL]), seed=0)
    assert found.n_clusters == 4
    assert found.runs.tolist() == [4, 4, 4]


def test_at_least_two_clusters_are_chosen():
    few = neighbor_graph(np.random.default_rng(0).standard_normal((6, 2)))
    found = choose_n_clusters(few, seed=0)
    assert found.runs.tolist() == [1, 1, 1]
    assert found.n_clusters == 2


def test_equal_codes_have_no_number_of_clusters():
    with pytest.raises(ScraeError) as error:
        choose_n_clusters(neighbor_graph(np.ones((50, 2))), seed=0)
    assert str(error.value) == (
        "choose_n_clusters: expected at least 2 distinct codes, found 1; give the number of clusters"
    )


def test_the_choice_needs_a_graph():
    with pytest.raises(ScraeError, match="found 3; give the number of clusters"):
        cluster_codes(codes()[:3], ClusterConfig(), seed=0)
    z = codes()[SMALL]
    chosen = cluster_codes(z, ClusterConfig(method="kmeans"), seed=0, graph=neighbor_graph(z))
    np.testing.assert_array_equal(chosen.labels, kmeans(z, 4, seed=0))
