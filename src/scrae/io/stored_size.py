"""How large the matrices of a file are, from its head alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import zarr

__all__ = ["Stored", "stored"]


class Stored(NamedTuple):
    """What an h5ad, zarr or 10x h5 file states of itself."""

    n_cells: int
    n_genes: int
    n_entries: int  # values of the matrix of counts that are stored
    n_bytes: int  # of all arrays, unpacked
    in_blocks: bool  # whether it can be read block by block


def stored(path: Path, layer: str | None = None) -> Stored | None:
    """Return the sizes of a file; None where it is of another format or damaged, which the reader says.

    The matrix is the one called `layer`, otherwise ``X``, or ``raw`` where there is no ``X``.
    """
    try:
        if path.is_dir():
            return _of_anndata(zarr.open_group(str(path), mode="r"), layer)
        with h5py.File(path, "r") as file:
            return _of_10x(file) if "matrix" in file else _of_anndata(file, layer)
    except Exception:  # a damaged file makes the libraries raise nearly anything
        return None


def _of_anndata(file: Any, layer: str | None) -> Stored:
    key = next(name for name in (f"layers/{layer}", layer, "X", "raw/X") if name and name in file)
    matrix = file["raw/X" if key == "raw" else key]
    is_array = hasattr(matrix, "shape")
    n_cells, n_genes = (int(n) for n in (matrix.shape if is_array else matrix.attrs["shape"]))
    n_entries = n_cells * n_genes if is_array else int(matrix["data"].shape[0])
    by_columns = not is_array and str(matrix.attrs["encoding-type"]) == "csc_matrix"
    return Stored(n_cells, n_genes, n_entries, sum(_bytes(file)), in_blocks=not by_columns)


def _of_10x(file: Any) -> Stored:
    n_genes, n_cells = (int(n) for n in file["matrix/shape"][()])
    return Stored(n_cells, n_genes, int(file["matrix/data"].shape[0]), sum(_bytes(file)), in_blocks=False)


def _bytes(group: Any) -> Iterator[int]:
    for name in group:
        thing = group[name]
        if hasattr(thing, "shape"):
            yield int(thing.size) * thing.dtype.itemsize
        else:
            yield from _bytes(thing)
