"""Validate that a matrix holds counts; errors name the first offending cell, gene and value."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from scrae.config import LARGEST_COUNT
from scrae.errors import ScraeError, ScraeWarning

__all__ = ["ROUNDED", "check_counts", "checked", "from_dense", "from_sparse"]

Names = tuple[
    Sequence[Any] | pd.Index | None, Sequence[Any] | pd.Index | None
]  # of cells and genes; None: numbered

_NOISE = 1e-3  # distance from a whole number that is rounding noise of float32, not a fraction
ROUNDED = f"values within {_NOISE:g} of whole numbers were rounded."
_VALUES_AT_A_TIME = 1 << 22
_GIVE_COUNTS = "Give the matrix of raw counts, from before normalization."
_ROUND = "Estimated counts (SoupX, CellBender, alevin, RSEM) are accepted with --round (round=True), which rounds them."
_LARGEST_LOG = 25  # exp(25) is more molecules than a cell has
_SAME_TOTALS = 1e-3  # relative spread of the totals of cells below which they were normalized


def check_counts(
    matrix: Any,
    where: str = "the matrix",
    *,
    cell_names: Sequence[str] | pd.Index | None = None,
    gene_names: Sequence[str] | pd.Index | None = None,
    round: bool = False,
) -> sparse.csr_matrix:
    """Check that every value of a matrix is a count, and return the counts in one form.

    Parameters
    ----------
    matrix : sparse matrix, sparse array or numpy.ndarray
        [cells, genes] of any format, also backed by an HDF5 or zarr file. Bool, integers and floats of any width and
        byte order. It is not changed.
    where : str
        Name of the matrix in messages, for instance ``'layers["counts"]'``.
    cell_names, gene_names : sequence of str or pandas.Index, optional
        Names for messages. None: rows and columns are numbered from 0.
    round : bool
        Round estimated counts. Values that look log-normalized or normalized are refused all the same.

    Returns
    -------
    scipy.sparse.csr_matrix
        int32, with sorted indices, without duplicates and stored zeros. It shares no memory with `matrix`.

    Raises
    ------
    ScraeError
        If the matrix is empty, has no count above 0, is not numeric or is structurally broken; or if a value is
        negative, not a whole number, NaN, infinite or above 2**31 - 1.

    Warns
    -----
    ScraeWarning
        If values were rounded.
    """
    counts, rounded = checked(matrix, where, (cell_names, gene_names), round=round)
    if rounded:
        warnings.warn(f"{where}: {rounded}", ScraeWarning, stacklevel=2)
    return counts


def checked(matrix: Any, where: str, names: Names, *, round: bool = False) -> tuple[sparse.csr_matrix, str]:
    """Return the counts as `check_counts` does, and a sentence on what was rounded; "" = nothing."""
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
    said = ""
    if round:
        matrix, said = _round(matrix, where)
    if sparse.issparse(matrix):
        counts, rounded = from_sparse(matrix, where, names)
    elif isinstance(matrix, np.ndarray) or hasattr(matrix, "chunks"):
        counts, rounded = from_dense(matrix, where, names)
    else:
        raise ScraeError(
            f"{where} is a {type(matrix).__name__}; expected a SciPy sparse matrix or NumPy array."
        )
    if counts.nnz == 0:
        raise ScraeError(f"{where} holds no count: all of its {n_cells} x {n_genes} values are 0.")
    return counts, said or (ROUNDED if rounded else "")


def _round(matrix: Any, where: str) -> tuple[Any, str]:
    """Return a matrix of estimated counts as whole numbers, and a sentence on the change; others as they are."""
    is_sparse = bool(sparse.issparse(matrix))
    if not is_sparse:
        matrix = np.asarray(matrix[:])
    values = matrix.data if is_sparse else matrix
    if values.dtype.kind != "f" or not np.isfinite(values).all() or _first_bad(values.reshape(-1)) is None:
        return matrix, ""
    totals = np.asarray(matrix.sum(axis=1), dtype=np.float64).ravel()
    if np.abs(values).max() < _LARGEST_LOG or totals.std() < _SAME_TOTALS * totals.mean():
        raise ScraeError(f"{where}: expected estimated counts to round.{_guess(values)} {_GIVE_COUNTS}")
    whole = matrix.copy()
    (whole.data if is_sparse else whole)[...] = np.rint(values)
    change = float(whole.sum(dtype=np.float64)) / totals.sum() - 1
    return (
        whole,
        f"estimated counts were rounded to whole numbers; their sum changed by {100 * change:+.2f} %.",
    )


def from_sparse(matrix: Any, where: str, names: Names) -> tuple[sparse.csr_matrix, bool]:
    """Return the counts of a sparse matrix [cells, genes], which may have none, and whether values were rounded."""
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
    _refuse_bad(csr, csr.data, where, names)
    rounded = _has_fractions(csr.data)
    counts = sparse.csr_matrix((_integers(csr.data), csr.indices, csr.indptr), shape=csr.shape)
    if not counts.has_canonical_format:
        counts.data = counts.data.astype(np.int64)  # a sum of int32 duplicates could wrap around
        counts.sum_duplicates()
        _refuse_bad(counts, counts.data, where, names)
        counts.data = _integers(counts.data)
    counts.eliminate_zeros()
    return counts, rounded


def _refuse_bad(csr: sparse.csr_matrix, values: NDArray[Any], where: str, names: Names) -> None:
    bad = _first_bad(values)
    if bad is not None:
        row = int(np.searchsorted(csr.indptr, bad, side="right")) - 1
        place = (row, int(csr.indices[bad]))
        raise ScraeError(_complaint(where, place, values[bad], names, _guess(values)))


def from_dense(matrix: Any, where: str, names: Names) -> tuple[sparse.csr_matrix, bool]:
    """Return as `from_sparse`; row block by row block, so that a matrix in a file is never in memory as a whole."""
    n_cells, n_genes = matrix.shape
    step = max(1, _VALUES_AT_A_TIME // n_genes)
    blocks, rounded = [], False
    for start in range(0, max(1, n_cells), step):  # a chunk of a dask array may be empty
        block = _native(np.asarray(matrix[start : start + step]), where)
        bad = _first_bad(block.reshape(-1))
        if bad is not None:
            row, column = divmod(bad, n_genes)
            value = block[row, column]
            raise ScraeError(_complaint(where, (start + row, column), value, names, _guess(block)))
        part = sparse.csr_matrix(block)
        rounded |= _has_fractions(part.data)
        part.data = _integers(part.data)
        part.eliminate_zeros()
        blocks.append(part)
    return sparse.csr_matrix(sparse.vstack(blocks, format="csr")), rounded


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


def _integers(values: NDArray[Any]) -> NDArray[np.int32]:
    return (np.rint(values) if values.dtype.kind == "f" else values).astype(np.int32)


def _has_fractions(values: NDArray[Any]) -> bool:
    return values.dtype.kind == "f" and bool((values != np.rint(values)).any())


def _first_bad(values: NDArray[Any]) -> int | None:
    """Return the position of the first value that is not a count, or None."""
    if values.dtype.kind == "b":
        return None
    for start in range(0, values.size, _VALUES_AT_A_TIME):
        part = values[start : start + _VALUES_AT_A_TIME]
        if part.dtype.kind == "f":
            part = part.astype(np.float64, copy=False)
            whole = np.rint(part)
            with np.errstate(invalid="ignore"):  # infinite values
                good = (
                    (whole >= 0) & (whole <= LARGEST_COUNT) & (np.abs(part - whole) <= _NOISE)
                )  # False for NaN
        else:
            good = (part >= 0) & (part <= LARGEST_COUNT)
        if not good.all():
            return start + int(np.argmin(good))
    return None


def _guess(values: NDArray[Any]) -> str:
    """Return a sentence on what a matrix with fractions probably is."""
    finite = values[np.isfinite(values)]
    if finite.size == 0 or not (finite != np.rint(finite)).any():
        return ""
    if finite.min() < 0:
        return " It looks like scaled (centered) values."
    if finite.max() < _LARGEST_LOG:
        return " It looks like log-normalized values."
    return " It looks like normalized values."


def _complaint(where: str, place: tuple[int, int], value: Any, names: Names, guess: str) -> str:
    cell, gene = (
        str(index) if known is None else repr(str(known[index]))
        for index, known in zip(place, names, strict=True)
    )
    number = float(value)
    remedy = ""
    if np.isnan(number):
        what, remedy = "a missing value (NaN)", " If missing means that nothing was counted, write 0."
    elif np.isinf(number):
        what = f"an infinite value ({number:g})"
    elif number < 0:
        what = f"a negative value ({number:g})"
    elif number > LARGEST_COUNT:
        what = f"a value too large for a count ({number:.16g}, above {LARGEST_COUNT})"
    else:
        what = f"a value that is not a whole number ({float(str(value)):.16g})"
        remedy = f" {_ROUND}"
    return (
        f"{where} holds {what} at cell {cell}, gene {gene}; counts are whole numbers from 0 up.{guess} "
        f"{_GIVE_COUNTS}{remedy}"
    )
