"""Sums over the cells, from which most selectors compute their statistics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from scrae.errors import ScraeError
from scrae.gene_selection._blocks import Counts, over_blocks, shape_of, split
from scrae.gene_selection._result import quantity

__all__ = ["GeneSums", "are_whole", "check_values", "sum_over_cells"]

Terms: TypeAlias = Callable[
    [NDArray[np.float64], NDArray[np.float64]], tuple[NDArray[np.float64], ...]
]  # (value, its cell's divisor), both [entries] -> terms to sum, each [entries]


@dataclass(frozen=True, kw_only=True)
class GeneSums:
    """Result of one pass over the cells."""

    sums: tuple[NDArray[np.float64], ...]
    """[kept genes] each: the terms, summed over the cells."""
    n_zero: NDArray[np.int64]
    """[kept genes] in how many of the kept cells the gene is zero."""
    totals: NDArray[np.float64]
    """[kept cells] sum over the genes."""
    kept: NDArray[np.bool_]
    """[genes] genes with a value above 0 somewhere."""
    largest: float
    """The largest value."""
    whole: bool
    """Whether all values are whole numbers."""
    notes: tuple[str, ...]
    """What was dropped."""

    @property
    def n_cells(self) -> int:
        """Cells with a value above 0."""
        return self.totals.size


def check_values(values: NDArray[Any], method: str) -> None:
    """Raise ScraeError for NaN, infinite or negative values."""
    if values.size == 0:
        return
    low, high = float(values.min()), float(values.max())  # NaN shows in both
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ScraeError(f"{method} expected finite values, found NaN or infinity: clean the matrix first")
    if low < 0:
        raise ScraeError(
            f"{method} expected values of at least 0, found {low:g}: pass counts, not scaled data"
        )


def are_whole(values: NDArray[Any]) -> bool:
    """Whether all values are whole numbers."""
    return _fractions(values).size == 0


def _fractions(values: NDArray[Any]) -> NDArray[Any]:
    """The values that are not whole numbers."""
    return values[:0] if values.dtype.kind in "biu" else values[values != np.rint(values)]


def sum_over_cells(
    counts: Counts,
    terms: Terms,
    *,
    method: str,
    divisors: NDArray[np.floating[Any]] | None = None,
    raw: bool = True,
) -> GeneSums:
    """Sum terms of every value over the cells, in one pass, block by block.

    Parameters
    ----------
    counts
        [cells, genes]; a matrix or `RowBlocks`. Stored zeros and repeated entries are allowed.
    terms
        Takes (value, divisor of its cell) of the nonzero entries, both float64 [entries], and gives the
        arrays to sum. Zeros contribute nothing.
    method
        Name for error messages.
    divisors
        [cells] what ``terms`` gets as second argument; None: the totals of the cells.
    raw
        Refuse values that are not whole numbers.

    Raises
    ------
    ScraeError
        For another type or shape, for NaN, infinite, negative or (if ``raw``) fractional values, and where
        no count is above 0.
    """
    n_cells, n_genes = shape_of(counts, method)
    if divisors is not None and divisors.shape != (n_cells,):
        raise ScraeError(
            f"{method} expected {n_cells} size factors, one a cell, found shape {divisors.shape}"
        )
    function = partial(_sum_block, terms=terms, method=method, raw=raw)
    detected = np.zeros(n_genes, dtype=np.int64)
    sums: list[NDArray[np.float64]] = []
    totals, largest, whole = [], 0.0, True
    for found in over_blocks(counts, function, *(() if divisors is None else (divisors,)), method=method):
        totals.append(found.totals)
        sums = sums or [np.zeros(n_genes) for _ in found.sums]
        for into, part in zip(sums, found.sums, strict=True):
            into += part
        detected += found.detected
        largest, whole = max(largest, found.largest), whole and found.whole
    if not detected.any():
        raise ScraeError(f"{method} expected counts, found only zeros: {n_cells} cells x {n_genes} genes")
    return _kept_only(sums, detected, np.concatenate(totals), largest, whole)


class _BlockSums(NamedTuple):
    """Sums of one block."""

    sums: list[NDArray[np.float64]]  # [genes] each
    detected: NDArray[np.int64]  # [genes] in how many cells
    totals: NDArray[np.float64]  # [cells]
    largest: float
    whole: bool


def _sum_block(
    block: sparse.csr_matrix[Any],
    divisors: NDArray[np.floating[Any]] | None = None,
    *,
    terms: Terms,
    method: str,
    raw: bool,
) -> _BlockSums:
    n_cells, n_genes = block.shape
    totals = np.zeros(n_cells)
    detected = np.zeros(n_genes, dtype=np.int64)
    sums = [np.zeros(n_genes) for _ in terms(np.empty(0), np.empty(0))]
    stop, largest, whole = 0, 0.0, True
    for part in split(block):
        start, stop = stop, stop + part.shape[0]
        check_values(part.data, method)
        fractions = _fractions(part.data)
        if raw and fractions.size:
            raise ScraeError(
                f"{method} expected raw counts (whole numbers), found {fractions[0]:g}: pass counts, "
                "not log or scaled values"
            )
        whole = whole and not fractions.size
        largest = max(largest, float(part.data.max(initial=0)))
        totals[start:stop] = part @ np.ones(n_genes)
        divisor = totals[start:stop] if divisors is None else divisors[start:stop].astype(np.float64)
        genes = part.indices.astype(np.intp)
        values = terms(part.data.astype(np.float64), np.repeat(divisor, np.diff(part.indptr)))
        for into, value in zip(sums, values, strict=True):
            into += np.bincount(genes, weights=value, minlength=n_genes)
        detected += np.bincount(genes, minlength=n_genes)
    return _BlockSums(sums, detected, totals, largest, whole)


def _kept_only(
    sums: list[NDArray[np.float64]],
    detected: NDArray[np.int64],
    totals: NDArray[np.float64],
    largest: float,
    whole: bool,
) -> GeneSums:
    kept, filled = detected > 0, totals > 0
    notes = []
    if n := int((~filled).sum()):
        notes.append(f"{quantity(n, 'cell')} without counts dropped")
    if n := int((~kept).sum()):
        notes.append(f"{quantity(n, 'gene')} without counts dropped")
    return GeneSums(
        sums=tuple(part[kept] for part in sums),
        n_zero=int(filled.sum()) - detected[kept],
        totals=totals[filled],
        kept=kept,
        largest=largest,
        whole=whole,
        notes=tuple(notes),
    )
