"""A program of its own: walk over an HDF5 file, so that a crash or a hang of the library is this process's alone.

Attributes and texts are read, since there damage crashes the library; of numbers only where each chunk lies.
``_walk.py FILE SECONDS`` takes at most so many seconds of processor time. It ends with 0, or with 3 where the
file states a size that its content cannot have. Python errors are left to the reader, which has words for them.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Any

import h5py

_TEXTS_AT_A_TIME = 100_000
_LEAST, _MOST_COMPRESSED = 1 << 30, 2000  # bytes that any file may unpack to; times that a file may grow


def walk(path: str) -> int:
    """Visit everything in the file; return the exit status."""
    largest = max(_LEAST, _MOST_COMPRESSED * Path(path).stat().st_size)
    false_sizes = []

    def visit(_: str, thing: Any) -> None:
        for name in thing.attrs:
            thing.attrs[name]
        if not isinstance(thing, h5py.Dataset) or thing.shape is None:
            return
        if thing.size * max(1, thing.dtype.itemsize) > largest:
            false_sizes.append(thing.name)
        elif thing.dtype.hasobject and thing.ndim <= 1:
            for start in range(0, thing.size, _TEXTS_AT_A_TIME):
                thing[()] if thing.ndim == 0 else thing[start : start + _TEXTS_AT_A_TIME]
        elif thing.chunks:
            thing.id.chunk_iter(lambda _: None)

    try:
        with h5py.File(path, "r") as file:
            file.visititems(visit)
    except Exception:
        return 0
    return 3 if false_sizes else 0


if __name__ == "__main__":
    limit = int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
    sys.exit(walk(sys.argv[1]))
