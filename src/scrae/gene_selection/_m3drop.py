"""Michaelis-Menten selection of genes by drop-out (M3Drop; Andrews and Hemberg, Bioinformatics 2019)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr

from scrae.errors import ScraeError
from scrae.gene_selection._blocks import Counts
from scrae.gene_selection._result import (
    Correction,
    GeneFit,
    GeneScores,
    MichaelisMenten,
    adjust,
    expand,
    rank_genes,
)
from scrae.gene_selection._sums import GeneSums, sum_over_cells

__all__ = ["m3drop"]

# log2(1e6 + 1) is 19.9: no logarithm of counts per million is larger.
_LARGEST_LOG = 20.0


def m3drop(
    counts: Counts,
    *,
    n_top_genes: int | None = None,
    alpha: float = 0.05,
    correction: Correction = "bonferroni",
    normalize: bool = True,
) -> GeneScores:
    """Genes with more zeros than a Michaelis-Menten curve expects at their mean.

    The drop-out rate of a gene of mean s is modeled as K / (K + s), with one K for all genes. A gene that
    only some kinds of cells express has more zeros than that. Its own K is tested against the common one,
    one-sided, by a normal test of the logarithms.

    Parameters
    ----------
    counts
        [cells, genes] raw counts; a sparse or dense matrix or `RowBlocks`, read once.
    n_top_genes
        How many genes to select: those of smallest p-value, ties by K of the gene over K. None: all genes
        whose adjusted p-value is below ``alpha``.
    alpha
        Threshold on the adjusted p-value; not used with ``n_top_genes``.
    correction
        "bonferroni" as in the R package, or "fdr" (Benjamini and Hochberg).
    normalize
        Divide every cell by its total over the median total. False: the values are depth-normalized already
        (for example TPM), and not logged.

    Returns
    -------
    GeneScores
        ``score`` is -log10 of the p-value; ``fit`` has the mean normalized count, the drop-out rate, the
        curve and `MichaelisMenten`.

    Raises
    ------
    ScraeError
        For log values, fractions (unless ``normalize`` is False), negative, NaN or infinite values, and where
        no gene is zero in some cells and not in others.

    Notes
    -----
    Equals M3Drop 3.10.6 up to its optimizer: R stops slightly off the least-squares K (relative 3e-5).
    """
    if normalize:
        sums = sum_over_cells(counts, lambda x, t: (y := x / t, y * y), method="m3drop")
        depth = float(np.median(sums.totals))
    else:
        sums = sum_over_cells(counts, lambda x, _: (x, x * x), method="m3drop", raw=False)
        depth = 1.0
        if not sums.whole and sums.largest <= _LARGEST_LOG:
            raise ScraeError(
                f"m3drop expected values that are not logged, found fractions of at most {sums.largest:g}: "
                "pass raw counts, or depth-normalized values before the logarithm"
            )
    n = sums.n_cells
    mean = sums.sums[0] * (depth / n)
    mean_error = np.sqrt(np.maximum(0.0, sums.sums[1] * (depth**2 / n) - mean**2) / n)
    dropout = sums.n_zero / n
    curve = _fit(dropout, mean)
    p_value, effect = _test(dropout, mean, mean_error, n, curve.K)
    choice = adjust(p_value, correction) < alpha if n_top_genes is None else n_top_genes
    return rank_genes(
        -np.log10(np.maximum(p_value, 5e-324)) + 0.0,
        ties=[effect],
        kept=sums.kept,
        choice=choice,
        p_value=p_value,
        fit=_fit_of(sums, dropout, mean, curve),
        notes=sums.notes,
    )


def _fit(dropout: NDArray[np.float64], mean: NDArray[np.float64]) -> MichaelisMenten:
    """Least squares of the drop-out rates over ln K: a grid finds the valley, a root its bottom."""

    def slope(log_k: float) -> float:  # half the derivative of the sum of squares
        expected = 1 / (1 + mean * np.exp(-log_k))
        return float(((expected - dropout) * expected * (1 - expected)).sum())

    grid = np.arange(np.log(mean.min()) - 7, np.log(mean.max()) + 7, 0.1)
    squares = [float(np.square(1 / (1 + mean * np.exp(-log_k)) - dropout).sum()) for log_k in grid]
    best = int(np.argmin(squares))
    if not ((dropout > 0).any() and 0 < best < grid.size - 1):
        raise ScraeError(
            "m3drop expected genes that are zero in some cells and not in others, found no such curve: "
            "pass counts with their zeros, of all genes"
        )
    k = float(np.exp(brentq(slope, grid[best - 1], grid[best + 1], xtol=1e-13, rtol=1e-14)))
    return MichaelisMenten(K=k, sigma=float(np.sqrt(np.square(k / (k + mean) - dropout).mean())))


def _test(
    dropout: NDArray[np.float64], mean: NDArray[np.float64], mean_error: NDArray[np.float64], n: int, k: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """P-value of "no more zeros than the curve", and K of the gene over K. All arrays are [genes]."""
    error = np.sqrt(dropout * (1 - dropout) / n)
    always = dropout == 0
    rate = np.where(always, dropout[~always].min() / 2, dropout)
    own_k = rate * mean / (1 - rate)
    own_error = own_k * np.hypot(mean_error / mean, error / rate)
    distance = np.log(own_k / k)
    # How far down one standard error reaches, in logs; where it reaches below 0 the gene says nothing.
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = np.where(own_k > own_error, -np.log1p(-own_error / own_k), 1e10)
    common = distance.std(ddof=1) / np.sqrt(distance.size) if distance.size > 1 else 0.0
    p_value = ndtr(-distance / np.hypot(reach, common))
    return np.where(always, 1.0, p_value), own_k / k


def _fit_of(
    sums: GeneSums, dropout: NDArray[np.float64], mean: NDArray[np.float64], curve: MichaelisMenten
) -> GeneFit:
    return GeneFit(
        mean=expand(mean, sums.kept, 0.0),
        statistic=expand(dropout, sums.kept, np.nan),
        statistic_name="drop-out rate",
        expected=expand(curve.K / (curve.K + mean), sums.kept, np.nan),
        parameters=curve,
    )
