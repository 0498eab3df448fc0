"""Variance against a curve over the mean (Stuart et al., Cell 2019), from sums over cells."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from scrae.errors import ScraeWarning
from scrae.gene_selection._blocks import Counts, over_blocks, split
from scrae.gene_selection._deviance import deviance
from scrae.gene_selection._result import GeneFit, GeneScores, expand, rank_genes
from scrae.gene_selection._sums import GeneSums, sum_over_cells

__all__ = ["seurat_v3"]

_SPANS = (0.3, 0.5, 0.75, 1.0)  # the first is the authors'; a wider one smooths over more genes of like mean


def seurat_v3(counts: Counts, *, n_top_genes: int) -> GeneScores:
    """Genes whose counts vary more than those of genes of like mean.

    Equals ``scanpy.pp.highly_variable_genes(flavor="seurat_v3")``, but reads the counts in blocks. The sums are of
    whole numbers, so the blocks do not change a bit of the result.

    The curve, a loess of the logarithms, cannot be fitted where many genes have the same mean and variance, as in
    shallow or few cells. A wider span is then taken; where none helps, the genes are ranked by deviance.

    Parameters
    ----------
    counts
        [cells, genes] raw counts; a sparse or dense matrix or `RowBlocks`, read twice.
    n_top_genes
        How many genes to select.

    Returns
    -------
    GeneScores
        ``score`` is the variance of the counts over the curve's, each count being clipped at the mean plus
        √cells of the curve's standard deviations (-inf where the curve says nothing); ``fit`` has the mean count
        and the score.

    Raises
    ------
    ScraeError
        For fractions, negative, NaN or infinite values, and for ``n_top_genes`` below 1.

    Warns
    -----
    ScraeWarning
        A span wider than 0.3 was needed, or deviance.
    """
    sums = sum_over_cells(counts, lambda x, _: (x, x * x), method="seurat_v3")
    total, squares = sums.sums
    mean = total / sums.n_cells
    variance = np.maximum(squares - total * mean, 0.0) / max(1, sums.n_cells - 1)
    curve, remark = _curve(mean, variance)
    if curve is None:
        result = deviance(counts, n_top_genes=n_top_genes)
        return replace(result, notes=(*result.notes, *remark))
    value = _standardized(counts, sums, mean, np.sqrt(curve))
    return rank_genes(
        np.where(np.isnan(value), -np.inf, value),
        kept=sums.kept,
        choice=n_top_genes,
        fit=GeneFit(
            mean=expand(mean, sums.kept, 0.0),
            statistic=expand(value, sums.kept, np.nan),
            statistic_name="normalized variance",
        ),
        notes=[*sums.notes, *remark],
    )


def _curve(
    mean: NDArray[np.float64], variance: NDArray[np.float64]
) -> tuple[NDArray[np.float64] | None, list[str]]:
    """Return the variance that a gene of this mean has [genes], 1 for genes that do not vary; None: no fit.

    And what was taken instead, in words.
    """
    from skmisc.loess import loess

    varying = variance > 0
    enough = int(_SPANS[0] * varying.sum()) >= 1  # without a gene in its span the loess crashes the process
    problem = "" if enough else f"{int(varying.sum())} genes vary"
    for span in _SPANS if enough else ():
        try:
            model = loess(np.log10(mean[varying]), np.log10(variance[varying]), span=span, degree=2)
            model.fit()
        except ValueError as error:  # scikit-misc hands on what its Fortran says
            problem = problem or " ".join(str(error).removeprefix("b").strip("'\". ").split())
            continue
        fitted = np.zeros(mean.size)
        fitted[varying] = model.outputs.fitted_values
        return 10**fitted, [] if span == _SPANS[0] else [_instead(problem, f"span {span}")]
    return None, [_instead(problem, "deviance")]


def _instead(problem: str, what: str) -> str:
    """Warn that seurat_v3 fell back to something else; return the same sentence for the notes."""
    said = f"the loess curve of seurat_v3 failed at span {_SPANS[0]} ({problem}), so {what} was used instead"
    warnings.warn(
        f"Gene selection: {said}; check the counts, or choose another method.", ScraeWarning, stacklevel=4
    )
    return said


def _standardized(
    counts: Counts, sums: GeneSums, mean: NDArray[np.float64], deviation: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the variance of the clipped counts over that of the curve [kept genes]; reads the counts once more."""
    n, n_genes = sums.n_cells, sums.kept.size
    limit = deviation * np.sqrt(n) + mean
    limit_of_gene = expand(limit, sums.kept, np.inf)
    above = np.zeros((3, n_genes))
    for part in over_blocks(counts, partial(_above, limit=limit_of_gene), method="seurat_v3"):
        above += part
    number, high_sum, high_squares = above[:, sums.kept]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):  # where the curve is not finite
        total = sums.sums[0] - high_sum + number * limit
        squares = sums.sums[1] - high_squares + number * limit**2
        value = (n * mean**2 + squares - 2 * total * mean) / ((n - 1) * deviation**2)
    return np.asarray(value)


def _above(block: sparse.csr_matrix[Any], *, limit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Number, sum and sum of squares of the counts above the limit of their gene [3, genes]."""
    above = np.zeros((3, limit.size))
    for part in split(block):
        high = part.data > limit[part.indices]
        value, gene = part.data[high].astype(np.float64), part.indices[high].astype(np.intp)
        for into, power in zip(above, (value**0, value, value**2), strict=True):
            into += np.bincount(gene, weights=power, minlength=limit.size)
    return above
