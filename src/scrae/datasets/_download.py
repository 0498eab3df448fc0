"""Downloads of the catalogue's files into a cache, verified before use."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scrae.datasets._entry import DataSet, SourceFile
from scrae.datasets._packed import check_packed
from scrae.errors import ScraeError, ScraeWarning
from scrae.files import exclusive_lock, write_text

__all__ = ["OnBytes", "obtain"]

OnBytes = Callable[[str, int, int | None], None]  # name of the file, bytes received, bytes of the whole file

_LARGEST = 2 << 30  # bytes; the largest of the catalogue's files, Rosenberg's, has about 2.2e8
_AT_A_TIME = 1 << 20
_TIMEOUT = 60.0  # seconds without a byte
_RETRIES = 2


def obtain(wanted: DataSet, cache: Path | None = None, on_bytes: OnBytes | None = None) -> list[Path]:
    """Return the files of a set in the cache, in its order; download those that are missing.

    See `scrae.datasets.fetch` for the cache and the errors.
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
        _warn_of_first_downloads(wanted, paths)
        store = pooch.create(
            path=folder,
            base_url="",
            registry={file.name: _sha256(file, path) for file, path in zip(wanted.files, paths, strict=True)},
            urls={file.name: file.url for file in wanted.files if file.url is not None},
            retry_if_failed=_RETRIES,
        )
        for file, path in zip(wanted.files, paths, strict=True):
            if file.url is None:
                _verify(file, path)
            else:
                _download(pooch, store, file, path, _Progress(file.name, on_bytes))
    return paths


def _pooch() -> Any:
    try:
        import pooch
    except ImportError as error:
        raise ScraeError(
            "Fetching data sets needs pooch: pip install pooch. Files that you have need nothing: "
            "scrae datasets convert."
        ) from error
    pooch.get_logger().setLevel(logging.WARNING)
    return pooch


def _warn_of_first_downloads(wanted: DataSet, paths: list[Path]) -> None:
    """Warn of files without a checksum, neither in the catalogue nor from an earlier download."""
    files = [
        file
        for file, path in zip(wanted.files, paths, strict=True)
        if file.checksum is None and not _record(path).is_file()
    ]
    if not files:
        return
    plain = [file.name for file in files if (file.url or "").startswith("http:")]
    way = f" Over http anybody on the way can change {' and '.join(plain)}." if plain else ""
    warnings.warn(
        f"{wanted.name}: no checksum is known of {', '.join(file.name for file in files)}. The first download is "
        f"trusted; its SHA-256 is kept in {paths[0].parent} and later downloads are compared with it.{way}",
        ScraeWarning,
        stacklevel=4,  # the caller of fetch
    )


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _sha256(file: SourceFile, path: Path) -> str | None:
    """Return the checksum for pooch: of the catalogue, or of the first download; git's ids it does not know."""
    if file.checksum is not None:
        return file.checksum if file.checksum.startswith("sha256:") else None
    record = _record(path)
    return f"sha256:{record.read_text(encoding='utf-8').partition(' ')[0]}" if record.is_file() else None


class _Progress:
    """Progress of a download in the form that pooch expects; refuses too large files."""

    total = 0

    def __init__(self, name: str, on_bytes: OnBytes | None) -> None:
        self.name, self.on_bytes, self.received = name, on_bytes, 0

    def update(self, n_bytes: int) -> None:
        self.received += n_bytes
        if max(self.total, self.received - _AT_A_TIME) > _LARGEST:  # pooch counts whole pieces
            raise OSError(f"it sends more than {_LARGEST:,} bytes; no file of the catalogue has as many")
        if self.on_bytes is not None and n_bytes:
            self.on_bytes(self.name, min(self.received, self.total or self.received), self.total or None)

    def reset(self) -> None:
        self.received = 0

    def close(self) -> None:
        pass


def _download(pooch: Any, store: Any, file: SourceFile, path: Path, progress: _Progress) -> None:
    """Download a file if it is missing or differs from its SHA-256; a new file is verified or removed."""
    was_there = path.is_file()
    downloader = pooch.HTTPDownloader(
        progressbar=progress, chunk_size=_AT_A_TIME, timeout=_TIMEOUT, headers={"Accept-Encoding": "identity"}
    )
    try:
        store.fetch(file.name, downloader=downloader)
        if store.registry[file.name] is None:  # else pooch has compared the SHA-256
            _verify(file, path)
    except ScraeError:
        if not was_there:
            path.unlink(missing_ok=True)
        raise
    except OSError as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ScraeError(
            f"{file.url} could not be downloaded ({reason}). Try again; or download it by hand and put it at {path}."
        ) from error
    except ValueError as error:  # of pooch: the checksum differs
        raise _differs(file, path, store.registry[file.name]) from error


def _verify(file: SourceFile, path: Path) -> None:
    """Compare a file with its checksum; without one, check its form and record the checksum of this first time."""
    record = _record(path)
    if file.checksum is None and not record.is_file():
        with path.open("rb") as opened:
            if opened.read(200).lstrip().lower().startswith((b"<!doctype html", b"<html")):
                raise ScraeError(
                    f"{file.url} answered with a web page, perhaps a login, not with {path.name}."
                )
        check_packed(path, path)
        write_text(record, f"{_digest(path, 'sha256')}  {path.name}\n")
        return
    expected = file.checksum or str(_sha256(file, path))
    kind, _, digits = expected.partition(":")
    if _digest(path, kind) != digits:
        raise _differs(file, path, expected)


def _differs(file: SourceFile, path: Path, expected: str) -> ScraeError:
    source = "the catalogue" if file.checksum else f"{_record(path).name}, written at the first download"
    return ScraeError(
        f"{path} is not the known file: its checksum is not {expected} ({source}). It was damaged on the way or "
        "changed by its publisher; remove it and fetch again, or give files that you trust to scrae datasets convert."
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
