"""A download that can be gone on with: what has come lies in a part file, beside it the version that it is of."""

from __future__ import annotations

from collections.abc import Callable
from http.client import HTTPResponse
from pathlib import Path
from typing import cast
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from scrae.errors import ScraeError

__all__ = ["fill", "forget"]

_LARGEST = 2 << 30  # bytes; the largest of the catalogue's files, Rosenberg's, has about 2.2e8
_AT_A_TIME = 1 << 20
_PATIENCE = 60.0  # seconds without a byte


def fill(url: str, part: Path, *, known: bool, on_bytes: Callable[[int, int | None], None]) -> None:
    """Write what `url` holds to `part`; what is there already is not asked for again, if the server can do that.

    A part is gone on with if a checksum of the whole is `known`, or if the server says that it still has the version
    (ETag or date) that the part is of; so no two versions are joined unseen.

    Raises
    ------
    OSError, http.client.HTTPException
        Address not reached, connection cut, or an answer that cannot be the whole file; the part stays.
    ScraeError
        More bytes than any file of the catalogue has.
    """
    version = _version(part)
    here = part.stat().st_size if part.exists() and (known or version.is_file()) else 0
    try:
        answer = _ask(url, here, version)
    except HTTPError as error:
        if error.code != 416:  # nothing is left to ask for: whether that is the whole cannot be told
            raise
        answer, here = _ask(url, 0, version), 0
    with answer:
        if answer.status != 206:
            here = 0
        elif not answer.headers.get("Content-Range", "").startswith(f"bytes {here}-"):
            raise OSError("the server sent another part than asked for")
        whole = _whole(answer, here, known)
        if not here:
            _write_version(answer, version)
        with part.open("ab" if here else "wb") as out:
            while block := answer.read(_AT_A_TIME):
                here += len(block)
                _refuse_large(url, here)
                out.write(block)
                on_bytes(here, whole)
    if whole is not None and here != whole:
        raise OSError(f"the connection ended after {here} of {whole} bytes")


def forget(part: Path) -> None:
    """Remove a part and what is known of it."""
    for path in (part, _version(part)):
        path.unlink(missing_ok=True)


def _version(part: Path) -> Path:
    return part.with_name(f"{part.name}.version")


def _ask(url: str, here: int, version: Path) -> HTTPResponse:
    headers = {"Range": f"bytes={here}-"} if here else {}
    if here and version.is_file():
        headers["If-Range"] = version.read_text(encoding="latin-1")
    request = Request(url, headers=headers)  # noqa: S310  the addresses are those of the catalogue
    return cast("HTTPResponse", urlopen(request, timeout=_PATIENCE))  # noqa: S310


def _whole(answer: HTTPResponse, here: int, known: bool) -> int | None:
    """Return how many bytes the whole file has; None where the end shows otherwise."""
    if answer.headers.get_content_type() == "text/html":
        raise OSError("the address answers with a web page, perhaps a login, not with the file")
    length = answer.headers.get("Content-Length")
    if length is not None:
        _refuse_large(answer.url, here + int(length))
        return here + int(length)
    if not (known or answer.chunked):
        raise OSError("the server does not say how long the file is, so that a cut could not be seen")
    return None


def _write_version(answer: HTTPResponse, version: Path) -> None:
    tag, date = (answer.headers.get(name, "") for name in ("ETag", "Last-Modified"))
    found = date if tag.startswith("W/") else tag or date  # a weak tag cannot be asked for with a range
    version.unlink(missing_ok=True)
    if found:
        version.write_text(found, encoding="latin-1")


def _refuse_large(url: str, size: int) -> None:
    if size > _LARGEST:
        raise ScraeError(
            f"{url} sends {size:,} bytes or more; no file of the catalogue has more than {_LARGEST:,}. It is not the "
            "published file; look at the set's page, and give the files that you trust to scrae datasets convert."
        )
