from __future__ import annotations

from dataclasses import FrozenInstanceError, astuple
from math import log, sqrt

import numpy as np
import pandas as pd
import pytest

from scrae.cluster.metrics import score
from scrae.errors import ScraeError

# Two labels of three cells, a cluster of two and one of four: the table [[2, 1], [0, 3]].
LABELS = ["A", "A", "A", "B", "B", "B"]
CLUSTERS = [7, 7, 3, 3, 3, 3]


def test_every_score_of_a_table_worked_by_hand():
    information = log(3) / 2 - log(2) / 3
    of_labels, of_clusters = log(2), log(3) - 2 / 3 * log(2)
    # The corner cell of a table with these margins is 0, 1, 2 with chances 1/5, 3/5, 1/5;
    # at 1 the two are independent.
    expected_information = 2 / 5 * information

    found = score(LABELS, CLUSTERS)

    assert found.nmi == pytest.approx(information / sqrt(of_labels * of_clusters), abs=1e-12)
    # Pairs: 4 together in both; 6 in the labels, 7 in the clusters, 15 in all.
    assert found.ari == pytest.approx((4 - 6 * 7 / 15) / (6.5 - 6 * 7 / 15), abs=1e-12)
    mean_entropy = (of_labels + of_clusters) / 2
    assert found.ami == pytest.approx(
        (information - expected_information) / (mean_entropy - expected_information), abs=1e-12
    )
    assert found.homogeneity == pytest.approx(information / of_labels, abs=1e-12)
    assert found.completeness == pytest.approx(information / of_clusters, abs=1e-12)


def test_splitting_a_label_costs_completeness_only():
    found = score(["A", "A", "B", "B"], [0, 1, 2, 2])
    assert found.homogeneity == pytest.approx(1.0)
    # Information log 2 over a cluster entropy of 1.5 log 2.
    assert found.completeness == pytest.approx(2 / 3)
    assert found.nmi == pytest.approx(sqrt(2 / 3))


@pytest.mark.parametrize(
    "clusters",
    [
        ["x", "x", "x", "y", "y", "y"],
        np.array([2.0, 2.0, 2.0, -1.0, -1.0, -1.0]),
        pd.Series(pd.Categorical(["1"] * 3 + ["0"] * 3)),
    ],
)
def test_names_and_their_type_do_not_matter(clusters):
    assert astuple(score(pd.Categorical(LABELS), clusters)) == pytest.approx((1.0,) * 5)


def test_one_cluster_tells_nothing_but_is_complete():
    found = score(LABELS, [0] * 6)
    assert (found.nmi, found.ari, found.ami, found.homogeneity) == pytest.approx(
        (0.0, 0.0, 0.0, 0.0), abs=1e-12
    )
    assert found.completeness == pytest.approx(1.0)


def test_scores_are_frozen():
    found = score(LABELS, CLUSTERS)
    with pytest.raises(FrozenInstanceError):
        found.nmi = 1.0


def test_errors_say_what_was_found():
    with pytest.raises(ScraeError, match=r"found 6 labels and 5 clusters; pass both for the same cells"):
        score(LABELS, CLUSTERS[:5])
    with pytest.raises(ScraeError, match=r"in labels, found 2 of 3 missing; remove these cells from both"):
        score(["A", None, np.nan], [0, 1, 1])
    with pytest.raises(ScraeError, match=r"expected clusters as one value .* of shape \(0,\)"):
        score(LABELS, [])
    with pytest.raises(ScraeError, match=r"expected labels .* shape \(2, 3\)"):
        score(np.zeros((2, 3)), CLUSTERS)
