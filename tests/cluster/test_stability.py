"""Overlap and repeated clusterings, against sets counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from scrae.cluster.stability import jaccard, stability


def sets_of(labels: np.ndarray) -> list[set[int]]:
    return [set(np.flatnonzero(labels == k).tolist()) for k in range(labels.max() + 1)]


def test_jaccard_of_hand_counted_sets():
    labels = np.array([0, 0, 0, 0, 1, 1, 2])
    others = np.array([1, 1, 1, 0, 0, 0, 2])
    # {0..3} with {0, 1, 2}: 3 of 4; {4, 5} with {3, 4, 5}: 2 of 3; {6} with {6}.
    np.testing.assert_allclose(jaccard(labels, others), [3 / 4, 2 / 3, 1])
    np.testing.assert_allclose(jaccard(others, labels), [2 / 3, 3 / 4, 1])


def test_jaccard_against_python_s_sets():
    rng = np.random.default_rng(0)
    labels, others = rng.integers(0, 5, 60), rng.integers(0, 7, 60)
    expected = [max(len(a & b) / len(a | b) for b in sets_of(others)) for a in sets_of(labels)]
    np.testing.assert_allclose(jaccard(labels, others), expected)


def test_a_cluster_without_cells_has_no_overlap():
    found = jaccard(np.array([0, 2, 2]), np.array([0, 0, 1]))
    assert found[0] == 1 / 2
    assert np.isnan(found[1])
    assert found[2] == 1 / 2


@pytest.mark.usefixtures("global_randomness_untouched")
def test_a_perfect_repetition_and_one_that_merges():
    labels = np.repeat([0, 1, 2], [40, 30, 30])
    calls: list[tuple[int, int]] = []

    def merged(cells: np.ndarray, seed: int) -> np.ndarray:
        calls.append((len(cells), seed))
        assert (np.diff(cells) > 0).all()
        return np.minimum(labels[cells], 1)  # clusters 1 and 2 become one

    same = stability(labels, lambda cells, _: labels[cells], seed=1)
    assert same.ari.tolist() == [1.0] * 10
    assert same.jaccard.tolist() == [1.0] * 3
    found = stability(labels, merged, seed=1, repeats=4, share=0.5)
    assert [n for n, _ in calls] == [50] * 4
    assert len({seed for _, seed in calls}) == 4
    assert found.jaccard[0] == 1
    assert found.jaccard[1] + found.jaccard[2] == pytest.approx(1)  # their shares of the merged one
    assert found.ari.max() < 0.8


def test_cells_that_were_left_out_do_not_count():
    labels = np.repeat([0, 1], [6, 4])

    def partly(cells: np.ndarray, seed: int) -> np.ndarray:
        return np.where(labels[cells] == 0, cells % 2, -1)

    found = stability(labels, partly, seed=0, repeats=3, share=1.0)
    assert found.jaccard[0] == 1 / 2
    assert np.isnan(found.jaccard[1])
    assert found.ari.tolist() == [adjusted_rand_score([0] * 6, [0, 1] * 3)] * 3
    none = stability(labels, lambda cells, _: np.full(len(cells), -1), seed=0, repeats=2)
    assert np.isnan(none.ari).all()
    assert np.isnan(none.jaccard).all()
