"""Counts of a file or a dask array, read in blocks of cells."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import DTypeLike, NDArray
from scipy import sparse

from scrae.errors import ScraeError, ScraeWarning
from scrae.io.check import ROUNDED, from_dense, from_sparse
from scrae.io.lazy import computed, in_blocks, is_dask
from scrae.io.read_errors import reading

__all__ = ["CountBlocks", "gathered"]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class CountBlocks:
    """Row blocks of a count matrix in an h5ad or zarr file, or of a dask array, for `scrae.gene_selection`.

    Iterating reads all of it once more, and yields checked counts: csr_matrix of integers [some cells, genes].

    Attributes
    ----------
    matrix
        [all cells, all genes] of the file: the ``X`` of a backed AnnData or of `open_backed`, that is anndata's
        sparse dataset by rows, or a dense ``h5py.Dataset`` or ``zarr.Array``. Or a dask array, whose chunks are
        blocks: all genes of some cells, sparse or dense.
    rows
        How many cells of a file are read at a time.
    cells, genes
        Which of them to yield, as masks [all cells] and [all genes]; None: all.
    cell_names, gene_names
        Names of all cells and genes to use in a message; None: they are numbered from 0.

    Raises
    ------
    ScraeError
        The matrix is stored or cut by columns, or is in memory. While iterating: it is damaged or holds a value that
        is no count; the message names the first such cell, gene and value.
    """

    matrix: Any
    rows: int = 1000
    cells: NDArray[np.bool_] | None = None
    genes: NDArray[np.bool_] | None = None
    cell_names: Sequence[str] | pd.Index | None = None
    gene_names: Sequence[str] | pd.Index | None = None

    def __post_init__(self) -> None:
        if not in_blocks(self.matrix):
            raise ScraeError(
                f"expected a matrix in an h5ad or zarr file, found a {type(self.matrix).__name__}: a matrix in memory "
                "needs no row blocks"
            )
        if getattr(self.matrix, "format", "csr") != "csr":
            raise ScraeError(
                f"{self._where} is stored by columns (csc) and cannot be read by rows. Read the whole file, or "
                "store it by rows: adata.X = adata.X.tocsr()."
            )
        if is_dask(self.matrix) and self.matrix.numblocks[1] != 1:
            raise ScraeError(
                f"{self._where}: expected chunks of whole cells, found {self.matrix.numblocks[1]} chunks of columns; a "
                "matrix by rows or dense is cut anew by array.rechunk({1: -1}), and one by columns (csc) has to be "
                "written by rows (csr)"
            )
        if self.rows < 1:
            raise ScraeError(f"rows: expected at least 1 cell at a time, found {self.rows}")

    @property
    def shape(self) -> tuple[int, int]:
        """(cells, genes) that are yielded."""
        n_cells, n_genes = self.matrix.shape
        return (
            int(n_cells if self.cells is None else self.cells.sum()),
            int(n_genes if self.genes is None else self.genes.sum()),
        )

    def only(
        self, *, cells: NDArray[np.bool_] | None = None, genes: NDArray[np.bool_] | None = None
    ) -> CountBlocks:
        """Return the same with a part of what is yielded now: masks [cells] and [genes]; None: all."""
        n_cells, n_genes = self.matrix.shape
        return replace(self, cells=_part(self.cells, cells, n_cells), genes=_part(self.genes, genes, n_genes))

    def __iter__(self) -> Iterator[sparse.csr_matrix]:
        """Blocks in the order of the cells."""
        return self.map(_same)

    def map(self, function: Callable[..., T], *of_cells: NDArray[Any]) -> Iterator[T]:
        """Yield function(block, its part of each array [cells]) of every block, in the order of the cells.

        Those of a dask array are made by its workers, so what goes in and comes out has to travel.
        """
        on_block = partial(
            _on_block, function=function, genes=self.genes, gene_names=self.gene_names, where=self._where
        )
        if is_dask(self.matrix):
            yield from computed(on_block, self._stored(of_cells))
        else:
            for block in self._stored(of_cells):
                yield on_block(*block)

    def _stored(self, of_cells: tuple[NDArray[Any], ...]) -> Iterator[tuple[Any, ...]]:
        """Each block as it is stored, which of its cells are meant, their names, and their parts of the arrays."""
        end = 0
        for start, stop, rows in self._delayed() if is_dask(self.matrix) else self._read():
            names = range(start, stop) if self.cell_names is None else self.cell_names[start:stop]
            kept = None if self.cells is None else self.cells[start:stop]
            begin, end = end, end + int(stop - start if kept is None else kept.sum())
            yield rows, kept, names, *(array[begin:end] for array in of_cells)

    def _delayed(self) -> Iterator[tuple[int, int, Any]]:
        """First cell, the end, and the rows of each chunk of a dask array, which are not made yet."""
        stop = 0
        for rows, length in zip(self.matrix.to_delayed().ravel(), self.matrix.chunks[0], strict=True):
            start, stop = stop, stop + length
            yield start, stop, rows

    def _read(self) -> Iterator[tuple[int, int, Any]]:
        """First cell, the end, and the rows of each block of a file."""
        n_cells = self.matrix.shape[0]
        indptr = self._starts() if hasattr(self.matrix, "group") else None
        for start in range(0, n_cells, self.rows):
            stop = min(start + self.rows, n_cells)
            if indptr is not None:
                yield start, stop, self._rows(indptr[start : stop + 1])
                continue
            with reading(Path(self._where), "numbers"):
                dense = np.asarray(self.matrix[start:stop])
            yield start, stop, dense

    def gather(self, scratch: Path | None = None) -> sparse.csr_matrix:
        """Return all blocks as one matrix, csr_matrix of int32 [cells, genes].

        `scratch` is a folder for unnamed files that hold it in place of the memory; None: it is in memory.
        """
        lengths: list[NDArray[np.int32]] = []

        def parts() -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
            for block in self:
                lengths.append(np.diff(block.indptr))
                yield block.data, block.indices

        data, indices = gathered(parts(), (np.int32, np.int32), scratch)
        ends = np.concatenate([[0], np.cumsum(np.concatenate(lengths), dtype=np.int64)])
        return sparse.csr_matrix((data, indices, ends), shape=self.shape)

    def _starts(self) -> NDArray[np.int64]:
        """Where the entries of each cell begin, and the end [cells + 1]; the one thing read as a whole."""
        group = self.matrix.group
        with reading(Path(self._where), "a sparse matrix"):
            indptr = np.asarray(group["indptr"][:], dtype=np.int64)
            stored = {group[name].shape for name in ("data", "indices")}
        whole = indptr.size == self.matrix.shape[0] + 1 and indptr[0] == 0 and (np.diff(indptr) >= 0).all()
        if not whole or stored != {(int(indptr[-1]),)}:
            raise ScraeError(f"{self._where} is a broken sparse matrix. Write the file again.")
        return indptr

    def _rows(self, indptr: NDArray[np.int64]) -> sparse.csr_matrix:
        entries, group = slice(int(indptr[0]), int(indptr[-1])), self.matrix.group
        with reading(Path(self._where), "a sparse matrix"):
            data, indices = group["data"][entries], group["indices"][entries]
        rows = sparse.csr_matrix((indptr.size - 1, self.matrix.shape[1]), dtype=data.dtype)
        rows.data, rows.indices, rows.indptr = data, indices, indptr - indptr[0]  # checked by the caller
        return rows

    @property
    def _where(self) -> str:
        """File and place, for messages."""
        if is_dask(self.matrix):
            return "the dask array"
        stored = getattr(self.matrix, "group", self.matrix)
        if hasattr(stored, "file"):
            file = stored.file.filename
        else:  # a zarr store says where it is by its root, before zarr 3 by its path
            file = getattr(stored.store, "root", getattr(stored.store, "path", stored.store))
        return f"{file}: {stored.name.strip('/')}"


def _on_block(
    stored: Any,
    cells: NDArray[np.bool_] | None,
    cell_names: Sequence[str] | Sequence[int] | pd.Index,
    *of_cells: NDArray[Any],
    function: Callable[..., T],
    genes: NDArray[np.bool_] | None,
    gene_names: Sequence[str] | pd.Index | None,
    where: str,
) -> T:
    """Check a block, take the cells and genes that are meant, and call the function."""
    names = (cell_names, gene_names)
    if sparse.issparse(stored):
        counts, rounded = from_sparse(stored, where, names)
    elif isinstance(stored, np.ndarray):
        counts, rounded = from_dense(stored, where, names)
    else:
        raise ScraeError(
            f"{where}: expected blocks that are SciPy sparse matrices or NumPy arrays, found a "
            f"{type(stored).__name__}; convert them with array.map_blocks"
        )
    if rounded:
        warnings.warn(f"{where}: {ROUNDED}", ScraeWarning, stacklevel=2)
    counts = counts if cells is None else counts[cells]
    return function(counts if genes is None else counts[:, genes], *of_cells)


def _same(block: sparse.csr_matrix) -> sparse.csr_matrix:
    return block


def _part(known: NDArray[np.bool_] | None, part: NDArray[np.bool_] | None, length: int) -> Any:
    """Both masks as one over all `length`; `part` is over what `known` leaves."""
    if part is None or known is None:
        return known if part is None else part
    mask = np.zeros(length, dtype=np.bool_)
    mask[np.flatnonzero(known)[part]] = True
    return mask


def gathered(
    parts: Iterator[tuple[NDArray[Any], ...]], dtypes: tuple[DTypeLike, ...], folder: Path | None
) -> list[NDArray[Any]]:
    """Return the arrays of all parts, one after the other, a long one for each dtype.

    Parameters
    ----------
    parts
        Arrays [n] of these dtypes.
    folder
        Where the long arrays are put on the disk and mapped; the system reads what is used and keeps what fits. The
        files have no name, and are gone when the arrays are. None: they are in memory.

    Raises
    ------
    ScraeError
        The folder cannot be written, or the disk is full.
    """
    if folder is None:
        return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
    try:
        with ExitStack() as stack:
            files = [stack.enter_context(tempfile.TemporaryFile(dir=folder)) for _ in dtypes]
            for arrays in parts:
                for file, array, dtype in zip(files, arrays, dtypes, strict=True):
                    file.write(np.ascontiguousarray(array, dtype=dtype).data)
            return [_mapped(file, dtype) for file, dtype in zip(files, dtypes, strict=True)]
    except OSError as error:
        reason = error.strerror or str(error)
        raise ScraeError(f"{os.fspath(folder)}: scratch files could not be written: {reason}.") from error


def _mapped(file: Any, dtype: DTypeLike) -> NDArray[Any]:
    file.flush()
    size = file.tell()
    return np.memmap(file, dtype=dtype, mode="r+") if size else np.empty(0, dtype=dtype)
