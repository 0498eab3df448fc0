"""Atomic writes of files, folders and sets of files, and an exclusive lock on output folders."""

from __future__ import annotations

import errno
import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from .errors import ScraeError

__all__ = ["READY", "atomic_path", "exclusive_lock", "printable", "replaced_together", "write_text"]

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
_HOST = re.sub(r"\W", "_", platform.node()) or "unknown"
_DRAFT, _OLD = "draft", "old"
_MARKED = re.compile(
    rf"\.(?P<stem>.+)\.scrae-(?P<kind>{_DRAFT}|{_OLD})-(?P<host>\w+)-(?P<pid>\d+)-[0-9a-f]{{8}}(?P<suffix>\.\w+)?"
)
_LONE_SURROGATES = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_LOCK_FILE = ".scrae.lock"
READY = ".scrae.ready"
"""Complete new files that replace those of the folder around it."""
_GONE = ".gone"
"""Names of files to remove, in a folder of new files."""
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP)


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file or a folder beside its final name and move it into place when it is complete.

    ``with atomic_path("out/result.h5ad") as draft: ...`` creates `draft`, a file or a folder, inside the block. At
    the end of the block it is flushed to the disk and replaces what had the final name. If the block raises, the
    draft is removed and the old file or folder stays as it was. Missing parent folders are created.

    A file is replaced in one step. To replace a folder, the old one is first renamed; if the process is killed
    between these two steps, `exclusive_lock` on the parent folder restores the old one.

    Parameters
    ----------
    path : str or os.PathLike
        Final name. A symbolic link is followed.

    Yields
    ------
    pathlib.Path
        Path of the draft: hidden, in the same folder, with the same suffix. Its name holds the host and process.

    Raises
    ------
    ScraeError
        If the disk is full or read-only, a permission is missing, or the name is taken by the other kind. Any
        `OSError` of the block counts as a failure to write.
    """
    final = Path(os.path.realpath(path))
    draft = _beside(final, _DRAFT)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        _flush(draft)
        _move(draft, final)
    except OSError as error:
        raise ScraeError(f"{os.fspath(path)} could not be written: {_reason(error)}.") from error
    finally:
        _remove(draft)


@contextmanager
def replaced_together(
    folder: str | os.PathLike[str], names: Sequence[str], *, keep: str | None = None
) -> Iterator[Path]:
    """Write files that replace those of a folder all together, or not at all.

    The block writes into a hidden folder. At its end, one renaming decides that the new files count; then each takes
    its place. If the process is killed before the decision, the old files stay. If it is killed after it,
    `exclusive_lock` on the folder completes the replacement. Other files of the folder stay.

    Parameters
    ----------
    folder : str or os.PathLike
        The folder, locked by `exclusive_lock`.
    names : sequence of str
        Files and folders that belong together: those that the block does not write are removed.
    keep : str or None
        If the block raises after it wrote this file, what it wrote counts; None = then the old files stay.

    Yields
    ------
    pathlib.Path
        Folder for the new files.

    Raises
    ------
    ScraeError
        As `atomic_path`.
    """
    final = Path(os.path.realpath(folder))
    draft = _beside(final / "results", _DRAFT)
    try:
        draft.mkdir(parents=True)
        try:
            yield draft
        except Exception as error:  # of any kind: what was written may count
            if keep is not None and (draft / keep).exists():
                _decide(draft, final, names)
            if isinstance(error, ScraeError):  # it names a file of the draft
                raise ScraeError(str(error).replace(str(draft), os.fspath(folder))) from error
            raise
        _decide(draft, final, names)
    except OSError as error:
        raise ScraeError(f"{os.fspath(folder)} could not be written: {_reason(error)}.") from error
    finally:
        _remove(draft)


def _decide(draft: Path, folder: Path, names: Sequence[str]) -> None:
    gone = [name for name in names if not (draft / name).exists()]
    (draft / _GONE).write_text("\n".join(gone), encoding="utf-8")
    _flush(draft)
    draft.rename(folder / READY)
    _fsync(folder)
    _complete(folder)


def _complete(folder: Path) -> None:
    """Put new files in place, also those that a killed process left after its decision."""
    ready = folder / READY
    if not ready.is_dir():
        return
    for new in sorted(ready.iterdir()):
        if new.name != _GONE:
            _move(new, folder / new.name)
    with suppress(FileNotFoundError):
        for name in filter(None, (ready / _GONE).read_text(encoding="utf-8").split("\n")):
            _remove(folder / name)
    _remove(ready)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text to a file atomically; see `atomic_path`.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    text : str
        Its content; line ends are written as they are.
    """
    with atomic_path(path) as draft:
        draft.write_text(printable(text), encoding="utf-8", newline="")


