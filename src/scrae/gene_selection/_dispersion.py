"""Dispersion against genes of like mean, as scanpy's flavors seurat and cell_ranger, from sums over cells."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from scrae.errors import ScraeError
from scrae.gene_selection._blocks import Counts
from scrae.gene_selection._result import GeneFit, GeneScores, expand, rank_genes
from scrae.gene_selection._sums import GeneSums, sum_over_cells

__all__ = ["dispersion"]

_N_BINS = 20
# Genes of small bins tie with those of others (two genes in a bin are at equal distances from its middle). So
# that no rounding error decides which comes first, scores are rounded.
_DECIMALS = 12
# The median of the absolute value of a standard normal variable.
_NORMAL_MAD = 0.6744897501960817


def dispersion(
    counts: Counts,
    *,
    n_top_genes: int,
    flavor: Literal["seurat", "cell_ranger"] = "seurat",
    size_factors: NDArray[np.floating[Any]] | None = None,
) -> GeneScores:
    """Variance over mean, compared with genes of like mean.

    Equals ``scanpy.pp.highly_variable_genes`` with this flavor on log1p(counts / size factor), but reads the
    raw counts and builds no normalized matrix.

    Parameters
    ----------
    counts
        [cells, genes] raw counts; a sparse or dense matrix or `RowBlocks`, read once; twice for "cell_ranger"
        without size factors.
    n_top_genes
        How many genes to select.
    flavor
        "seurat" (Satija et al. 2015) looks at the normalized counts before the logarithm, and compares the
        logarithm of the dispersion with its mean in equal bins. "cell_ranger" (Zheng et al. 2017) looks at the
        log-normalized values, and compares the dispersion with its median in bins of equally many genes.
    size_factors
        [cells] what the counts of a cell are divided by; None: its total over the median total.

    Returns
    -------
    GeneScores
        ``score`` is the normalized dispersion (-inf for genes that do not vary); ``fit`` has log1p of the
        mean normalized count and the logarithm of the dispersion, or for "cell_ranger" the mean and the
        dispersion of the log-normalized values.

    Raises
    ------
    ScraeError
        For fractions, negative, NaN or infinite values, for size factors that are not positive numbers, for
        another flavor, for ``n_top_genes`` below 1, and for "cell_ranger" where too many genes have the same
        mean.
    """
    if flavor not in ("seurat", "cell_ranger"):
        raise ScraeError(
            f'dispersion expected flavor="seurat" or "cell_ranger", found {flavor!r}: use one of them'
        )
    if size_factors is not None and not (np.isfinite(size_factors) & (size_factors > 0)).all():
        raise ScraeError(
            "dispersion expected positive size factors, found 0, negative or NaN ones: drop such cells"
        )
    if flavor == "seurat":
        sums, mean, variance = _moments(counts, size_factors)
        with np.errstate(divide="ignore"):
            statistic = np.log(variance / mean)
        statistic[np.isneginf(statistic)] = np.nan
        mean = np.log1p(mean)
        lowest = float(mean.min()) if sums.kept.all() else float(np.log1p(1e-12))
        value, name = _within_equal_bins(statistic, mean, lowest), "log dispersion"
    else:
        sums, mean, variance = _log_moments(counts, size_factors)
        statistic = variance / mean
        value, name = _within_quantiles(statistic, mean), "dispersion"
    return rank_genes(
        np.where(np.isnan(value), -np.inf, np.round(value, _DECIMALS)),
        kept=sums.kept,
        choice=n_top_genes,
        fit=GeneFit(
            mean=expand(mean, sums.kept, 0.0),
            statistic=expand(statistic, sums.kept, np.nan),
            statistic_name=name,
        ),
        notes=sums.notes,
    )


def _moments(
    counts: Counts, size_factors: NDArray[np.floating[Any]] | None
) -> tuple[GeneSums, NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance [kept genes] of the normalized counts, in one pass: the median total only scales them."""
    sums = sum_over_cells(
        counts, lambda x, t: (y := x / t, y * y), method="dispersion", divisors=size_factors
    )
    depth = float(np.median(sums.totals)) if size_factors is None else 1.0
    mean = sums.sums[0] * (depth / sums.n_cells)
    return sums, mean, _variance(sums.sums[1] * depth**2, mean, sums.n_cells)


def _log_moments(
    counts: Counts, size_factors: NDArray[np.floating[Any]] | None
) -> tuple[GeneSums, NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance [kept genes] of the log-normalized values."""
    depth = 1.0
    if size_factors is None:
        depth = float(np.median(sum_over_cells(counts, lambda *_: (), method="dispersion").totals))
    sums = sum_over_cells(
        counts,
        lambda x, t: (y := np.log1p(x * (depth / t)), y * y),
        method="dispersion",
        divisors=size_factors,
    )
    mean = sums.sums[0] / sums.n_cells
    return sums, mean, _variance(sums.sums[1], mean, sums.n_cells)


def _variance(squares: NDArray[np.float64], mean: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    variance: NDArray[np.float64] = np.maximum(0.0, squares / n - mean**2) * (n / max(1, n - 1))
    return variance


def _within_equal_bins(
    value: NDArray[np.float64], mean: NDArray[np.float64], lowest: float
) -> NDArray[np.float64]:
    """Standardise within equal bins of the mean, as scanpy does: a lone gene gets 1; NaN are left out."""
    edges = np.linspace(lowest, mean.max(), _N_BINS + 1)
    bins = _bins(mean, edges)
    known = ~np.isnan(value)
    count = np.bincount(bins[known], minlength=_N_BINS)
    with np.errstate(invalid="ignore", divide="ignore"):
        average = np.bincount(bins[known], weights=value[known], minlength=_N_BINS) / count
        squares = np.bincount(bins[known], weights=np.square(value - average[bins])[known], minlength=_N_BINS)
        deviation = np.sqrt(squares / (count - 1))
        lone = count == 1
        deviation[lone], average[lone] = average[lone], 0.0
        return (value - average[bins]) / deviation[bins]


def _within_quantiles(value: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance from the median, in units of the median distance, between the 10 %, 15 %, ... quantiles of the mean."""
    edges = np.concatenate([[-np.inf], np.percentile(mean, np.arange(10, 105, 5)), [np.inf]])
    if not (np.diff(edges) > 0).all():
        raise ScraeError(
            f"cell_ranger cannot sort these genes into {_N_BINS} bins of like mean: too few have means of their "
            "own. Use another method, for example deviance."
        )
    bins = _bins(mean, edges)
    middle, distance = np.zeros(_N_BINS), np.zeros(_N_BINS)
    for one in np.unique(bins):
        inside = value[bins == one]
        middle[one] = np.median(inside)
        distance[one] = np.median(np.abs(inside - middle[one])) / _NORMAL_MAD
    with np.errstate(invalid="ignore", divide="ignore"):
        return (value - middle[bins]) / distance[bins]


def _bins(mean: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Which bin a mean is in; a bin is open on the left and closed on the right, as those of pandas."""
    return np.clip(np.searchsorted(edges, mean, side="left") - 1, 0, edges.size - 2)
