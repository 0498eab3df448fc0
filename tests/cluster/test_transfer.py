"""Votes and distances of the nearest known codes."""

from __future__ import annotations

import numpy as np
import pytest

from scrae import ScraeError
from scrae.cluster.neighbors import NeighborIndex
from scrae.cluster.transfer import transfer_labels, vote


def test_votes_and_distances_by_hand() -> None:
    reference = np.array([[0.0], [1.0], [2.0], [10.0], [12.0], [14.0]])
    labels = np.array([0, 0, 1, 1, 1, 1])
    found = transfer_labels(np.array([[0.0], [6.1], [18.0]]), reference, labels, n_neighbors=2)
    # 0: neighbors 0 and 1; 6.1: 10 and 2; 18: 14 and 12
    assert found.label.tolist() == [0, 1, 1]
    np.testing.assert_allclose(found.share, [1, 1, 1])
    # mean distance of each of the reference to its own two nearest: 1.5, 1, 1.5, 3, 2, 3
    expected = [0.5 / 1.25, ((3.9 + 4.1) / 2) / ((3 + 1.5) / 2), 5 / 2.5]
    np.testing.assert_allclose(found.distance, expected)
    own = np.array([1.5, 1, 1.5, 3, 2, 3])
    around = np.array([1.25, 1.5, 1.25, 2.5, 3, 2.5])
    np.testing.assert_allclose(found.reference_distance, own / around)


def test_equal_votes_go_to_the_larger_cluster_and_shares_are_told() -> None:
    reference, labels = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([1, 0, 2, 2])
    found = transfer_labels(np.array([[0.4], [2.1]]), reference, labels, n_neighbors=2)
    assert found.label.tolist() == [0, 2]
    np.testing.assert_allclose(found.share, [0.5, 1.0])


def test_a_vote_is_that_of_the_nearest_also_over_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scrae.cluster.transfer._BLOCK", 7)
    rng = np.random.default_rng(0)
    z, reference, labels = rng.normal(size=(20, 3)), rng.normal(size=(30, 3)), rng.integers(0, 4, 30)
    away = ((z[:, None] - reference) ** 2).sum(axis=2)
    nearest = labels[np.argsort(away, axis=1)[:, :5]]
    expected = [int(np.bincount(row).argmax()) for row in nearest]
    made: list[int] = []
    monkeypatch.setattr(
        "scrae.cluster.transfer.NeighborIndex",
        lambda points: made.append(len(points)) or NeighborIndex(points),
    )
    found = vote(z, reference, labels, n_neighbors=5)
    assert made == [30]  # the reference is indexed once
    assert found.tolist() == expected
    assert len(set(expected)) > 1


def test_doubled_codes_divide_by_nothing() -> None:
    reference = np.zeros((5, 2))
    found = transfer_labels(np.array([[0.0, 0.0], [3.0, 4.0]]), reference, np.zeros(5, dtype=int))
    np.testing.assert_allclose(found.distance, [0, 5])
    np.testing.assert_array_equal(found.reference_distance, np.zeros(5))


def test_what_cannot_be_is_said() -> None:
    labels = np.zeros(3, dtype=int)
    for z, reference, k in (
        (np.zeros((2, 2)), np.zeros((1, 2)), 5),
        (np.zeros((2, 3)), np.zeros((3, 2)), 5),
        (np.zeros((2, 2)), np.zeros((3, 2)), 0),
    ):
        with pytest.raises(
            ScraeError, match="expected a reference of at least 2 codes, new codes of its width"
        ):
            transfer_labels(z, reference, labels, n_neighbors=k)
