"""Counts that stay in their file and are read some cells at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import zarr
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from scrae.errors import ScraeError
from scrae.io.check import _from_dense, _from_sparse
from scrae.io.foreign import reading
from scrae.io.hdf5 import _refuse_missing_chunks, _refuse_pickles
from scrae.io.names import clean_names, note, some
from scrae.io.scratch import gathered
from scrae.io.slots import _IN_ORDER, _refuse_other_features

__all__ = ["CountBlocks", "in_file", "open_backed"]


@dataclass(frozen=True, kw_only=True)
class CountBlocks:
    """Row blocks of a count matrix in an h5ad or zarr file, for `scrae.gene_selection`.

    Iterating reads the file once more, and yields checked counts: csr_matrix of integers [at most `rows` cells,
    genes].

    Attributes
    ----------
    matrix
        [all cells, all genes] of the file: the ``X`` of a backed AnnData or of `open_backed`, that is anndata's
        sparse dataset by rows, or a dense ``h5py.Dataset`` or ``zarr.Array``.
    rows
        How many cells are read at a time.
    cells, genes
        Which of them to yield, as masks [all cells] and [all genes]; None: all.
    cell_names, gene_names
        Names of all cells and genes to use in a message; None: they are numbered from 0.

    Raises
    ------
    ScraeError
        The matrix is stored by columns, or lies in no file. While iterating: it is damaged or holds a value that
        is no count; the message names the first such cell, gene and value.
    """

    matrix: Any
    rows: int = 1000
    cells: NDArray[np.bool_] | None = None
    genes: NDArray[np.bool_] | None = None
    cell_names: Sequence[str] | pd.Index | None = None
    gene_names: Sequence[str] | pd.Index | None = None

    def __post_init__(self) -> None:
        if not in_file(self.matrix):
            raise ScraeError(
                f"expected a matrix in an h5ad or zarr file, found a {type(self.matrix).__name__}: a matrix in memory "
                "needs no row blocks"
            )
        if getattr(self.matrix, "format", "csr") != "csr":
            raise ScraeError(
                f"{self._where} is stored by columns (csc) and cannot be read by rows. Read the whole file, or "
                "write it anew by rows: adata.X = adata.X.tocsr()."
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
        n_cells = self.matrix.shape[0]
        indptr = self._starts() if hasattr(self.matrix, "group") else None
        for start in range(0, n_cells, self.rows):
            stop = min(start + self.rows, n_cells)
            names = (
                range(start, stop) if self.cell_names is None else self.cell_names[start:stop],
                self.gene_names,
            )
            if indptr is None:
                with reading(Path(self._where), "numbers"):
                    dense = np.asarray(self.matrix[start:stop])
                counts = _from_dense(dense, self._where, names)
            else:
                counts = _from_sparse(self._rows(indptr[start : stop + 1]), self._where, names)
            counts = counts if self.cells is None else counts[self.cells[start:stop]]
            yield counts if self.genes is None else counts[:, self.genes]

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
        stored = getattr(self.matrix, "group", self.matrix)
        if hasattr(stored, "file"):
            file = stored.file.filename
        else:  # a zarr store says where it is by its root, before zarr 3 by its path
            file = getattr(stored.store, "root", getattr(stored.store, "path", stored.store))
        return f"{file}: {stored.name.strip('/')}"


def _part(known: NDArray[np.bool_] | None, part: NDArray[np.bool_] | None, length: int) -> Any:
    """Both masks as one over all `length`; `part` is over what `known` leaves."""
    if part is None or known is None:
        return known if part is None else part
    mask = np.zeros(length, dtype=np.bool_)
    mask[np.flatnonzero(known)[part]] = True
    return mask


def in_file(matrix: Any) -> bool:
    """Whether a matrix is one that lies in an h5ad or zarr file."""
    kinds = (h5py.Dataset, zarr.Array, anndata.abc.CSRDataset, anndata.abc.CSCDataset)
    return isinstance(matrix, kinds)


def open_backed(path: str | os.PathLike[str], *, layer: str | None = None) -> AnnData:
    """Open an h5ad or zarr file whose counts stay there.

    Parameters
    ----------
    path
        An h5ad file or a zarr store, with its matrix by rows (csr) or dense.
    layer
        Name of the layer that holds the counts, also ``"X"`` or ``"raw"``. None: the first of ``X``,
        ``layers["counts"]`` and ``raw`` whose first block holds nothing but counts.

    Returns
    -------
    AnnData with ``obs``, ``var``, the counts in the file as ``X``, and ``uns["scrae"]["notes"]``; nothing else is
    read. The file stays open as long as this is alive.

    Raises
    ------
    ScraeError
        The file is missing, damaged or of another kind; holds no counts by rows; or features other than genes.
    """
    path = Path(path)
    file = _open(path)
    try:
        return _first_of_counts(file, path, layer)
    except ScraeError:
        if isinstance(file, h5py.File):
            file.close()
        raise


def _first_of_counts(file: Any, path: Path, layer: str | None) -> AnnData:
    """An AnnData over the named matrix, or over the first of the usual ones that begins with counts."""
    keys = {"X": ("X", "var", "X")} if "X" in file else {}
    keys |= {"raw": ("raw/X", "raw/var", "raw")} if "raw" in file else {}
    keys |= {name: (f"layers/{name}", "var", f"layers[{name!r}]") for name in file.get("layers", ())}
    if layer is not None and layer not in keys:
        raise ScraeError(
            f"{path}: There is no layer {layer!r}; there is {some(keys, 8) or 'no matrix at all'}."
        )
    problems: list[ScraeError] = []
    for place in [name for name in _IN_ORDER if name in keys] if layer is None else [layer]:
        matrix_key, var_key, words = keys[place]
        try:
            adata = _with_matrix(file, path, matrix_key, var_key)
        except ScraeError as error:
            problems.append(error)
            continue
        note(adata, f"Counts were found in {words}: {adata.n_obs} cells x {adata.n_vars} genes.")
        clean_names(adata)
        return adata
    raise problems[0] if problems else ScraeError(f"{path} has no X, layers['counts'] or raw.")


def _open(path: Path) -> Any:
    """The root group of an AnnData file."""
    if not path.exists():
        raise ScraeError(f"{path} does not exist; expected an h5ad or zarr file.")
    file: Any = {}
    with reading(path, "h5ad or zarr"):
        if path.is_dir():
            _refuse_pickles(path)
            file = zarr.open_group(str(path), mode="r")
            _refuse_missing_chunks(file, path)
        elif h5py.is_hdf5(path):
            file = h5py.File(path, "r")
    if not {"obs", "var"} <= set(file):
        raise ScraeError(
            f"{path} is neither h5ad nor zarr, and only these can be read in blocks; read it as a whole."
        )
    return file


def _with_matrix(file: Any, path: Path, matrix_key: str, var_key: str) -> AnnData:
    """An AnnData over one matrix of the file, whose first block holds nothing but counts."""
    with reading(path, "h5ad or zarr"):
        stored = file[matrix_key]
        is_array = isinstance(stored, h5py.Dataset | zarr.Array)
        matrix = stored if is_array else anndata.io.sparse_dataset(stored)
        adata = AnnData(
            matrix, obs=anndata.io.read_elem(file["obs"]), var=anndata.io.read_elem(file[var_key])
        )
    _refuse_other_features(adata)
    next(iter(CountBlocks(matrix=adata.X, cell_names=adata.obs_names, gene_names=adata.var_names)), None)
    return adata
