"""Arrays that lie in unnamed files in place of the memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from scrae.errors import ScraeError

__all__ = ["gathered"]


def gathered(
    parts: Iterator[tuple[NDArray[Any], ...]], dtypes: tuple[DTypeLike, ...], folder: Path | None
) -> list[NDArray[Any]]:
    """Return the arrays of all parts, one after the other, a long one for each dtype.

    Parameters
    ----------
    parts
        Arrays [n] of these dtypes.
    folder
        Where the long arrays are put on the disk and mapped; the system reads what is used and keeps what fits. The
        files have no name, and are gone when the arrays are. None: they are in memory.

    Raises
    ------
    ScraeError
        The folder cannot be written, or the disk is full.
    """
    if folder is None:
        return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
    try:
        with ExitStack() as stack:
            files = [stack.enter_context(tempfile.TemporaryFile(dir=folder)) for _ in dtypes]
            for arrays in parts:
                for file, array, dtype in zip(files, arrays, dtypes, strict=True):
                    file.write(np.ascontiguousarray(array, dtype=dtype).data)
            return [_mapped(file, dtype) for file, dtype in zip(files, dtypes, strict=True)]
    except OSError as error:
        reason = error.strerror or str(error)
        raise ScraeError(f"{os.fspath(folder)}: scratch files could not be written: {reason}.") from error


def _mapped(file: Any, dtype: DTypeLike) -> NDArray[Any]:
    file.flush()
    size = file.tell()
    return np.memmap(file, dtype=dtype, mode="r+") if size else np.empty(0, dtype=dtype)
