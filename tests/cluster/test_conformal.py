from __future__ import annotations

import numpy as np
from scipy import stats

from scrae.cluster.conformal import conformal_p


def test_one_score_by_hand():
    known = np.array([1.0, 2.0, 2.0, 5.0])
    found = conformal_p(np.array([0.0, 2.0, 5.0, 6.0]), known)
    np.testing.assert_allclose(found, [5 / 5, 4 / 5, 2 / 5, 1 / 5])


def test_p_values_of_like_cells_are_uniform():
    rng = np.random.default_rng(0)
    p = []
    for _ in range(200):
        scores = rng.lognormal(size=300)
        p.append(conformal_p(scores[:100], scores[100:]))
    flagged = np.array([(values <= 0.05).mean() for values in p])
    assert abs(flagged.mean() - 0.05) < 0.01
    assert stats.kstest(np.array([values[0] for values in p]), "uniform").pvalue > 0.001
