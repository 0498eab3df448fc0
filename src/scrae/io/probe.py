"""Probes of what is read: whether its disk responds, and whether an HDF5 file crashes or hangs the HDF5 library.

HDF5 files are opened in a process of their own. This probe does bounded work whatever the size of the file: it opens
up to 10,000 groups and data sets, reads up to 100 attributes of each, and the first values of texts; of numbers it
looks at the shape and at the place of the first chunk. Run as a program, ``probe.py FILE``, it ends with 0, or 3 if
the file states an impossible size. Python errors are left to the reader, which reports them.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from itertools import islice
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import h5py

if TYPE_CHECKING:
    import os

__all__ = ["try_hdf5"]

_SECONDS = 60.0  # of wall-clock time; a sound file takes less than one
_OBJECTS, _ATTRIBUTES, _TEXTS = 10_000, 100, 1000  # that are checked
_LEAST, _MOST_COMPRESSED = 1 << 30, 2000  # bytes that any file may unpack to; times that a file may grow
_FALSE_SIZE = 3


def try_hdf5(*paths: str | os.PathLike[str]) -> None:
    """Refuse files whose disk does not respond, and HDF5 files that crash or hang their library or state a false size.

    The command line calls this before it reads. In Python call it before `scrae.io.read` for files from unknown
    sources. It takes about half a second per file, whatever its size. Damage that the probe does not reach, in
    later chunks of a matrix, is left to the reader.

    Parameters
    ----------
    *paths : str or os.PathLike
        Files and folders of any kind; those that are missing are ignored.

    Raises
    ------
    ScraeError
        If the disk or the library does not finish within 60 seconds, the library crashes, or the file states a size
        that its content cannot have.
    """
    for path in map(Path, paths):
        _refuse_silent_disk(path)
        with suppress(OSError):  # the reader reports it
            if path.is_file() and h5py.is_hdf5(path):
                _probe(path)


def _refuse_silent_disk(path: Path) -> None:
    """Raise ScraeError if the beginning of a file or of a folder's first file cannot be had in time."""
    from scrae.errors import ScraeError

    def touch() -> None:
        with suppress(OSError):  # the reader reports it
            file = next((p for p in path.iterdir() if p.is_file()), None) if path.is_dir() else path
            if file is not None:
                with file.open("rb") as stream:
                    stream.read(1)

    thread = Thread(target=touch, daemon=True)
    thread.start()
    thread.join(_SECONDS)
    if thread.is_alive():
        raise ScraeError(
            f"{path} could not be read: its disk did not respond in {_SECONDS:g} seconds; try again when it does, or "
            "copy the file to another disk."
        )


def _probe(path: Path) -> None:
    from scrae.errors import ScraeError

    child = subprocess.Popen(  # noqa: S603  our own program
        [sys.executable, "-P", __file__, str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        status = child.wait(_SECONDS)
    except subprocess.TimeoutExpired as error:
        child.kill()
        with suppress(subprocess.TimeoutExpired):
            child.wait(1)  # a process that a disk blocks does not end
        raise ScraeError(
            f"{path}: the HDF5 library did not finish with this file in {_SECONDS:g} seconds; it is damaged, or its "
            "disk does not respond."
        ) from error
    except BaseException:
        child.kill()
        raise
    if status < 0:
        raise ScraeError(f"{path}: the HDF5 library cannot read this file (it crashes); it is damaged.")
    if status == _FALSE_SIZE:
        raise ScraeError(
            f"{path} states a size that its {path.stat().st_size} bytes cannot hold; it is damaged."
        )


def walk(path: str) -> int:
    """Look at the objects of the file; return the exit status."""
    largest = max(_LEAST, _MOST_COMPRESSED * Path(path).stat().st_size)
    is_false = False
    seen: set[int] = set()
    with suppress(Exception), h5py.File(path, "r") as file:
        waiting: list[Any] = [file]
        while waiting and len(seen) < _OBJECTS:
            found = waiting.pop()
            with suppress(Exception):
                address = h5py.h5o.get_info(found.id).addr
                if address in seen:
                    continue
                seen.add(address)
            for name in islice(_names(found.attrs), _ATTRIBUTES):
                with suppress(Exception):
                    found.attrs[name]
            if isinstance(found, h5py.Dataset):
                with suppress(Exception):
                    is_false |= _is_larger(found, largest)
            elif isinstance(found, h5py.Group):
                for name in islice(_names(found), _OBJECTS):
                    with suppress(Exception):
                        waiting.append(found[name])
    return _FALSE_SIZE if is_false else 0


def _names(mapping: Any) -> list[str]:
    with suppress(Exception):
        return list(mapping)
    return []


def _is_larger(data: h5py.Dataset, largest: int) -> bool:
    """Whether a data set states more bytes than the file can hold; otherwise its first values are checked."""
    if data.shape is None:
        return False
    if data.size * max(1, data.dtype.itemsize) > largest:
        return True
    if data.dtype.hasobject and data.ndim < 2:
        data[:_TEXTS] if data.ndim else data[()]
    elif data.chunks:
        data.id.get_chunk_info_by_coord((0,) * data.ndim)
    return False


if __name__ == "__main__":
    with suppress(ImportError):  # of Windows, which has no core files
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.exit(walk(sys.argv[1]))
