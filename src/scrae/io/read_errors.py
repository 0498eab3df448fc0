"""The border to files of others: whatever their reading raises becomes one line that names the file."""

from __future__ import annotations

import gzip
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path

from scrae.errors import ScraeError

__all__ = ["is_gzip", "open_text", "reading"]


def is_gzip(path: Path) -> bool:
    """Whether a file is gzipped, by its content."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def open_text(path: Path) -> TextIOWrapper:
    """Open a text file in UTF-8, gzipped or not; a byte order mark is skipped."""
    if is_gzip(path):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Read a foreign file inside; any failure there is the file's and becomes a `ScraeError`.

    A damaged file can make h5py, zarr, pandas or anndata raise nearly any exception, so nearly any is caught:
    keep only calls of readers inside. Their warnings on old formats and doubled names are silenced: names are
    handled, and said, afterwards.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ScraeError:
        raise
    except MemoryError as error:
        raise ScraeError(f"{path} does not fit in memory as {what}, or states a false size.") from error
    except PermissionError as error:
        raise ScraeError(f"{path} cannot be opened: no permission to read it.") from error
    except UnicodeDecodeError as error:
        raise ScraeError(
            f"{path} could not be read as {what}; it is damaged or not in UTF-8 (byte {error.object[error.start]:#x} "
            f"at {error.start}): save it as UTF-8."
        ) from error
    except Exception as error:  # of any kind, by content
        reason = " ".join(str(error).split())[:200] or "no reason given"
        raise ScraeError(
            f"{path} could not be read as {what}; it is damaged, cut short or of another kind "
            f"({type(error).__name__}: {reason})."
        ) from error
