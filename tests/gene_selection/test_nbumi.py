from __future__ import annotations

from inspect import unwrap

import numpy as np
import pytest
from scipy.stats import false_discovery_control, linregress, norm

from scrae.errors import ScraeError
from scrae.gene_selection import nbumi
from scrae.gene_selection._nbumi import expected_dropout


def slow_nbumi(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Straight from the specification, dense: size, smoothed size, excess of zeros, p-value."""
    n, n_genes = x.shape
    t, depth, total = x.sum(axis=0), x.sum(axis=1), x.sum()
    mu = np.outer(depth, t) / total
    size = np.empty(n_genes)
    for j in range(n_genes):
        v = np.var(x[:, j] - mu[:, j], ddof=1)
        size[j] = t[j] ** 2 * (np.sum(depth**2) / total**2) / ((n - 1) * v - t[j])
    size[size < 0] = 10 * size.max()
    size = np.maximum(size, 1e-10)
    used = size < size.max()
    line = linregress(np.log(t / n)[used], np.log(size)[used])
    smooth = np.exp(line.intercept + line.slope * np.log(t / n))
    excess, p_value = np.empty(n_genes), np.empty(n_genes)
    for j in range(n_genes):
        p = (1 + mu[:, j] / smooth[j]) ** -smooth[j]
        e, o = max(p.mean(), 1 / n), (x[:, j] == 0).mean()
        excess[j] = o - e
        error = np.sqrt(np.sum(p * (1 - p)) / n**2 + o * (1 - o) / n)
        p_value[j] = norm.sf(excess[j] / error)
    return size, smooth, excess, p_value


@pytest.fixture
def filled(counts: np.ndarray) -> np.ndarray:
    x = np.delete(np.delete(counts, 5, axis=0), 3, axis=1)
    x[:, 7] += 1  # never zero
    return x


def test_dropout_variant_against_the_dense_loops(filled):
    _, smooth, excess, p_value = slow_nbumi(filled)
    ours = nbumi(filled, alpha=0.2)
    np.testing.assert_allclose(ours.p_value, p_value, rtol=1e-9)
    np.testing.assert_allclose(ours.fit.statistic - ours.fit.expected, excess, atol=1e-13)
    np.testing.assert_array_equal(ours.selected, false_discovery_control(p_value) < 0.2)
    assert 0 < ours.selected.sum() < 59
    line = ours.fit.parameters
    np.testing.assert_allclose(line.intercept + line.slope * np.log(ours.fit.mean), np.log(smooth), rtol=1e-9)


def test_high_variance_variant_against_the_dense_loops(filled):
    size, smooth, _, _ = slow_nbumi(filled)
    ours = nbumi(filled, variant="high_variance", n_top_genes=5)
    np.testing.assert_allclose(ours.score, np.log(smooth) - np.log(size), atol=1e-9)
    np.testing.assert_array_equal(np.flatnonzero(ours.selected), np.sort(np.argsort(-ours.score)[:5]))
    np.testing.assert_allclose(ours.fit.statistic, 1 / size, rtol=1e-9)
    assert ours.p_value is None


def test_only_high_genes_make_the_line_where_there_are_many():
    rng = np.random.default_rng(2)
    mean = np.r_[np.full(300, 0.5), rng.uniform(20, 60, 2100)]
    x = rng.poisson(rng.gamma(2.0, mean / 2, (40, 2400)))
    x = x[:, x.sum(axis=0) > 0]
    size, *_ = slow_nbumi(x)
    high = (x.mean(axis=0) > 16) & (size < size.max())
    assert high.sum() > 2000
    line = linregress(np.log(x.mean(axis=0)[high]), np.log(size[high]))
    ours = nbumi(x).fit.parameters
    assert ours == pytest.approx((line.intercept, line.slope), rel=1e-8)


@pytest.mark.parametrize("spread", [0, 1e-9, 0.5, 3, 6])
def test_expected_dropout_is_exact_whatever_the_depths_and_sizes(spread):
    rng = np.random.default_rng(3)
    totals = np.exp(rng.uniform(8 - spread, 8 + spread, 500))
    mean, size = (grid.ravel() for grid in np.meshgrid(10.0 ** np.arange(-6, 5), 10.0 ** np.arange(-6, 7)))
    share = mean / totals.mean()
    p = (1 + share * totals[:, None] / size) ** -size
    rate, variance = expected_dropout(totals, share, size)
    np.testing.assert_allclose(rate, p.mean(axis=0), atol=1e-14 + 1e-10 * (size.max() > 1e5))
    small = size <= 1e3  # (1 + x) ** -size itself rounds badly beyond
    np.testing.assert_allclose(rate[small], p.mean(axis=0)[small], atol=2e-13)
    np.testing.assert_allclose(variance[small] / 500, (p * (1 - p)).mean(axis=0)[small], atol=2e-13)
    stable = np.exp(-size * np.log1p(share * totals[:, None] / size))
    np.testing.assert_allclose(rate, stable.mean(axis=0), atol=1e-14)
    assert ((rate >= 0) & (rate <= 1) & (variance >= 0)).all()


def test_the_bound_of_the_quadrature_holds():
    """The error of few points stays below the bound from which the number of points is chosen."""
    half = 2.5
    ratio = np.pi / (2 * half)
    rho = ratio + np.hypot(ratio, 1)
    u = np.linspace(-half, half, 2001)
    for n in (4, 8, 16, 24):
        nodes = np.cos((np.arange(n) + 0.5) * np.pi / n)
        for shift, size in [(-3.0, 0.1), (0.0, 1.0), (1.0, 50.0), (-4.0, 1e4), (2.0, 3.0)]:

            def p(v, shift=shift, size=size):
                return np.exp(-size * np.log1p(np.exp(v + shift)))

            fitted = np.polynomial.chebyshev.Chebyshev.fit(
                half * nodes, p(half * nodes), n - 1, [-half, half]
            )
            assert np.abs(fitted(u) - p(u)).max() <= 4 * rho ** -(n - 1) / (rho - 1)


def test_what_it_refuses(counts):
    with pytest.raises(ScraeError, match=r"^nbumi expected raw counts \(whole numbers\), found 0\.6931"):
        nbumi(np.log1p((counts > 0).astype(float)))
    with pytest.raises(ScraeError, match='n_top_genes with variant="high_variance", which has no test'):
        nbumi(counts, variant="high_variance")
    with pytest.raises(
        ScraeError, match="genes of several means that vary more than a Poisson count, found 0"
    ):
        nbumi(np.ones((6, 5), dtype=np.int32))
    with pytest.raises(ScraeError, match='variant="dropout" or "high_variance", found \'poisson\''):
        unwrap(nbumi)(counts, variant="poisson")
