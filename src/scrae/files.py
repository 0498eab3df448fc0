"""Files and folders that are written whole or not at all, and folders that one run at a time may write."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import ScraeError

__all__ = ["atomic_path", "exclusive_lock", "write_text"]

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
_MARK = ".scrae-draft-"
_EXCHANGE, _HERE = 2, -100  # RENAME_EXCHANGE and AT_FDCWD of Linux


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file or a folder beside its final name and move it into place when it is complete.

    ``with atomic_path("out/result.h5ad") as draft: ...`` creates `draft`, a file or a folder, inside the
    block. At its end everything written is flushed to the disk and takes the final name in place of what
    had it, in one step. If the block raises, the draft is removed and the old file or folder stays as it was.
    Missing parent folders are made.

    Where the file system cannot exchange two folders in one step, a folder that replaces another takes two:
    a crash between them leaves the old one beside the final name, as ``.NAME.old-*``.

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
    draft = final.with_name(f".{final.stem}{_MARK}{secrets.token_hex(4)}{final.suffix}")
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


@contextmanager
def exclusive_lock(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Keep other runs out of a folder while the block runs; the folder is made if it is not there.

    The system drops the lock when the process ends, however it ends. Drafts that a killed run left are
    removed. A folder made here that stays empty is removed again at the end.

    Raises
    ------
    ScraeError
        Another run holds the folder, or it cannot be made or written.
    """
    path = Path(os.path.realpath(folder))
    made = [p for p in (path, *path.parents) if not p.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        number = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise ScraeError(f"{os.fspath(folder)} could not be written: {_reason(error)}.") from error
    try:
        _lock(number, folder)
        if not os.access(path, os.W_OK):
            raise ScraeError(f"{os.fspath(folder)} could not be written: {_REASONS[errno.EACCES]}.")
        _sweep(path)
        yield
    finally:
        for empty in made:
            with suppress(OSError):
                empty.rmdir()
        os.close(number)


def _lock(number: int, folder: str | os.PathLike[str]) -> None:
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ScraeError(
            f"{os.fspath(folder)}: another run is writing there; wait for its end or give another folder."
        ) from error
    except OSError:
        return  # some network disks have no locks


def _sweep(path: Path) -> None:
    """Remove what killed runs left: drafts of files in the folder and of the folder itself."""
    for folder, stem in ((path, r".+"), (path.parent, re.escape(path.stem))):
        draft = re.compile(rf"\.{stem}{_MARK}[0-9a-f]{{8}}(\.\w+)?")
        with suppress(OSError):
            for found in folder.iterdir():
                if draft.fullmatch(found.name):
                    _remove(found)


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
        if not _exchange(draft, final):
            _replace_in_two(draft, final)
    else:
        draft.replace(final)
    _fsync(final.parent)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two folders in one step; False where the system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    return bool(rename(_HERE, os.fsencode(first), _HERE, os.fsencode(second), _EXCHANGE) == 0)


def _replace_in_two(draft: Path, final: Path) -> None:
    old = final.with_name(f".{final.name}.old-{secrets.token_hex(4)}")
    final.rename(old)
    try:
        draft.rename(final)
    except OSError:
        old.rename(final)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _remove(draft: Path) -> None:
    if draft.is_dir():
        shutil.rmtree(draft, ignore_errors=True)
    else:
        with suppress(OSError):
            draft.unlink()
