"""Counts as blocks of cells, for matrices in memory and files larger than memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from scrae.errors import ScraeError

__all__ = [
    "Counts",
    "Matrix",
    "RowBlocks",
    "map_blocks",
    "over_blocks",
    "shape_of",
    "split",
]

T = TypeVar("T")

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


@runtime_checkable
class _Mapped(Protocol):
    """Row blocks that may be on other machines, so that functions go to them."""

    def map(self, function: Callable[..., T], *of_cells: NDArray[Any]) -> Iterator[T]:
        """Do as `map_blocks`."""
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


def shape_of(counts: Counts, method: str) -> tuple[int, int]:
    known = sparse.issparse(counts) or isinstance(counts, np.ndarray | RowBlocks)
    shape = tuple(counts.shape) if known else ()
    if len(shape) != 2:
        raise ScraeError(
            f"{method} expected a sparse or dense matrix or row blocks, cells x genes, found "
            f"{type(counts).__name__} of shape {shape}: pass such a matrix"
        )
    return int(shape[0]), int(shape[1])


def map_blocks(
    blocks: Iterable[sparse.csr_matrix[Any]], function: Callable[..., T], *of_cells: NDArray[Any]
) -> Iterator[T]:
    """Yield function(block, its part of each array) of every block, in order, made where the block is.

    Parameters
    ----------
    blocks
        csr_matrix [some cells, genes] each; those of a dask array are on its workers.
    function
        One that can be sent there: of a module, a lambda, or a `partial` of one.
    of_cells
        [cells] each.
    """
    if isinstance(blocks, _Mapped):
        yield from blocks.map(function, *of_cells)
        return
    stop = 0
    for block in blocks:
        start, stop = stop, stop + block.shape[0]
        yield function(block, *(array[start:stop] for array in of_cells))


def over_blocks(
    counts: Counts, function: Callable[..., T], *of_cells: NDArray[Any], method: str
) -> Iterator[T]:
    """`map_blocks` over a matrix or `RowBlocks`, whose form is checked; `method` is a name for messages."""
    return map_blocks(counts if isinstance(counts, _Mapped) else _blocks(counts, method), function, *of_cells)


def _blocks(counts: Counts, method: str) -> Iterator[sparse.csr_matrix[Any]]:
    """Blocks that are csr; one of a sparse matrix, which is not copied if it is csr already."""
    if isinstance(counts, np.ndarray):
        step = max(1, _BLOCK_ENTRIES // max(1, counts.shape[1]))
        for start in range(0, counts.shape[0], step):
            yield sparse.csr_matrix(counts[start : start + step])
        return
    (n_cells, n_genes), stop = counts.shape, 0
    parts: Iterable[Any] = [counts] if sparse.issparse(counts) else counts
    for part in parts:
        known: bool = sparse.issparse(part)
        if not known:
            raise ScraeError(
                f"{method} expected sparse row blocks, found {type(part).__name__}: yield csr blocks"
            )
        stop += part.shape[0]
        if stop > n_cells or part.shape[1] != n_genes:
            raise ScraeError(
                f"{method} expected row blocks of {n_cells} cells x {n_genes} genes in all, found {part.shape[1]} "
                f"genes and {stop} cells so far: correct the shape of the row blocks"
            )
        yield sparse.csr_matrix(part)
    if stop != n_cells:
        raise ScraeError(
            f"{method} expected {n_cells} cells in the row blocks, found {stop}: correct their shape"
        )


def split(matrix: sparse.csr_matrix[Any]) -> Iterator[sparse.csr_matrix[Any]]:
    """Canonical parts of bounded size, without copying what is canonical already."""
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
