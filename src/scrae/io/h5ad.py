"""h5ad files: read, open for a report, and write atomically."""

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
from anndata import AnnData

from scrae.errors import ScraeError
from scrae.files import atomic_path
from scrae.io.parts import read_h5ad_parts
from scrae.io.read_errors import reading
from scrae.io.storable import make_storable

__all__ = ["open_h5ad", "read_h5ad", "write_h5ad"]


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
        adata = read_h5ad_parts(path)
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
        except Exception as error:  # nearly any, by content
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
