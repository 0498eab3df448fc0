"""Counts as blocks of cells: one way in for matrices in memory and for files that do not fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, TypeAlias, runtime_checkable

from numpy.typing import NDArray
from scipy import sparse

__all__ = ["Counts", "Matrix", "RowBlocks"]


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


Matrix: TypeAlias = (
    sparse.csr_matrix[Any] | sparse.csr_array[Any] | sparse.csc_matrix[Any] | sparse.csc_array[Any] | NDArray[Any]
)
Counts: TypeAlias = Matrix | RowBlocks
