from __future__ import annotations

import numpy as np
from scipy import stats

from scrae.cluster.conformal import conformal_p


def test_one_score_by_hand():
    known = np.array([[1.0], [2.0], [2.0], [5.0]])
    found = conformal_p(np.array([[0.0], [2.0], [5.0], [6.0]]), known)
    np.testing.assert_allclose(found, [5 / 5, 4 / 5, 2 / 5, 1 / 5])


def test_p_values_of_like_cells_are_uniform_also_if_scores_are_dependent():
    rng = np.random.default_rng(0)
    p = []
    for _ in range(200):
        first = rng.lognormal(size=300)
        scores = np.column_stack([first, first + rng.normal(size=300)])
        p.append(conformal_p(scores[:100], scores[100:]))
    flagged = np.array([(values <= 0.05).mean() for values in p])
    assert abs(flagged.mean() - 0.05) < 0.01
    assert stats.kstest(np.array([values[0] for values in p]), "uniform").pvalue > 0.001


def test_a_cell_that_is_unusual_in_any_score_has_the_smallest_p():
    rng = np.random.default_rng(1)
    known = rng.normal(size=(99, 2))
    found = conformal_p(np.array([[9.0, 2.5], [2.5, 9.0], [0.0, 0.0]]), known)
    assert (found[:2] <= 0.05).all()
    assert found[2] > 0.2
    assert found.min() >= 1 / 100
