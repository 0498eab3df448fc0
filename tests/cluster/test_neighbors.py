"""Nearest neighbors against all distances: exact among few points, by partitions among many."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from scrae.cluster import neighbors
from scrae.cluster.neighbors import NeighborIndex, find_neighbors

K = 14


def recall(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the share of the expected neighbors [points, neighbors] that were found."""
    shared = [len(np.intersect1d(one, other)) for one, other in zip(found, expected, strict=True)]
    return sum(shared) / expected.size


@pytest.fixture(scope="module")
def groups() -> np.ndarray:
    """12,000 points of six stretched groups of unequal size in 10 dimensions; more than are searched exactly."""
    rng = np.random.default_rng(0)
    group = rng.choice(6, 12_000, p=np.arange(1, 7) / 21)
    stretch = rng.normal(size=(6, 10, 10)) * 0.4
    middle = rng.normal(size=(6, 10)) * 2
    return middle[group] + np.einsum("nd,nde->ne", rng.normal(size=(12_000, 10)), stretch[group])


@pytest.fixture(scope="module")
def expected(groups: np.ndarray) -> np.ndarray:
    return NearestNeighbors(n_neighbors=K, algorithm="brute").fit(groups).kneighbors()[1]


def test_among_few_points_all_distances_are_looked_at() -> None:
    rng = np.random.default_rng(1)
    points, others = rng.normal(size=(300, 4)), rng.normal(size=(200, 4))
    for there, found in (
        (points, find_neighbors(points, 5)),
        (others, NeighborIndex(others).search(points, 5)),
    ):
        away = np.linalg.norm(points[:, None] - there, axis=2)
        if there is points:
            np.fill_diagonal(away, np.inf)
        order = np.argsort(away, axis=1)[:, :5]
        np.testing.assert_array_equal(found[1], order)
        np.testing.assert_allclose(found[0], np.take_along_axis(away, order, axis=1))


@pytest.mark.usefixtures("global_randomness_untouched")
def test_among_many_nearly_all_are_found(groups: np.ndarray, expected: np.ndarray) -> None:
    distance, index = find_neighbors(groups, K)
    assert recall(index, expected) > 0.995
    np.testing.assert_allclose(distance, np.linalg.norm(groups[:, None] - groups[index], axis=2))
    assert (np.diff(distance, axis=1) >= 0).all()
    assert (index != np.arange(len(groups))[:, None]).all()
    assert all(len(set(row)) == K for row in index)


def test_fewer_partitions_would_not_do(
    groups: np.ndarray, expected: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The points are such that a search of too few partitions, or of the wrong ones, is seen."""
    monkeypatch.setattr(neighbors, "_RECALL", 0.5)
    assert 0.9 < recall(find_neighbors(groups, K)[1], expected) < 0.992


def test_points_without_groups_are_searched_in_more_partitions() -> None:
    points = np.random.default_rng(4).normal(size=(10_500, 12))
    _, index = find_neighbors(points, K)
    exact = NearestNeighbors(n_neighbors=K + 1, algorithm="brute").fit(points).kneighbors(points[:500])[1]
    assert recall(index[:500], exact[:, 1:]) > 0.99


def test_new_points_are_looked_up_among_the_others(groups: np.ndarray) -> None:
    rng = np.random.default_rng(2)
    new = groups[rng.choice(len(groups), 400, replace=False)] + rng.normal(size=(400, 10))
    exact = NearestNeighbors(n_neighbors=K, algorithm="brute").fit(groups)
    distance, index = NeighborIndex(groups).search(new, K)
    assert recall(index, exact.kneighbors(new)[1]) > 0.99
    np.testing.assert_allclose(distance, np.linalg.norm(new[:, None] - groups[index], axis=2))
    itself = NeighborIndex(groups).search(groups[:3], 1)  # most partitions have no query
    np.testing.assert_array_equal(itself[1], [[0], [1], [2]])
    np.testing.assert_array_equal(itself[0], 0.0)


def test_as_many_neighbors_are_found_as_are_asked_for(groups: np.ndarray) -> None:
    _, index = NeighborIndex(groups).search(groups[:50], 300)  # more than there are partitions
    exact = NearestNeighbors(n_neighbors=300, algorithm="brute").fit(groups)
    np.testing.assert_array_equal(index, exact.kneighbors(groups[:50])[1])


def test_threads_and_rows_in_single_precision_change_no_bit(groups: np.ndarray) -> None:
    points = groups.astype(np.float32)
    points[:50] = points[0]  # more copies than neighbors: any of them would do
    first = find_neighbors(points, K)
    with threadpool_limits(3):
        second = find_neighbors(points.astype(np.float64), K)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_copies_are_neighbors_but_not_of_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "_EXACT", 500)
    points = np.random.default_rng(3).normal(size=(900, 3)).round(3)
    points[100:160] = points[100]
    for part in (points, np.ones((600, 3))):
        distance, index = find_neighbors(part, K)
        assert (index != np.arange(len(part))[:, None]).all()
        assert all(len(set(row)) == K for row in index)
        np.testing.assert_array_equal(distance[100:160], 0.0)
        np.testing.assert_allclose(distance, np.linalg.norm(part[:, None] - part[index], axis=2), atol=1e-12)
