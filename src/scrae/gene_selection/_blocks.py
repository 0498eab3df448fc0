"""Counts as blocks of cells: one way in for matrices in memory and for files that do not fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from scrae.errors import ScraeError
from scrae.gene_selection._result import counted

__all__ = ["Counts", "GeneSums", "Matrix", "RowBlocks", "check_values", "sum_over_cells"]

# Entries handled at a time: the temporary arrays of 1 MB each stay in the cache.
_BLOCK_ENTRIES = 2**17


@runtime_checkable
class RowBlocks(Protocol):
    """A count matrix that is read some cells at a time. Each ``iter`` starts again at the first cell."""

    @property
    def shape(self) -> tuple[int, int]:
        """(cells, genes)."""
        ...

    def __iter__(self) -> Iterator[sparse.csr_matrix[Any]]:
        """Blocks [some cells, genes] in the order of the cells."""
        ...


if TYPE_CHECKING:
    Matrix: TypeAlias = (
        sparse.csr_matrix[Any]
        | sparse.csr_array[Any]
        | sparse.csc_matrix[Any]
        | sparse.csc_array[Any]
        | NDArray[Any]
    )
else:  # in older SciPy the classes take no parameters while a program runs
    Matrix = sparse.csr_matrix | sparse.csr_array | sparse.csc_matrix | sparse.csc_array | np.ndarray
Counts: TypeAlias = Matrix | RowBlocks

Terms: TypeAlias = Callable[
    [NDArray[np.float64], NDArray[np.float64]], tuple[NDArray[np.float64], ...]
]  # (value, its cell's divisor), both [entries] -> terms to sum, each [entries]


@dataclass(frozen=True, kw_only=True)
class GeneSums:
    """What one pass over the cells leaves behind."""

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
    """Refuse values that no method can read: NaN, infinite or negative ones."""
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
    """Those of the values that are no whole numbers."""
    return values[:0] if values.dtype.kind in "biu" else values[values != np.rint(values)]


def _check_extent(stop: int, width: int, n_cells: int, n_genes: int, method: str) -> None:
    if stop > n_cells or width != n_genes:
        raise ScraeError(
            f"{method} expected row blocks of {n_cells} cells x {n_genes} genes in all, found {width} genes "
            f"and {stop} cells so far: correct the shape of the row blocks"
        )


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
    n_cells, n_genes = _shape(counts, method)
    if divisors is not None and divisors.shape != (n_cells,):
        raise ScraeError(
            f"{method} expected {n_cells} size factors, one a cell, found shape {divisors.shape}"
        )
    totals = np.zeros(n_cells)
    detected = np.zeros(n_genes, dtype=np.int64)
    sums: list[NDArray[np.float64]] = []
    stop, largest, whole = 0, 0.0, True
    for block in _blocks(counts, method):
        start, stop = stop, stop + block.shape[0]
        _check_extent(stop, block.shape[1], n_cells, n_genes, method)
        check_values(block.data, method)
        fractions = _fractions(block.data)
        if raw and fractions.size:
            raise ScraeError(
                f"{method} expected raw counts (whole numbers), found {fractions[0]:g}: pass counts, "
                "not log or scaled values"
            )
        whole = whole and not fractions.size
        largest = max(largest, float(block.data.max(initial=0)))
        totals[start:stop] = block @ np.ones(n_genes)
        divisor = totals[start:stop] if divisors is None else divisors[start:stop].astype(np.float64)
        genes = block.indices.astype(np.intp)
        parts = terms(block.data.astype(np.float64), np.repeat(divisor, np.diff(block.indptr)))
        sums = sums or [np.zeros(n_genes) for _ in parts]
        for into, part in zip(sums, parts, strict=True):
            into += np.bincount(genes, weights=part, minlength=n_genes)
        detected += np.bincount(genes, minlength=n_genes)
    if stop != n_cells:
        raise ScraeError(
            f"{method} expected {n_cells} cells in the row blocks, found {stop}: correct their shape"
        )
    if not detected.any():
        raise ScraeError(f"{method} expected counts, found only zeros: {n_cells} cells x {n_genes} genes")
    return _kept_only(sums, detected, totals, largest, whole)


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
        notes.append(f"{counted(n, 'cell')} without counts dropped")
    if n := int((~kept).sum()):
        notes.append(f"{counted(n, 'gene')} without counts dropped")
    return GeneSums(
        sums=tuple(part[kept] for part in sums),
        n_zero=int(filled.sum()) - detected[kept],
        totals=totals[filled],
        kept=kept,
        largest=largest,
        whole=whole,
        notes=tuple(notes),
    )


def _shape(counts: Counts, method: str) -> tuple[int, int]:
    known = sparse.issparse(counts) or isinstance(counts, np.ndarray | RowBlocks)
    shape = tuple(counts.shape) if known else ()
    if len(shape) != 2:
        raise ScraeError(
            f"{method} expected a sparse or dense matrix or row blocks, cells x genes, found "
            f"{type(counts).__name__} of shape {shape}: pass such a matrix"
        )
    return int(shape[0]), int(shape[1])


def _blocks(counts: Counts, method: str) -> Iterator[sparse.csr_matrix[Any]]:
    """Canonical blocks of bounded size, without copying what is csr already."""
    if isinstance(counts, np.ndarray):
        step = max(1, _BLOCK_ENTRIES // max(1, counts.shape[1]))
        for start in range(0, counts.shape[0], step):
            yield sparse.csr_matrix(counts[start : start + step])
        return
    parts: Iterable[Any] = [counts] if sparse.issparse(counts) else counts
    for part in parts:
        known: bool = sparse.issparse(part)
        if not known:
            raise ScraeError(
                f"{method} expected sparse row blocks, found {type(part).__name__}: yield csr blocks"
            )
        yield from _split(sparse.csr_matrix(part))


def _split(matrix: sparse.csr_matrix[Any]) -> Iterator[sparse.csr_matrix[Any]]:
    indptr = matrix.indptr
    start = 0
    while start < matrix.shape[0]:
        stop = int(np.searchsorted(indptr, indptr[start] + _BLOCK_ENTRIES, side="right")) - 1
        stop = min(max(stop, start + 1), matrix.shape[0])
        part = slice(indptr[start], indptr[stop])
        block = sparse.csr_matrix(
            (matrix.data[part], matrix.indices[part], indptr[start : stop + 1] - indptr[start]),
            shape=(stop - start, matrix.shape[1]),
        )
        if not block.has_canonical_format or not block.data.all():
            block = block.copy()
            block.sum_duplicates()
            block.eliminate_zeros()
        yield block
        start = stop
