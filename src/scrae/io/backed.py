"""Open h5ad and zarr files whose counts stay in the file; read zarr stores."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata
import h5py
import zarr
from anndata import AnnData

from scrae.errors import ScraeError, ScraeWarning
from scrae.io.blocks import CountBlocks
from scrae.io.find_counts import IN_ORDER, refuse_other_features
from scrae.io.names import clean_names, some
from scrae.io.notes import add_note
from scrae.io.orientation import refuse_genes_as_cells
from scrae.io.parts import read_parts, read_table_parts
from scrae.io.read_errors import reading
from scrae.io.storable import make_storable

__all__ = ["open_backed", "read_zarr"]


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
    for place in [name for name in IN_ORDER if name in keys] if layer is None else [layer]:
        matrix_key, var_key, words = keys[place]
        try:
            adata = _with_matrix(file, path, matrix_key, var_key)
        except ScraeError as error:
            problems.append(error)
            continue
        add_note(adata, f"Counts were found in {words}: {adata.n_obs} cells x {adata.n_vars} genes.")
        clean_names(adata)
        make_storable(adata)
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
    lost: list[str] = []
    with reading(path, "h5ad or zarr"):
        stored = file[matrix_key]
        is_array = isinstance(stored, h5py.Dataset | zarr.Array)
        matrix = stored if is_array else anndata.io.sparse_dataset(stored)
        adata = AnnData(
            matrix,
            obs=read_table_parts(file["obs"], "obs", lost),
            var=read_table_parts(file[var_key], "var", lost),
        )
    if lost:
        said = f"Elements that could not be read were left out: {some(lost, 8, show=str)}."
        add_note(adata, said)
        warnings.warn(f"{path}: {said}", ScraeWarning, stacklevel=4)
    refuse_other_features(adata)
    refuse_genes_as_cells(adata)
    next(iter(CountBlocks(matrix=adata.X, cell_names=adata.obs_names, gene_names=adata.var_names)), None)
    return adata


def read_zarr(path: Path) -> AnnData:
    """Read an AnnData zarr store from a folder; X is unchecked.

    Refused are codecs that unpickle, and sparse matrices with missing chunks: zarr would fill those with
    zeros. In dense matrices missing chunks may be right; there is a ScraeWarning.
    """
    with reading(path, "zarr"):
        _refuse_pickles(path)
        group = zarr.open_group(str(path), mode="r")
        _refuse_missing_chunks(group, path)
        zeros = list(_chunks_of_zeros(group))
        try:
            adata = anndata.io.read_zarr(path)
        except MemoryError:
            raise
        except Exception:  # of one element, of any kind: read_parts reads the others or raises again
            adata = read_parts(group, path)
    for sentence in zeros:
        add_note(adata, sentence)
        warnings.warn(f"{path}: {sentence}", ScraeWarning, stacklevel=4)
    return adata


def _chunks_of_zeros(group: Any) -> Iterator[str]:
    """Say which dense matrices lack chunks: zarr leaves out what is all zeros, and what was lost looks the same."""
    layers = [f"layers/{name}" for name, _ in group["layers"].arrays()] if "layers" in group else []
    for name in ("X", "raw/X", *layers):
        if name in group and hasattr(group[name], "nchunks"):
            missing, total = _missing_chunks(group[name])
            if missing:
                yield (
                    f"{missing} of {total} chunks of {name} are not in the store and count as zeros. "
                    "If it was copied, see whether all of it came."
                )


def _missing_chunks(array: Any) -> tuple[int, int]:
    """Return the number of files of an array that are missing from the store, and of all its files.

    A shard is one file of several chunks (the default of anndata >= 0.13). The last one may reach beyond the array, but
    zarr counts all of its chunks as initialized, and only those inside the array as chunks.
    """
    files = getattr(array, "shards", None) or array.chunks
    total = math.prod(-(-n // size) for n, size in zip(array.shape, files, strict=True))
    chunks_per_file = math.prod(size // chunk for size, chunk in zip(files, array.chunks, strict=True))
    return total - array.nchunks_initialized // chunks_per_file, total


def _refuse_pickles(path: Path) -> None:
    for name in (".zarray", ".zmetadata", "zarr.json"):
        for file in path.rglob(name):
            if _names_pickle(json.loads(file.read_text(encoding="utf-8"))):
                raise ScraeError(f"{file} asks for unpickling, which can run code; it is not read.")


def _names_pickle(value: Any) -> bool:
    """Whether a codec called pickle is named anywhere in a store's metadata."""
    if isinstance(value, dict):
        named = (value.get("id"), value.get("name"))
        return any(isinstance(n, str) and "pickle" in n for n in named) or any(
            map(_names_pickle, value.values())
        )
    return isinstance(value, list) and any(map(_names_pickle, value))


def _refuse_missing_chunks(group: Any, path: Path) -> None:
    for _, child in group.groups():
        if str(child.attrs.get("encoding-type", "")) in ("csr_matrix", "csc_matrix"):
            for key in ("data", "indices"):
                if _missing_chunks(child[key])[0] and min(child.attrs["shape"]) > 1:
                    raise ScraeError(
                        f"{path} is incomplete: chunks of {child.path}/{key} are missing. Copy it again."
                    )
        else:
            _refuse_missing_chunks(child, path)