def printable(text: str) -> str:
    """Return a text as UTF-8 can hold it, also with a path in it that Python decoded in the locale C."""
    known = _LONE_SURROGATES.sub("\ufffd", text)
    return known.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


@contextmanager
def exclusive_lock(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Keep other runs out of a folder while the block runs.

    The folder is created if it is missing, and removed at the end if it is still empty. The operating system
    releases the lock when the process ends, even if it is killed. A replacement by `replaced_together` that a killed
    process had decided on is completed. Drafts of processes that are no longer alive are removed; those of living
    processes and of other hosts stay.

    Parameters
    ----------
    folder : str or os.PathLike
        The folder to lock, by the file ``.scrae.lock`` in it. File systems without locks are used unlocked.

    Raises
    ------
    ScraeError
        If another run holds the lock, or the folder cannot be created or written.
    """
    path = Path(os.path.realpath(folder))
    created = [p for p in (path, *path.parents) if not p.exists()]
    owner = f"process {os.getpid()} on {platform.node()}"
    lock_file = path / _LOCK_FILE
    lock = FileLock(lock_file, timeout=0)
    try:
        if created:
            _sweep(path)  # a process was killed while it replaced the folder
        path.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        lock_file.write_text(owner, encoding="utf-8")
    except Timeout as error:
        raise ScraeError(
            f"{os.fspath(folder)}: another run{_owner(lock_file)} is writing there; wait for its end or give another "
            "folder."
        ) from error
    except OSError as error:
        raise ScraeError(f"{os.fspath(folder)} could not be written: {_reason(error)}.") from error
    try:
        try:
            _complete(path)
        except OSError as error:
            raise ScraeError(f"{os.fspath(folder)} could not be written: {_reason(error)}.") from error
        _sweep(path)
        yield
    finally:
        with suppress(OSError):  # a block that replaced the folder took the lock file with it
            if lock_file.read_text(encoding="utf-8") == owner:
                lock_file.unlink()
        lock.release()
        for empty in created:
            with suppress(OSError):
                empty.rmdir()


def _owner(lock_file: Path) -> str:
    with suppress(OSError):
        if owner := lock_file.read_text(encoding="utf-8", errors="replace"):
            return f" ({owner})"
    return ""


def _beside(final: Path, kind: str) -> Path:
    """Return a new hidden name beside `final`, marked with this process."""
    mark = f"scrae-{kind}-{_HOST}-{os.getpid()}-{secrets.token_hex(4)}"
    return final.with_name(f".{final.stem}.{mark}{final.suffix}")


def _sweep(path: Path) -> None:
    """Remove drafts of dead processes in the folder, and of the folder itself beside it; restore what they renamed."""
    for folder in (path, path.parent):
        with suppress(OSError):
            for found in list(folder.iterdir()):
                marked = _MARKED.fullmatch(found.name)
                if marked is None or _may_be_alive(marked["host"], int(marked["pid"])):
                    continue
                final = folder / f"{marked['stem']}{marked['suffix'] or ''}"
                if folder != path and final != path:
                    continue
                if marked["kind"] == _OLD and not final.exists():
                    found.rename(final)
                else:
                    _remove(found)


def _may_be_alive(host: str, pid: int) -> bool:
    if host != _HOST or os.name == "nt":  # where a signal of 0 would end the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


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
        old = _beside(final, _OLD)
        final.rename(old)
        try:
            draft.rename(final)
        except OSError:
            old.rename(final)
            raise
        _remove(old)
    else:
        draft.replace(final)
    _fsync(final.parent)


def _remove(draft: Path) -> None:
    if draft.is_dir():
        shutil.rmtree(draft, ignore_errors=True)
    else:
        with suppress(OSError):
            draft.unlink()
