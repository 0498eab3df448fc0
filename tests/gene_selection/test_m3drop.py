from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize
from scipy.stats import false_discovery_control, norm

from scrae.errors import ScraeError
from scrae.gene_selection import m3drop
from scrae.gene_selection._m3drop import _fit


def test_the_curve_is_found_exactly_where_genes_lie_on_it():
    mean = np.array([0.02, 0.3, 1.0, 4.0, 25.0])
    curve = _fit(2.5 / (2.5 + mean), mean)
    assert pytest.approx(2.5, rel=1e-12) == curve.K
    assert curve.sigma == pytest.approx(0, abs=1e-12)


def test_the_curve_is_the_least_squares_one():
    rng = np.random.default_rng(0)
    mean = rng.lognormal(0, 2, 200)
    dropout = np.clip(0.7 / (0.7 + mean) + rng.normal(0, 0.05, 200), 0, 0.999)
    curve = _fit(dropout, mean)

    def residuals(k):
        return k / (k + mean) - dropout

    theirs = optimize.least_squares(residuals, [1.0], xtol=1e-15, ftol=1e-15, gtol=1e-15)
    assert pytest.approx(theirs.x[0], rel=1e-7) == curve.K
    assert curve.sigma == pytest.approx(np.sqrt(2 * theirs.cost / 200), rel=1e-12)


def slow_p_values(x: np.ndarray) -> np.ndarray:
    """Straight from the specification, gene by gene; no gene may be empty."""
    y = x / x.sum(axis=1, keepdims=True) * np.median(x.sum(axis=1))
    n, n_genes = y.shape
    p = (y == 0).mean(axis=0)
    s = y.mean(axis=0)
    k = m3drop(x).fit.parameters.K
    smallest = min(p[p > 0]) / 2
    log_k = [np.log((pj or smallest) * sj / (1 - (pj or smallest))) for pj, sj in zip(p, s, strict=True)]
    common = np.std(np.array(log_k) - np.log(k), ddof=1) / np.sqrt(n_genes)
    found = []
    for j in range(n_genes):
        if p[j] == 0:
            found.append(1.0)
            continue
        own = np.exp(log_k[j])
        se_s = np.sqrt((np.mean(y[:, j] ** 2) - s[j] ** 2) / n)
        se_p = np.sqrt(p[j] * (1 - p[j]) / n)
        e = own * np.sqrt((se_s / s[j]) ** 2 + (se_p / p[j]) ** 2)
        d = abs(np.log(own - e) - np.log(own)) if own > e else 1e10
        found.append(norm.sf((log_k[j] - np.log(k)) / np.sqrt(d**2 + common**2)))
    return np.array(found)


def test_p_values_by_hand_and_the_gene_that_is_never_zero(counts):
    x = np.delete(np.delete(counts, 5, axis=0), 3, axis=1)
    x[:, 7] += 1
    ours = m3drop(x)
    np.testing.assert_allclose(ours.p_value, slow_p_values(x), rtol=1e-9)
    assert ours.p_value[7] == 1
    assert ours.score[7] == 0
    np.testing.assert_allclose(ours.score, -np.log10(ours.p_value), atol=1e-15)


def test_selection_by_threshold_and_by_number(counts):
    ours = m3drop(counts, correction="fdr", alpha=0.3)
    kept = np.arange(60) != 3
    adjusted = false_discovery_control(ours.p_value[kept])
    np.testing.assert_array_equal(ours.selected[kept], adjusted < 0.3)
    assert 0 < ours.selected.sum() < 59
    bonferroni = m3drop(counts, alpha=0.3)
    np.testing.assert_array_equal(bonferroni.selected[kept], ours.p_value[kept] * 59 < 0.3)
    number = m3drop(counts, n_top_genes=7)
    np.testing.assert_array_equal(np.flatnonzero(number.selected), np.sort(np.argsort(number.rank)[:7]))


def test_ties_of_the_p_value_go_by_effect(counts):
    counts[:, [7, 8, 9]] += np.array([1, 9, 4], dtype=np.int32)  # never zero: a p-value of 1, K by the mean
    ours = m3drop(np.delete(counts, 5, axis=0))
    assert ours.p_value[7:10].tolist() == [1, 1, 1]
    assert ours.rank[8] < ours.rank[9] < ours.rank[7]


def test_normalized_values_are_taken_and_logged_ones_refused(counts):
    y = counts / np.maximum(1, counts.sum(axis=1, keepdims=True)) * 1000.0
    totals = counts.sum(axis=1)
    scaled = y * np.median(totals[totals > 0]) / 1000
    ours, raw = m3drop(scaled, normalize=False), m3drop(counts)
    np.testing.assert_allclose(ours.p_value, raw.p_value, rtol=1e-9)
    with pytest.raises(ScraeError, match=r"^m3drop expected raw counts \(whole numbers\), found 0\.6931"):
        m3drop(np.log1p((counts > 0).astype(float)))
    with pytest.raises(
        ScraeError, match=r"expected values that are not logged, found fractions of at most 6\.\d+"
    ):
        m3drop(np.log1p(y), normalize=False)


def test_counts_without_a_curve_are_refused():
    with pytest.raises(ScraeError, match="expected genes that are zero in some cells and not in others"):
        m3drop(np.full((5, 4), 3))
