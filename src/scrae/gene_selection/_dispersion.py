"""Seurat's dispersion, as scanpy's flavour of that name, from sums over cells."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scrae.errors import ScraeError
from scrae.gene_selection._blocks import Counts, sum_over_cells
from scrae.gene_selection._result import GeneFit, GeneScores, scores_of, spread

__all__ = ["dispersion"]

_N_BINS = 20


def dispersion(
    counts: Counts, *, n_top_genes: int, size_factors: NDArray[np.floating[Any]] | None = None
) -> GeneScores:
    """Seurat's dispersion: variance over mean, compared with genes of like mean.

    Equals ``scanpy.pp.highly_variable_genes(flavor="seurat")`` on log1p(counts / size factor), but reads the
    raw counts once and builds no normalised matrix: the flavour takes the logarithm back before it looks.

    Parameters
    ----------
    counts
        [cells, genes] raw counts; a sparse or dense matrix or `RowBlocks`, read once.
    n_top_genes
        How many genes to select.
    size_factors
        [cells] what the counts of a cell are divided by; None: its total over the median total.

    Returns
    -------
    GeneScores
        ``score`` is the normalised dispersion (-inf for genes that do not vary); ``fit`` has log1p of the
        mean normalised count and the logarithm of the dispersion.

    Raises
    ------
    ScraeError
        For fractions, negative, NaN or infinite values, for size factors that are not positive numbers, and
        for ``n_top_genes`` below 1.
    """
    if size_factors is not None and not (np.isfinite(size_factors) & (size_factors > 0)).all():
        raise ScraeError(
            "dispersion expected positive size factors, found 0, negative or NaN ones: drop such cells"
        )
    sums = sum_over_cells(
        counts, lambda x, t: (y := x / t, y * y), method="dispersion", divisors=size_factors
    )
    n = sums.n_cells
    depth = float(np.median(sums.totals)) if size_factors is None else 1.0
    mean = sums.sums[0] * (depth / n)
    variance = np.maximum(0.0, sums.sums[1] * (depth**2 / n) - mean**2) * (n / max(1, n - 1))
    with np.errstate(divide="ignore"):
        log_dispersion = np.log(variance / mean)
    log_dispersion[np.isneginf(log_dispersion)] = np.nan
    log_mean = np.log1p(mean)
    lowest = float(log_mean.min()) if sums.kept.all() else float(np.log1p(1e-12))
    value = _within_bins(log_dispersion, log_mean, lowest)
    return scores_of(
        np.where(np.isnan(value), -np.inf, value),
        kept=sums.kept,
        choice=n_top_genes,
        fit=GeneFit(
            mean=spread(log_mean, sums.kept, 0.0),
            statistic=spread(log_dispersion, sums.kept, np.nan),
            statistic_name="log dispersion",
        ),
        notes=sums.notes,
    )


def _within_bins(value: NDArray[np.float64], mean: NDArray[np.float64], lowest: float) -> NDArray[np.float64]:
    """Standardise within equal bins of the mean, as scanpy does: a lone gene gets 1; NaN are left out."""
    edges = np.linspace(lowest, mean.max(), _N_BINS + 1)
    bins = np.clip(
        np.searchsorted(edges, mean, side="left") - 1, 0, _N_BINS - 1
    )  # (left, right], as pandas.cut
    known = ~np.isnan(value)
    count = np.bincount(bins[known], minlength=_N_BINS)
    with np.errstate(invalid="ignore", divide="ignore"):
        average = np.bincount(bins[known], weights=value[known], minlength=_N_BINS) / count
        squares = np.bincount(bins[known], weights=np.square(value - average[bins])[known], minlength=_N_BINS)
        deviation = np.sqrt(squares / (count - 1))
        lone = count == 1
        deviation[lone], average[lone] = average[lone], 0.0
        return (value - average[bins]) / deviation[bins]
