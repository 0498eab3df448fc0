"""The test for a gap, against counting by hand, a brute-force twin, and its error rate."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import beta, binomtest, norm

from scrae import ScraeError
from scrae.cluster.valley import Valley, find_valleys, unimodal_p


def find(x: np.ndarray) -> Valley:
    return find_valleys(x[None])[0]


def slow(x: np.ndarray, below: float = 1.0) -> float:
    """Every triple of intervals, one after the other."""
    x, best = np.sort(x), -np.inf
    for v, f in itertools.product([1, 2, 4, 8, 16], [8, 16, 32, 64]):
        if not v <= f <= max(8 * v, 8):
            continue
        for i in range(f, len(x) - v - f):
            gap = below * (x[i + v] - x[i])
            left = min(x[j + f] - x[j] for j in range(i - f + 1))
            right = min(x[j + f] - x[j] for j in range(i + v, len(x) - f))
            tail = beta(v, f).sf(gap / (gap + max(left, right)))
            best = max(best, norm.isf(tail) - np.sqrt(2 * np.log(np.e * len(x) / v)))
    return best


@pytest.mark.parametrize("n_cells", [19, 40, 70])
def test_the_statistic_equals_that_of_the_slow_search(n_cells):
    x = np.random.default_rng(n_cells).normal(size=n_cells)
    assert find(x).statistic == pytest.approx(slow(x))
    assert find_valleys(x[None], below=0.3)[0].statistic == pytest.approx(slow(x, 0.3))


def test_the_gap_lies_between_the_groups_and_units_do_not_matter():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, 200), rng.normal(12, 1, 100)])
    found = find(x)
    assert found.left[1] < found.interval[0] < 6 < found.interval[1] < found.right[0] + 12
    assert found.interval[1] - found.interval[0] > 2
    assert find(100 - 7 * x).statistic == pytest.approx(found.statistic)
    assert unimodal_p(found.statistic, 300, seed=0) == 1 / 1001


@pytest.mark.parametrize("draw", ["uniform", "normal", "exponential", "standard_cauchy"])
def test_one_mode_is_rarely_split(draw):
    rng = np.random.default_rng(1)
    p = np.array([unimodal_p(find(getattr(rng, draw)(size=120)).statistic, 120, seed=i) for i in range(80)])
    assert binomtest(int((p <= 0.1).sum()), 80, 0.1, alternative="greater").pvalue > 0.01


def test_the_density_in_the_gap_and_its_limits():
    valley = Valley(statistic=1, interval=(2, 6), left=(0, 1), right=(7, 9), n_gap=3, n_flank=10)
    assert valley.density == pytest.approx((3 / 4) / (10 / 2))
    rng = np.random.default_rng(3)
    inside, covered = 0.2, 0
    for _ in range(400):  # lengths of spacings at densities of 0.2 and 1
        gap, flank = rng.gamma(3, 1 / inside), rng.gamma(10)
        drawn = Valley(statistic=1, interval=(0, gap), left=(0, flank), right=(0, flank), n_gap=3, n_flank=10)
        low, high = drawn.density_limits()
        covered += low < inside < high
    assert binomtest(covered, 400, 0.95).pvalue > 0.01


def test_too_few_values():
    with pytest.raises(ScraeError, match="expected at least 19 values, found 12"):
        find(np.arange(12.0))
