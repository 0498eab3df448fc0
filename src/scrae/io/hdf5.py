"""HDF5 files: h5ad, 10x h5 and loom, recognized by their content; and atomic writing of h5ad."""

from __future__ import annotations

import os
import re
import warnings
from contextlib import ExitStack
from io import FileIO, RawIOBase
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scrae.errors import ScraeError
from scrae.files import atomic_path
from scrae.io.names import some
from scrae.io.read_errors import reading
from scrae.io.storable import make_storable

__all__ = ["open_h5ad", "read_h5ad", "read_hdf5", "write_h5ad"]

_LOOM_CELLS = ("CellID", "obs_names", "cell_id", "barcode")
_LOOM_GENES = ("Gene", "var_names", "gene_name", "Accession")
_LOOM_CELLS_AT_A_TIME = 512


def read_h5ad(path: str | os.PathLike[str]) -> AnnData:
    """Read an h5ad that scrae wrote: its counts are neither looked for nor checked.

    What was added since and cannot be written again is changed by `make_storable`.

    Raises
    ------
    ScraeError
        The file is missing, cannot be opened, or is not a complete h5ad.
    """
    path = Path(path)
    if not path.exists():
        raise ScraeError(f"{path} does not exist; expected an h5ad.")
    with reading(path, "h5ad"):
        adata = anndata.read_h5ad(path)
    make_storable(adata)
    return adata


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


def write_h5ad(adata: AnnData, path: str | os.PathLike[str]) -> None:
    """Write an h5ad file, whole or not at all, and open it again before it gets its name. `adata` is not changed.

    Raises
    ------
    ScraeError
        As `atomic_path`, or `adata` holds something that h5ad has no form for.
    """
    _refuse_slashes(adata, path)
    with atomic_path(path) as draft:
        with draft.open("w+b", buffering=0) as raw:
            disk = _Disk(raw)
            try:
                with h5py.File(disk, "w") as file:
                    anndata.io.write_elem(
                        file, "/", adata, dataset_kwargs={"compression": "gzip", "compression_opts": 1}
                    )
            except Exception as error:  # by content, nearly any
                if disk.failure is None:
                    raise ScraeError(f"{os.fspath(path)} could not be written: {_reason(error)}") from error
            if disk.failure is not None:
                raise disk.failure
        try:
            _open_parts(draft)
        except Exception as error:
            raise ScraeError(
                f"{os.fspath(path)} was not written, because the file could not be read again: {_reason(error)}"
            ) from error


def _refuse_slashes(adata: AnnData, path: str | os.PathLike[str]) -> None:
    """Refuse keys that would become groups of a file that nobody can read."""
    for slot in ("layers", "obsm", "varm", "obsp", "varp"):
        for key in getattr(adata, slot):
            if "/" in str(key):
                raise ScraeError(
                    f"{os.fspath(path)} could not be written: expected keys without a slash, found {slot}[{key!r}]; "
                    "rename it"
                )


def _reason(error: Exception) -> str:
    """Say in one line what could not be written, and why."""
    notes = " ".join(getattr(error, "__notes__", []))
    place = re.search(r"writing key '(.*?)' of .*? to (\S*)", notes, re.DOTALL)
    element = f"{place[2].strip('/')}/{place[1]}: ".lstrip("/") if place else ""
    return f"{element}{type(error).__name__}: {' '.join(str(error).split())[:250]}"


def _open_parts(path: Path) -> None:
    """Read the tables and annotations of an h5ad and open its matrices, to see that it can be read."""
    with warnings.catch_warnings(), h5py.File(path, "r") as file:
        warnings.simplefilter("ignore")
        for slot in ("obs", "var", "obsm", "varm", "uns"):
            anndata.io.read_elem(file[slot])
        matrices = [file[key] for key in ("X", "raw/X") if key in file]
        for slot in ("layers", "obsp", "varp"):
            matrices += file[slot].values()
        for matrix in matrices:
            if "encoding-type" not in matrix.attrs:
                raise ValueError(f"{matrix.name} is no matrix")
            if isinstance(matrix, h5py.Group) and "shape" in matrix.attrs:
                anndata.io.sparse_dataset(matrix)


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


class _Disk(RawIOBase):
    """A file that never fails the HDF5 library: the first failure is kept, and nothing more is written.

    Where HDF5 cannot write, it cannot close its file either, and then crashes the process at its end.
    """

    def __init__(self, raw: FileIO) -> None:
        self._raw = raw
        self.failure: OSError | None = None

    def write(self, data: Any) -> int:
        size = len(data)
        while len(data) and self.failure is None:  # a nearly full disk takes a part
            try:
                data = data[self._raw.write(data) :]
            except OSError as error:
                self.failure = error
        return size

    def truncate(self, size: int | None = None) -> int:
        if self.failure is None:
            try:
                return self._raw.truncate(size)
            except OSError as error:
                self.failure = error
        return size or 0

    def readinto(self, buffer: Any) -> int:
        return self._raw.readinto(buffer) or 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        return self._raw.tell()
