"""Verify downloaded archives before use, and extract them safely."""

from __future__ import annotations

import bz2
import gzip
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from shutil import copyfileobj

from scrae.errors import ScraeError
from scrae.io.read_errors import reading

__all__ = ["check_packed", "unpack"]

_LARGEST = 8 << 30  # bytes; the largest, Macosko's table, has 49,300 x 24,658 fields of about two
_AT_A_TIME = 1 << 20


def check_packed(found: Path, path: Path) -> None:
    """Read a file to its end if its name, which is that of `path`, is of a packed one; packings have checksums inside.

    Raises
    ------
    ScraeError
        The file is cut short, damaged or not packed so, or unpacks to more than any file of the catalogue.
    """
    if path.suffix not in (".gz", ".bz2"):
        return
    size = 0
    try:
        with gzip.open(found) if path.suffix == ".gz" else bz2.open(found) as file:
            while block := file.read(_AT_A_TIME):
                size += len(block)
                if size > _LARGEST:
                    raise _too_large(path)
    except (EOFError, OSError, zlib.error) as error:
        raise ScraeError(
            f"{path} is not a whole {path.suffix[1:]} file ({error}): it is cut short, damaged or of another kind; get "
            "it again from its publisher."
        ) from error


def unpack(path: Path, folder: Path) -> None:
    """Unpack a tar archive, packed or not, into a folder.

    Raises
    ------
    ScraeError
        The archive is damaged; it holds a link, a device or a path that leads out of it; or it is larger than any
        of the catalogue's.
    """
    size = 0
    with reading(path, "a tar archive of a 10x matrix"), tarfile.open(path) as archive:
        for member in archive:
            parts = PurePosixPath(member.name).parts
            if member.name.startswith("/") or ".." in parts or not (member.isfile() or member.isdir()):
                raise ScraeError(
                    f"{path} holds {member.name!r}, a link, a device or a path out of the archive; expected files and "
                    "folders only. Nothing of it was read; get it from its publisher."
                )
            size += member.size
            if size > _LARGEST:
                raise _too_large(path)
            target = folder.joinpath(*parts)
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            source = archive.extractfile(member)
            assert source is not None  # a plain file has content
            with target.open("xb") as out:
                copyfileobj(source, out, _AT_A_TIME)


def _too_large(path: Path) -> ScraeError:
    return ScraeError(
        f"{path} unpacks to more than {_LARGEST:,} bytes; no file of the catalogue does. It is not the published file; "
        "get it from its publisher."
    )
