"""Is this matrix one of counts? Every stored value is looked at, and the answer names the place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from scrae.errors import ScraeError

__all__ = ["check_counts"]

LARGEST_COUNT = 2**53  # above it float64 has no unit steps, so "whole number" means nothing
_VALUES_AT_A_TIME = 1 << 22
_GIVE_COUNTS = "Give the matrix of raw counts, from before normalisation."


def check_counts(
    matrix: Any,
    where: str = "the matrix",
    *,
    cell_names: Sequence[str] | pd.Index | None = None,
    gene_names: Sequence[str] | pd.Index | None = None,
) -> sparse.csr_matrix:
    """Check that every value of a matrix is a count, and return the counts in one form.

    Parameters
    ----------
    matrix
        [cells, genes]. SciPy sparse matrix or array of any format, NumPy array, or either of them backed by
        an HDF5 or zarr file. Bool, integers and floats of any width and byte order. Not changed.
    where
        What to call the matrix in a message, for instance ``'layers["counts"]'``.
    cell_names, gene_names
        Names to use in a message; None means that rows and columns are numbered from 0.

    Returns
    -------
    csr_matrix of int32 (int64 only where a count needs it), indices sorted, no duplicates, no stored zeros.
    It shares no memory with `matrix`.

    Raises
    ------
    ScraeError
        The matrix is empty or has no count above 0, is no numeric matrix, is structurally broken, or holds a
        value that is negative, no whole number, NaN, infinite or above 2**53. The message names the first
        such cell, gene and value.
    """
    names = (cell_names, gene_names)
    if hasattr(matrix, "to_memory"):  # anndata's sparse matrices that live in a file
        matrix = matrix.to_memory()
    if hasattr(matrix, "__dask_graph__"):
        raise ScraeError(
            f"{where} is a dask array; give it to scrae.pp.preprocess_backed or scrae.run as it is, or bring it into "
            "memory: adata = adata.to_memory()."
        )
    if getattr(matrix, "ndim", None) != 2:
        raise ScraeError(f"{where} is a {type(matrix).__name__}; expected a matrix of cells x genes.")
    n_cells, n_genes = matrix.shape
    if n_cells == 0 or n_genes == 0:
        raise ScraeError(f"{where} is empty: {n_cells} cells x {n_genes} genes.")
    if sparse.issparse(matrix):
        counts = _from_sparse(matrix, where, names)
    elif isinstance(matrix, np.ndarray) or hasattr(matrix, "chunks"):
        counts = _from_dense(matrix, where, names)
    else:
        raise ScraeError(
            f"{where} is a {type(matrix).__name__}; expected a SciPy sparse matrix or NumPy array."
        )
    if counts.nnz == 0:
        raise ScraeError(f"{where} holds no count: all of its {n_cells} x {n_genes} values are 0.")
    return counts


def _from_sparse(matrix: Any, where: str, names: Any) -> sparse.csr_matrix:
    if matrix.format not in ("csr", "csc"):
        matrix = matrix.tocsr()
    try:  # first of all: a broken index would crash SciPy's compiled loops
        form = sparse.csr_matrix if matrix.format == "csr" else sparse.csc_matrix
        parts = (_native(matrix.data, where), _native(matrix.indices, where), _native(matrix.indptr, where))
        same = form(parts, shape=matrix.shape)
        if (same.indptr[1:] < same.indptr[:-1]).any():  # SciPy looks at differences, which can wrap around
            raise ValueError("its row or column pointers go back")
        same.check_format(full_check=True)
    except ScraeError:
        raise
    except (ValueError, TypeError, IndexError) as error:
        raise ScraeError(f"{where} is a broken sparse matrix ({error}). Write the file again.") from error
    csr = same.tocsr()
    if csr is same:
        csr = sparse.csr_matrix((same.data, same.indices.copy(), same.indptr.copy()), shape=same.shape)
    bad = _first_bad(csr.data)
    if bad is not None:
        row = int(np.searchsorted(csr.indptr, bad, side="right")) - 1
        place = (row, int(csr.indices[bad]))
        raise ScraeError(_complaint(where, place, csr.data[bad], names, _guess(csr.data)))
    counts = sparse.csr_matrix((_integers(csr.data), csr.indices, csr.indptr), shape=csr.shape)
    if not counts.has_canonical_format:
        counts = counts.astype(np.int64)  # a sum of int32 duplicates could wrap around
        counts.sum_duplicates()
        counts.data = _integers(counts.data)
    counts.eliminate_zeros()
    return counts


def _from_dense(matrix: Any, where: str, names: Any) -> sparse.csr_matrix:
    """Row block by row block, so that a matrix in a file never lies in memory as a whole."""
    n_cells, n_genes = matrix.shape
    step = max(1, _VALUES_AT_A_TIME // n_genes)
    blocks = []
    for start in range(0, max(1, n_cells), step):  # a chunk of a dask array may be empty
        block = _native(np.asarray(matrix[start : start + step]), where)
        bad = _first_bad(block.reshape(-1))
        if bad is not None:
            row, column = divmod(bad, n_genes)
            value = block[row, column]
            raise ScraeError(_complaint(where, (start + row, column), value, names, _guess(block)))
        part = sparse.csr_matrix(block)
        part.data = _integers(part.data)
        blocks.append(part)
    return sparse.csr_matrix(sparse.vstack(blocks, format="csr"))


def _native(array: NDArray[Any], where: str) -> NDArray[Any]:
    """Return `array` in this machine's byte order and in a width that SciPy's sparse loops know."""
    dtype = array.dtype
    if dtype.kind not in "biuf":
        raise ScraeError(f"{where} holds values of type {dtype}; expected numbers. {_GIVE_COUNTS}")
    if dtype == np.float16:
        return array.astype(np.float32)
    if dtype.itemsize > 8:
        return array.astype(np.float64)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _integers(values: NDArray[Any]) -> NDArray[Any]:
    wide = values.size > 0 and values.max() > np.iinfo(np.int32).max
    return values.astype(np.int64 if wide else np.int32)


def _first_bad(values: NDArray[Any]) -> int | None:
    """Position of the first value that is no count, or None."""
    if values.dtype.kind == "b":
        return None
    for start in range(0, values.size, _VALUES_AT_A_TIME):
        part = values[start : start + _VALUES_AT_A_TIME]
        good = (part >= 0) & (part <= LARGEST_COUNT)  # False for NaN
        if part.dtype.kind == "f":
            good &= part == np.rint(part)
        if not good.all():
            return start + int(np.argmin(good))
    return None


def _guess(values: NDArray[Any]) -> str:
    """What a matrix with fractions probably is, in words."""
    finite = values[np.isfinite(values)]
    if finite.size == 0 or not (finite != np.rint(finite)).any():
        return ""
    if finite.min() < 0:
        return " It looks like scaled (centred) values."
    if finite.max() < 25:  # exp(25) is more molecules than a cell has
        return " It looks like log-normalised values."
    return " It looks like normalised values."


def _complaint(where: str, place: tuple[int, int], value: Any, names: Any, guess: str) -> str:
    cell, gene = (
        str(index) if known is None else repr(str(known[index]))
        for index, known in zip(place, names, strict=True)
    )
    number = float(value)
    if np.isnan(number):
        what = "a missing value (NaN)"
    elif np.isinf(number):
        what = f"an infinite value ({number:g})"
    elif number < 0:
        what = f"a negative value ({number:g})"
    elif number > LARGEST_COUNT:
        what = f"a value too large for a count ({number:g})"
    else:
        what = f"a value that is no whole number ({number:g})"
    return (
        f"{where} holds {what} at cell {cell}, gene {gene}; counts are whole numbers from 0 up.{guess} "
        f"{_GIVE_COUNTS}"
    )
