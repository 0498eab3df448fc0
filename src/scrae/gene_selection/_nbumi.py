"""Depth-adjusted negative binomial selection of genes (NBumi, also DANB; Andrews and Hemberg 2019)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from scrae.errors import ScraeError
from scrae.gene_selection._blocks import Counts
from scrae.gene_selection._result import (
    Correction,
    DispersionTrend,
    GeneFit,
    GeneScores,
    adjust,
    expand,
    rank_genes,
)
from scrae.gene_selection._sums import GeneSums, sum_over_cells

__all__ = ["expected_dropout", "nbumi"]

_SMALLEST_SIZE = 1e-10
_PRECISION = 1e-16


def nbumi(
    counts: Counts,
    *,
    variant: Literal["dropout", "high_variance"] = "dropout",
    n_top_genes: int | None = None,
    alpha: float = 0.05,
    correction: Correction = "fdr",
) -> GeneScores:
    """Genes with more zeros, or more variance, than a depth-adjusted negative binomial expects.

    The count of gene j in cell i is negative binomial with mean t_j T_i / T (totals of the gene, of the cell,
    of all) and a size that follows the mean along a line in logs. Recommended for counts of molecules (UMI).

    Parameters
    ----------
    counts
        [cells, genes] raw counts; a sparse or dense matrix or `RowBlocks`, read once.
    variant
        "dropout": more zeros than expected, one-sided normal test of the drop-out rate. "high_variance": a smaller
        size than the line gives at this mean; it has no test and needs ``n_top_genes``.
    n_top_genes
        How many genes to select: for "dropout" those of smallest p-value, ties by the excess of the drop-out
        rate. None: all genes whose adjusted p-value is below ``alpha``.
    alpha
        Threshold on the adjusted p-value; not used with ``n_top_genes``.
    correction
        "fdr" (Benjamini and Hochberg) as in the R package, or "bonferroni".

    Returns
    -------
    GeneScores
        ``score`` is -log10 of the p-value, or how far ln size lies below the line. ``fit`` has the mean
        count, the drop-out rate (or 1 / size), what is expected of it, and `DispersionTrend`.

    Raises
    ------
    ScraeError
        For fractions, negative, NaN or infinite values, for another variant, for "high_variance" without
        ``n_top_genes``, and where fewer than two genes vary more than a Poisson count.

    Notes
    -----
    Equals M3Drop 3.10.6 to rounding, except that genes and cells without counts are dropped, not refused.
    """
    if variant not in ("dropout", "high_variance"):
        raise ScraeError(
            f'nbumi expected variant="dropout" or "high_variance", found {variant!r}: use one of them'
        )
    sums = sum_over_cells(counts, lambda x, t: (x, x * x, x * t), method="nbumi")
    mean = sums.sums[0] / sums.n_cells
    size = _sizes(sums)
    trend = _trend(size, mean)
    smooth = np.exp(trend.intercept + trend.slope * np.log(mean))
    if variant == "dropout":
        return _by_dropout(sums, mean, smooth, trend, n_top_genes, alpha, correction)
    if n_top_genes is None:
        raise ScraeError(
            'nbumi expected n_top_genes with variant="high_variance", which has no test: give a number'
        )
    return rank_genes(
        np.log(smooth) - np.log(size),
        kept=sums.kept,
        choice=n_top_genes,
        fit=_fit_of(sums, mean, "dispersion (1 / size)", 1 / size, 1 / smooth, trend),
        notes=sums.notes,
    )


def _sizes(sums: GeneSums) -> NDArray[np.float64]:
    """Negative binomial sizes by the variance around t_j T_i / T; not below Poisson: ten times the largest."""
    gene, squares, with_total = sums.sums
    total, total_squares = sums.totals.sum(), np.square(sums.totals).sum()
    # sum over cells of (x - t_j T_i / T)^2, opened; the sums are whole numbers and exact below 2^53
    residuals = squares - 2 * gene / total * with_total + np.square(gene / total) * total_squares
    with np.errstate(divide="ignore"):
        size: NDArray[np.float64] = np.square(gene / total) * total_squares / (residuals - gene)
    size[size < 0] = 10 * size.max()
    return np.maximum(size, _SMALLEST_SIZE)


def _trend(size: NDArray[np.float64], mean: NDArray[np.float64]) -> DispersionTrend:
    """Ordinary least squares of ln size on ln mean; of the high genes alone where there are many."""
    used = size < size.max()
    high = mean > 2**4
    if high.sum() > 2000:
        used &= high
    x, y = np.log(mean[used]), np.log(size[used])
    if x.size < 2 or np.ptp(x) == 0:
        raise ScraeError(
            f"nbumi expected genes of several means that vary more than a Poisson count, found {x.size}: "
            "pass the raw counts of all genes"
        )
    x_mean, y_mean = x.mean(), y.mean()
    slope = ((x - x_mean) * (y - y_mean)).sum() / np.square(x - x_mean).sum()
    return DispersionTrend(intercept=float(y_mean - slope * x_mean), slope=float(slope))


def _by_dropout(
    sums: GeneSums,
    mean: NDArray[np.float64],
    smooth: NDArray[np.float64],
    trend: DispersionTrend,
    n_top_genes: int | None,
    alpha: float,
    correction: Correction,
) -> GeneScores:
    n = sums.n_cells
    rate, spread_sum = expected_dropout(sums.totals, sums.sums[0] / sums.totals.sum(), smooth)
    expected = np.maximum(rate, 1 / n)
    observed = sums.n_zero / n
    variance = spread_sum / n**2 + observed * (1 - observed) / n
    excess = observed - expected
    with np.errstate(divide="ignore", invalid="ignore"):
        p_value = ndtr(-excess / np.sqrt(variance))
    p_value = np.where(np.isnan(p_value), 1.0, p_value)
    choice = adjust(p_value, correction) < alpha if n_top_genes is None else n_top_genes
    return rank_genes(
        -np.log10(np.maximum(p_value, 5e-324)) + 0.0,
        ties=[excess],
        kept=sums.kept,
        choice=choice,
        p_value=p_value,
        fit=_fit_of(sums, mean, "drop-out rate", observed, expected, trend),
        notes=sums.notes,
    )


def expected_dropout(
    totals: NDArray[np.float64], share: NDArray[np.float64], size: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean over cells of P = (1 + share T / size)^(-size), and the sum over cells of P (1 - P).

    P depends on a cell only through u = ln T. With z = share T / size it continues to complex u, and wherever
    |Im u| <= pi/2 we have Re z >= 0, so |1 + z| >= 1 and |P| <= 1, |P (1 - P)| <= 2, for every gene. A polynomial
    through N Chebyshev points of the range of u is therefore off by at most 8 rho^-(N-1) / (rho - 1), where rho is
    the Bernstein ellipse that fits into this strip (Trefethen 2013, theorem 8.2). N is chosen for 1e-16: about 60
    points stand for any number of cells, exact to rounding.

    Parameters
    ----------
    totals
        [cells], all positive.
    share, size
        [genes]: the gene's share of all counts, and its negative binomial size.

    Returns
    -------
    tuple
        Mean of P and sum of P (1 - P), each [genes].
    """
    points, weights = _quadrature(np.log(totals))
    rate, spread_sum = np.zeros(share.size), np.zeros(share.size)
    for point, weight in zip(np.exp(points), weights, strict=True):
        log_p = -size * np.log1p(share * (point / size))
        p = np.exp(log_p)
        rate += weight * p
        spread_sum -= weight * p * np.expm1(log_p)
    return np.clip(rate / totals.size, 0.0, 1.0), np.maximum(spread_sum, 0.0)


