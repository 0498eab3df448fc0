"""Foreign HDF5 files are first opened in a process of their own: damage can crash or hang the HDF5 library."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py

from scrae.errors import ScraeError

__all__ = ["try_hdf5"]

_SECONDS, _BYTES_A_SECOND = (
    30,
    20_000_000,
)  # of processor time, so that a busy machine or a slow disk does not count
_WALK = Path(__file__).with_name("_walk.py")


def try_hdf5(*paths: str | os.PathLike[str]) -> None:
    """Refuse HDF5 files that crash or hang the HDF5 library, or that state a false size; others pass unread.

    The command line asks this before it reads; it costs a third of a second a file. In Python ask it yourself
    before ``scrae.io.read`` where files come from strangers.

    Raises
    ------
    ScraeError
        The library crashes or hangs on a file, or the file states a size that its content cannot have.
    """
    for path in map(Path, paths):
        try:
            if not path.is_file() or not h5py.is_hdf5(path):
                continue
            seconds = _SECONDS + path.stat().st_size // _BYTES_A_SECOND
        except OSError:
            continue  # the reader says what is wrong
        _try(path, seconds)


def _try(path: Path, seconds: int) -> None:
    command = [sys.executable, "-P", str(_WALK), str(path), str(seconds)]
    status = subprocess.run(command, capture_output=True, check=False).returncode  # noqa: S603  our own program
    if status == -signal.SIGXCPU:
        raise ScraeError(
            f"{path}: the HDF5 library does not come to an end with this file in {seconds} seconds; it is damaged."
        )
    if status < 0:
        raise ScraeError(f"{path}: the HDF5 library cannot read this file (it crashes); it is damaged.")
    if status == 3:
        raise ScraeError(
            f"{path} states a size that its {path.stat().st_size} bytes cannot hold; it is damaged."
        )
