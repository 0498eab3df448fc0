from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, ward
from sklearn.metrics import adjusted_rand_score

from scrae.cluster.tree import cluster_tree, nested_tree


def test_single_points_give_the_linkage_of_scipy():
    points = np.random.default_rng(0).normal(size=(30, 3))
    tree, linkage = cluster_tree(points, np.arange(30)), ward(points)
    np.testing.assert_array_equal(tree.children, linkage[:, :2].astype(int))
    np.testing.assert_allclose(tree.height, linkage[:, 2])
    for k in (1, 2, 7, 30):
        assert adjusted_rand_score(tree.cut(k), fcluster(linkage, k, "maxclust")) == 1


def test_clusters_count_by_their_cells_as_merged_points_do():
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(6), [40, 5, 30, 2, 20, 9])
    points = (
        rng.normal(size=(6, 2))[labels] * 10
    )  # cells of a cluster coincide: they are joined first, at height 0
    tree, linkage = cluster_tree(points, labels), ward(points)
    np.testing.assert_allclose(tree.height, linkage[-5:, 2])


def test_cuts_are_nested_and_numbered_by_cells():
    rng = np.random.default_rng(2)
    labels = np.r_[np.arange(12), rng.integers(12, size=300)]
    tree = cluster_tree(rng.normal(size=(312, 3)), labels)
    for k in range(1, 12):
        coarse, fine = tree.cut(k), tree.cut(k + 1)
        assert all(len(set(coarse[fine == group])) == 1 for group in range(k + 1))
        cells = np.bincount(coarse, weights=tree.sizes)
        assert len(cells) == k
        assert (np.diff(cells) <= 0).all()


@pytest.mark.parametrize("node", [3, 20])
def test_leaves_below_a_node(node):
    tree = cluster_tree(np.random.default_rng(3).normal(size=(12, 2)), np.arange(12))
    expected = {3} if node == 3 else {leaf for leaf in range(12) if _is_below(tree, leaf, node)}
    assert set(tree.leaves(node)) == expected


def _is_below(tree, leaf: int, node: int) -> bool:
    while leaf < node and leaf != 2 * tree.n_leaves - 2:
        leaf = tree.n_leaves + int(np.flatnonzero((tree.children == leaf).any(axis=1))[0])
    return leaf == node


def test_clusters_of_a_group_are_joined_before_groups_are():
    points = np.array([[0.0], [10.0], [11.0], [30.0]])
    assert cluster_tree(points, np.arange(4)).children[0].tolist() == [1, 2]
    tree = cluster_tree(points, np.arange(4), within=np.array([0, 0, 1, 1]))
    assert sorted(map(sorted, tree.children[:2].tolist())) == [[0, 1], [2, 3]]
    assert (np.diff(tree.height) >= 0).all()


@pytest.fixture
def islands() -> tuple[np.ndarray, np.ndarray]:
    """Two clusters: the first is two islands of 100 and 60 cells, the second one island of 80."""
    island = np.repeat([0, 1, 2], [100, 60, 80])
    points = np.array([[0, 0], [0, 8], [90, 0]])[island] + np.random.default_rng(0).normal(size=(240, 2))
    return points, island


def test_a_nested_tree_holds_the_clusters_and_divides_the_one_with_a_gap_first(islands):
    points, island = islands
    leaves, tree = nested_tree(points, island // 2, most=7, seed=0)
    assert tree.n_leaves == 7
    assert tree.sizes.tolist() == np.bincount(leaves).tolist()
    assert adjusted_rand_score(tree.cut(2)[leaves], island // 2) == 1
    assert adjusted_rand_score(tree.cut(3)[leaves], island) == 1


def test_small_clusters_stay_whole(islands):
    points, island = islands
    leaves, tree = nested_tree(points[:220:10], island[:220:10], most=9, seed=0)
    assert adjusted_rand_score(leaves, island[:220:10]) == 1
    assert tree.n_leaves == 3