def _quadrature(u: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Chebyshev points of the range of ``u``, and weights that give sums over ``u`` of a function."""
    middle, half = (u.max() + u.min()) / 2, (u.max() - u.min()) / 2
    if half < _PRECISION * max(1.0, abs(middle)):
        return np.array([middle]), np.array([float(u.size)])
    ratio = np.pi / (2 * half)
    rho = ratio + np.hypot(ratio, 1.0)
    n = 2 + int(np.ceil(np.log(8 / (_PRECISION * (rho - 1))) / np.log(rho)).clip(0))
    angles = (np.arange(n) + 0.5) * (np.pi / n)
    x = np.clip((u - middle) / half, -1.0, 1.0)
    before, now = x, np.ones_like(x)  # T_1 = T_-1 and T_0
    weights = np.zeros(n)
    for degree in range(n):
        weights += (2.0 if degree else 1.0) * now.sum() * np.cos(degree * angles) / n
        before, now = now, 2 * x * now - before
    return middle + half * np.cos(angles), weights


def _fit_of(
    sums: GeneSums,
    mean: NDArray[np.float64],
    name: str,
    statistic: NDArray[np.float64],
    expected: NDArray[np.float64],
    trend: DispersionTrend,
) -> GeneFit:
    return GeneFit(
        mean=expand(mean, sums.kept, 0.0),
        statistic=expand(statistic, sums.kept, np.nan),
        statistic_name=name,
        expected=expand(expected, sums.kept, np.nan),
        parameters=trend,
    )
