"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO, RawIOBase
from pathlib import Path
from typing import Any

import h5py
from anndata import AnnData
from anndata.io import write_elem

from scrae.errors import ScraeError

__all__ = ["atomic_path", "write_h5ad", "write_text"]

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "your disk quota is used up; free some space",
    errno.EFBIG: "the file would be larger than allowed here; raise the limit or write elsewhere",
    errno.EACCES: "no permission; write elsewhere or have the permission changed",
    errno.EPERM: "no permission; write elsewhere or have the permission changed",
    errno.EROFS: "it lies on a read-only disk; write elsewhere",
    errno.EISDIR: "a folder of that name is there; give another name",
    errno.ENOTDIR: "a file stands where a folder is needed; give another name",
    errno.EEXIST: "a file stands where a folder is needed; give another name",
}


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file or a folder beside its final name and move it into place when it is complete.

    ``with atomic_path("out/result.h5ad") as draft: ...`` creates `draft`, a file or a folder, inside the
    block. At its end everything written is flushed to the disk and takes the final name in place of what
    had it. If the block raises, the draft is removed and the old file or folder stays as it was. Missing
    parent folders are made.

    A file is replaced in one step. A folder that replaces another takes two: a crash between them leaves
    the old one beside the final name, as ``.NAME.old-*``.

    Yields
    ------
    Path of the draft: hidden, in the same folder, with the same ending.

    Raises
    ------
    ScraeError
        The disk is full or read-only, a permission is missing, or the name is taken by the other kind. Any
        `OSError` of the block counts as a failure to write.
    """
    final = Path(os.path.realpath(path))  # a link keeps pointing where it does
    draft = final.with_name(f".{final.stem}.{secrets.token_hex(4)}{final.suffix}")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        _flush(draft)
        _move(draft, final)
    except OSError as error:
        raise ScraeError(f"{os.fspath(path)} could not be written: {_reason(error)}.") from error
    finally:
        _remove(draft)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text to a file, whole or not at all; raises as `atomic_path`."""
    with atomic_path(path) as draft:
        draft.write_text(text, encoding="utf-8", newline="")


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


def _reason(error: OSError) -> str:
    known = _REASONS.get(error.errno or 0)
    return known or " ".join((error.strerror or str(error)).split())


def _flush(draft: Path) -> None:
    """Flush a file, or every file and folder of a tree, to the disk."""
    inside = sorted(draft.rglob("*")) if draft.is_dir() else []
    for path in [*inside, draft]:
        _fsync(path)


def _fsync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _move(draft: Path, final: Path) -> None:
    if draft.is_dir() and final.is_dir():
        old = final.with_name(f".{final.name}.old-{secrets.token_hex(4)}")
        final.rename(old)
        try:
            draft.rename(final)
        except OSError:
            old.rename(final)
            raise
        shutil.rmtree(old, ignore_errors=True)
    else:
        draft.replace(final)
    _fsync(final.parent)


def _remove(draft: Path) -> None:
    if draft.is_dir():
        shutil.rmtree(draft, ignore_errors=True)
    else:
        with suppress(OSError):
            draft.unlink()
