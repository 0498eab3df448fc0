"""A program of its own: walk over an HDF5 file, so that a crash or a hang of the library is this process's alone.

Attributes and texts are read, since there damage crashes the library; of numbers only where each chunk lies.
``_walk.py FILE SECONDS`` takes at most so many seconds of processor time. It ends with 0, or with 3 where the
file states a size that its content cannot have. Python errors are left to the reader, which has words for them.
"""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py

_TEXTS_AT_A_TIME = 100_000
_LEAST, _MOST_COMPRESSED = 1 << 30, 2000  # bytes that any file may unpack to; times that a file may grow


def walk(path: str) -> int:
    """Visit everything in the file; return the exit status."""
    largest = max(_LEAST, _MOST_COMPRESSED * Path(path).stat().st_size)
    is_false, seen = False, set()
    with suppress(Exception), h5py.File(path, "r") as file:
        waiting: list[Any] = [file]
        while waiting:
            thing = waiting.pop()
            with suppress(Exception):
                address = h5py.h5o.get_info(thing.id).addr
                if address in seen:
                    continue
                seen.add(address)
            _read_attributes(thing)
            if isinstance(thing, h5py.Dataset):
                with suppress(Exception):
                    is_false |= _is_larger(thing, largest)
            elif isinstance(thing, h5py.Group):
                waiting += _children(thing)
    return 3 if is_false else 0


def _children(group: h5py.Group) -> list[Any]:
    found, names = [], []
    with suppress(Exception):
        names = list(group)
    for name in names:
        with suppress(Exception):
            found.append(group[name])
    return found


def _read_attributes(thing: Any) -> None:
    names: list[str] = []
    with suppress(Exception):
        names = list(thing.attrs)
    for name in names:
        with suppress(Exception):
            thing.attrs[name]


def _is_larger(data: h5py.Dataset, largest: int) -> bool:
    """Whether a data set states more bytes than the file can hold; texts that it can hold are read."""
    if data.shape is None:
        return False
    if data.size * max(1, data.dtype.itemsize) > largest:
        return True
    if data.dtype.hasobject and data.ndim == 0:
        data[()]
    elif data.dtype.hasobject and data.ndim == 1:
        for start in range(0, data.size, _TEXTS_AT_A_TIME):
            data[start : start + _TEXTS_AT_A_TIME]
    elif data.chunks:
        data.id.chunk_iter(lambda _: None)
    return False


if __name__ == "__main__":
    limit = int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
    sys.exit(walk(sys.argv[1]))
