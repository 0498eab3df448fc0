"""Binomial deviance of every gene (Townes, Hicks, Aryee and Irizarry, Genome Biology 2019)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlog1py, xlogy

from scrae.gene_selection._blocks import Counts
from scrae.gene_selection._result import GeneFit, GeneScores, expand, rank_genes
from scrae.gene_selection._sums import sum_over_cells

__all__ = ["deviance"]


def deviance(counts: Counts, *, n_top_genes: int) -> GeneScores:
    """Genes whose counts a constant share of every cell's total explains worst.

    Parameters
    ----------
    counts
        [cells, genes] raw counts; a sparse or dense matrix or `RowBlocks`, read once.
    n_top_genes
        How many genes to select; the method has no test.

    Returns
    -------
    GeneScores
        ``score`` is the binomial deviance of the gene; ``fit`` has the mean count and the deviance.

    Raises
    ------
    ScraeError
        For fractions, negative, NaN or infinite values, and for ``n_top_genes`` below 1.

    Notes
    -----
    With x of a cell of total T and the gene's share of all counts q, the deviance is twice the sum over cells of
    x ln(x / (T q)) + (T - x) ln((T - x) / (T (1 - q))). What depends on the cell vanishes where x = 0.
    """
    sums = sum_over_cells(counts, _saturated, method="deviance")
    gene, saturated = sums.sums
    total = sums.totals.sum()
    share = gene / total
    value = np.maximum(0.0, 2 * (saturated - xlogy(gene, share) - xlog1py(total - gene, -share)))
    return rank_genes(
        value,
        kept=sums.kept,
        choice=n_top_genes,
        fit=GeneFit(
            mean=expand(gene / sums.n_cells, sums.kept, 0.0),
            statistic=expand(value, sums.kept, np.nan),
            statistic_name="binomial deviance",
        ),
        notes=sums.notes,
    )


def _saturated(x: NDArray[np.float64], total: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """The count, and the log likelihood of a cell that has a share of its own (without the binomial coefficient)."""
    share = x / total
    return x, x * np.log(share) + xlog1py(total - x, -share)
