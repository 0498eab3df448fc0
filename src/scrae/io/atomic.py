"""Writing of h5ad files, whole or not at all."""

from __future__ import annotations

import os
from io import FileIO, RawIOBase
from typing import Any

import h5py
from anndata import AnnData
from anndata.io import write_elem

from scrae.errors import ScraeError
from scrae.files import atomic_path

__all__ = ["write_h5ad"]


def write_h5ad(adata: AnnData, path: str | os.PathLike[str]) -> None:
    """Write an h5ad file, whole or not at all. `adata` is not changed.

    Raises
    ------
    ScraeError
        As `atomic_path`, or `adata` holds something that h5ad has no form for.
    """
    with atomic_path(path) as draft, draft.open("w+b", buffering=0) as raw:
        disk = _Disk(raw)
        try:
            with h5py.File(disk, "w") as file:
                write_elem(file, "/", adata, dataset_kwargs={"compression": "gzip", "compression_opts": 1})
        except (TypeError, ValueError, KeyError, RuntimeError, OSError) as error:
            if disk.failure is None:
                reason = " ".join([str(error), *getattr(error, "__notes__", [])]).replace("\n", " ")
                raise ScraeError(f"{os.fspath(path)} could not be written: {reason[:300]}") from error
        if disk.failure is not None:
            raise disk.failure


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
