"""Files of the catalogue in a cache: fetched once, gone on with after a cut, compared with what is known of them."""

from __future__ import annotations

import hashlib
import logging
import shutil
import warnings
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

from scrae.datasets._entry import DataSet, SourceFile
from scrae.datasets._packed import check_packed
from scrae.datasets._resume import fill, forget
from scrae.errors import ScraeError, ScraeWarning
from scrae.files import exclusive_lock, write_text

__all__ = ["OnBytes", "obtain"]

OnBytes = Callable[[str, int, int | None], None]  # name of the file, bytes that are here, bytes of the whole

_AT_A_TIME = 1 << 20


def obtain(wanted: DataSet, cache: Path | None = None, on_bytes: OnBytes | None = None) -> list[Path]:
    """Return the files of a set in the cache, in its order; those that are not there are fetched.

    See `scrae.datasets.fetch` for the cache and for what is raised.
    """
    pooch = _pooch()
    folder = (Path(pooch.os_cache("scrae")) if cache is None else cache) / wanted.name
    paths = [folder / file.name for file in wanted.files]
    by_hand = [
        file.name
        for file, path in zip(wanted.files, paths, strict=True)
        if file.url is None and not path.is_file()
    ]
    if by_hand:
        raise ScraeError(
            f"{wanted.name} has no certain address: download {' and '.join(by_hand)} from {wanted.page} and put "
            f"them into {folder}, or give them to scrae datasets convert {wanted.name}."
        )
    with exclusive_lock(folder):
        _say_trusted(wanted, paths)
        for file, path in zip(wanted.files, paths, strict=True):
            if path.is_file():
                _compare(file, path, path)
            else:
                _download(pooch, file, path, on_bytes)
    return paths


def _say_trusted(wanted: DataSet, paths: list[Path]) -> None:
    """Warn of files that there is nothing to compare with, neither in the catalogue nor from an earlier time."""
    files = [
        file
        for file, path in zip(wanted.files, paths, strict=True)
        if file.checksum is None and not _record(path).is_file()
    ]
    if not files:
        return
    plain = [file.name for file in files if (file.url or "").startswith("http:")]
    way = f" By http anybody on the way can change {' and '.join(plain)}." if plain else ""
    warnings.warn(
        f"{wanted.name}: no checksum is known of {', '.join(file.name for file in files)}. What comes first is "
        f"trusted; its SHA-256 is kept in {paths[0].parent} and compared from then on.{way}",
        ScraeWarning,
        stacklevel=4,  # the caller of fetch
    )


def _pooch() -> Any:
    try:
        import pooch
    except ImportError as error:
        raise ScraeError(
            "Fetching data sets needs pooch: pip install pooch. Files that you have need nothing: "
            "scrae datasets convert."
        ) from error
    pooch.get_logger().setLevel(logging.WARNING)  # what it would say is said here
    return pooch


def _download(pooch: Any, file: SourceFile, path: Path, on_bytes: OnBytes | None) -> None:
    """Fetch a file under its final name, whole and compared, or not at all."""
    part = path.with_name(f"{path.name}.part")

    def go_on(url: str, output: Any, _: Any) -> None:
        try:
            fill(
                url, part, known=file.checksum is not None,
                on_bytes=lambda here, whole: on_bytes(file.name, here, whole) if on_bytes else None,
            )  # fmt: skip
            _compare(file, part, path)
        except ScraeError:
            forget(part)  # it would be gone on with
            raise
        shutil.move(part, output)
        forget(part)

    try:
        pooch.retrieve(file.url, known_hash=None, fname=path.name, path=path.parent, downloader=go_on)
    except (OSError, HTTPException) as error:
        reason = " ".join(str(getattr(error, "reason", error)).split()) or type(error).__name__
        raise ScraeError(
            f"{file.url} could not be downloaded ({reason}). Try again, it goes on where it can; or download it by "
            f"hand and put it at {path}."
        ) from error


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _compare(file: SourceFile, found: Path, path: Path) -> None:
    """Compare a file with its checksum: the catalogue's, or that of the first time, which is written down then."""
    record = _record(path)
    if file.checksum is not None:
        kind, _, expected = file.checksum.partition(":")
        source = "the catalogue"
    elif record.is_file():
        kind, source = "sha256", f"{record.name}, written when it first came"
        expected = record.read_text(encoding="utf-8").partition(" ")[0]
    else:
        check_packed(found, path)
        write_text(record, f"{_digest(found, 'sha256')}  {path.name}\n")
        return
    digest = _digest(found, kind)
    if digest != expected:
        raise ScraeError(
            f"{path} is not the file that is known: its {kind} checksum is {digest}, {source} says {expected}. "
            "It was damaged on the way, or changed by its publisher; remove it and fetch again, or give the files "
            "that you trust to scrae datasets convert."
        )


def _digest(path: Path, kind: str) -> str:
    """Return the SHA-256 of a file, or its id as a blob of git."""
    if kind == "git":
        digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    else:
        digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_AT_A_TIME):
            digest.update(block)
    return digest.hexdigest()
