"""Size of the count matrix of a file, from its metadata alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import zarr

__all__ = ["Stored", "stored"]


class Stored(NamedTuple):
    """Sizes in the metadata of an h5ad, zarr or 10x h5 file."""

    n_cells: int
    n_genes: int
    n_entries: int  # stored values of the count matrix
    n_bytes: int  # of all arrays, uncompressed
    in_blocks: bool  # whether it can be read in blocks of cells


def stored(path: Path, layer: str | None = None) -> Stored | None:
    """Return the sizes of a file.

    Parameters
    ----------
    path : pathlib.Path
        A file or folder of any kind.
    layer : str, optional
        Name of the count matrix. None: ``X``, or ``raw`` if there is no ``X``.

    Returns
    -------
    Stored or None
        None if the file is damaged or of another format.
    """
    try:
        if path.is_dir():
            return _of_anndata(zarr.open_group(str(path), mode="r"), layer)
        with h5py.File(path, "r") as file:
            return _of_10x(file) if "matrix" in file else _of_anndata(file, layer)
    except (OSError, LookupError, ValueError, RuntimeError):  # of the libraries, for other and damaged files
        return None


def _of_anndata(file: Any, layer: str | None) -> Stored:
    places = (f"layers/{layer}", "raw/X" if layer == "raw" else layer, "X", "raw/X")
    key = next((name for name in places if name and name in file), "X")
    matrix = file[key]
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
