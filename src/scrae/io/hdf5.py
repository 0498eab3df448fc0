"""Readers of HDF5 files (h5ad, 10x h5, loom), told apart by what is inside, and of zarr stores."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scrae.errors import ScraeError, ScraeWarning
from scrae.io.foreign import reading
from scrae.io.names import note, some

__all__ = ["open_h5ad", "read_h5ad", "read_hdf5", "read_zarr"]

_LOOM_CELLS = ("CellID", "obs_names", "cell_id", "barcode")
_LOOM_GENES = ("Gene", "var_names", "gene_name", "Accession")
_LOOM_CELLS_AT_A_TIME = 512


def read_h5ad(path: str | os.PathLike[str]) -> AnnData:
    """Read an h5ad as it stands: nothing is looked for, checked or changed. For files that scrae wrote.

    Raises
    ------
    ScraeError
        The file is missing, cannot be opened, or is no whole h5ad.
    """
    path = Path(path)
    if not path.exists():
        raise ScraeError(f"{path} does not exist; expected an h5ad.")
    with reading(path, "h5ad"):
        return anndata.read_h5ad(path)


def open_h5ad(path: str | os.PathLike[str]) -> AnnData:
    """Open an h5ad that scrae wrote, for its report: ``X`` stays in the file, ``layers`` and ``obsp`` are not read.

    Raises
    ------
    ScraeError
        As `read_h5ad`.
    """
    path = Path(path)
    with ExitStack() as on_error, reading(path, "h5ad"):
        file = on_error.enter_context(h5py.File(path, "r"))
        slots = {name: anndata.io.read_elem(file[name]) for name in ("obs", "var", "obsm", "uns")}
        x = file["X"]
        adata = AnnData(x if isinstance(x, h5py.Dataset) else anndata.io.sparse_dataset(x), **slots)
        on_error.pop_all()  # the file stays open as long as X is alive
    return adata


def read_hdf5(path: Path) -> AnnData:
    """Read an h5ad, 10x h5 (v2 and v3 layout) or loom file; X is unchecked."""
    with reading(path, "HDF5"), h5py.File(path, "r") as file:
        kind = _kind(file, path)
    with reading(path, kind):
        if kind == "h5ad":
            return anndata.read_h5ad(path)
        with h5py.File(path, "r") as file:
            return _read_loom(file, path) if kind == "loom" else _read_10x(file, path)


def _kind(file: h5py.File, path: Path) -> str:
    if "mod" in file and "obs" in file:
        raise ScraeError(
            f"{path} is a MuData file with the modalities {some(file['mod'])}; write the RNA one as h5ad "
            "(mudata.read(path).mod[name].write_h5ad(...)) and give that."
        )
    if isinstance(file.get("matrix"), h5py.Dataset):
        return "loom"
    if "matrix" in file or any(_is_10x_v2(group) for group in file.values()):
        return "10x h5"
    if "obs" in file and "var" in file:
        return "h5ad"
    raise ScraeError(f"{path} is an HDF5 file but neither h5ad, 10x h5 nor loom; it holds {some(file)}.")


def _is_10x_v2(group: Any) -> bool:
    return isinstance(group, h5py.Group) and {"barcodes", "genes", "data", "indptr"} <= set(group)


def _text(dataset: h5py.Dataset) -> np.ndarray[Any, np.dtype[np.object_]]:
    return np.array([v.decode() if isinstance(v, bytes) else str(v) for v in dataset[()]], dtype=object)


def _read_10x(file: h5py.File, path: Path) -> AnnData:
    if "matrix" in file:
        group = file["matrix"]
        features = group["features"]
        columns = {"gene_ids": "id", "feature_types": "feature_type", "genome": "genome"}
        var = pd.DataFrame({ours: _text(features[key]) for ours, key in columns.items() if key in features})
        genes = _text(features["name"])
    else:
        genomes = [name for name, group in file.items() if _is_10x_v2(group)]
        if len(genomes) > 1:
            raise ScraeError(
                f"{path} holds {len(genomes)} genomes ({some(genomes)}); choose one with "
                "scanpy.read_10x_h5(path, genome=...), write it as h5ad and give that."
            )
        group = file[genomes[0]]
        var = pd.DataFrame({"gene_ids": _text(group["genes"])})
        genes = _text(group["gene_names"])
    n_genes, n_cells = (int(n) for n in group["shape"][()])
    # stored as genes x cells by columns, which is cells x genes by rows
    parts = (group["data"][()], group["indices"][()], group["indptr"][()])
    counts = sparse.csr_matrix(parts, shape=(n_cells, n_genes))
    var.index = pd.Index(genes)
    return AnnData(counts, obs=pd.DataFrame(index=pd.Index(_text(group["barcodes"]))), var=var)


def _read_loom(file: h5py.File, path: Path) -> AnnData:
    matrix = file["matrix"]
    n_genes, n_cells = matrix.shape
    obs = _loom_table(file["col_attrs"], n_cells, _LOOM_CELLS, f"{path} names no cells (col_attrs")
    var = _loom_table(file["row_attrs"], n_genes, _LOOM_GENES, f"{path} names no genes (row_attrs")
    blocks = [
        sparse.csr_matrix(matrix[:, start : start + _LOOM_CELLS_AT_A_TIME].T)
        for start in range(0, n_cells, _LOOM_CELLS_AT_A_TIME)
    ]
    return AnnData(sparse.csr_matrix(sparse.vstack(blocks, format="csr")), obs=obs, var=var)


def _loom_table(group: h5py.Group, length: int, names: tuple[str, ...], lacking: str) -> pd.DataFrame:
    """Return the one-value-per-row attributes as a table, the first of `names` that exists as its index."""
    table = pd.DataFrame(index=range(length))
    for key, values in group.items():
        if values.shape == (length,):
            table[key] = _text(values) if values.dtype.kind in "SO" else values[()]
    for name in names:
        if name in table:
            return table.set_index(pd.Index(table.pop(name).astype(str)).rename(None))
    raise ScraeError(f"{lacking} has none of {', '.join(names)}).")


def read_zarr(path: Path) -> AnnData:
    """Read an AnnData zarr store from a folder; X is unchecked.

    Refused are codecs that unpickle, and sparse matrices with missing chunks: zarr would fill those with
    zeros. In dense matrices missing chunks may be right; there is a ScraeWarning.
    """
    with reading(path, "zarr"):
        _refuse_pickles(path)
        import zarr

        group = zarr.open_group(str(path), mode="r")
        _refuse_missing_chunks(group, path)
        zeros = list(_chunks_of_zeros(group))
        adata = anndata.io.read_zarr(path)
    for sentence in zeros:
        note(adata, sentence)
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
