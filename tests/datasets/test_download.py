"""Downloads that are cut, gone on with, changed meanwhile, endless or not the file at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from helpers.served import COUNTS, NAME, TABLE, entry

from scrae import datasets
from scrae.datasets import _resume
from scrae.errors import ScraeError

pytest.importorskip("pooch", reason="the extra that downloads need")
pytestmark = pytest.mark.filterwarnings("ignore:tiny. no checksum is known:scrae.ScraeWarning")

KNOWN = f"sha256:{hashlib.sha256(TABLE).hexdigest()}"
DATE = "Sun, 17 Aug 2014 00:00:00 GMT"
OTHER = TABLE.replace(b"3", b"4")  # of the same length


def fetched(cache: Path) -> list[list[int]]:
    return datasets.fetch("tiny", cache=cache).X.toarray().tolist()


def left(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "tiny").iterdir())


def cut(server, cache: Path, after: int = 7) -> None:
    """Fetch from a server that breaks off."""
    server.cut_after = after
    with pytest.raises(ScraeError, match=r"ended after 7 of 18 bytes\)\. Try again, it goes on where it can"):
        fetched(cache)
    server.cut_after = None
    assert (cache / "tiny" / f"{NAME}.part").read_bytes() == TABLE[:after]
    assert not (cache / "tiny" / NAME).exists()


@pytest.mark.parametrize(("checksum", "version"), [
    (None, {"ETag": '"1"'}), (None, {"Last-Modified": DATE}),
    (None, {"ETag": 'W/"1"', "Last-Modified": DATE}), (KNOWN, {}),
])  # fmt: skip
def test_a_cut_download_is_gone_on_with(server, tmp_path, monkeypatch, checksum, version):
    entry(monkeypatch, server.url, checksum)
    server.extra = version
    cut(server, tmp_path)
    assert fetched(tmp_path) == COUNTS
    assert server.asked == ["", "bytes=7-"]
    assert left(tmp_path) == ([NAME] if checksum else [NAME, f"{NAME}.sha256"])


@pytest.mark.parametrize("versions", [
    [{"ETag": '"1"'}, {"ETag": '"2"'}],
    [{"ETag": 'W/"1"', "Last-Modified": DATE}, {"ETag": 'W/"1"', "Last-Modified": DATE.replace("2014", "2025")}],
])  # fmt: skip
def test_parts_of_two_versions_are_not_joined(tiny, server, tmp_path, versions):
    server.extra = versions[0]
    cut(server, tmp_path)
    server.extra, server.content = versions[1], OTHER
    assert fetched(tmp_path) == [[4, 0], [1, 2]]
    assert server.asked == ["", "bytes=7-"]


def test_without_version_or_checksum_it_begins_anew(tiny, server, tmp_path):
    cut(server, tmp_path)
    assert fetched(tmp_path) == COUNTS
    assert server.asked == ["", ""]


@pytest.mark.parametrize(("part", "ranges", "asked"), [
    (TABLE[:7], False, ["bytes=7-"]),  # a server without ranges sends the whole
    (TABLE, True, ["bytes=18-", ""]),  # nothing is left to send
])  # fmt: skip
def test_a_part_that_cannot_be_gone_on_with_is_replaced(server, tmp_path, monkeypatch, part, ranges, asked):
    entry(monkeypatch, server.url, KNOWN)
    server.knows_ranges = ranges
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / f"{NAME}.part").write_bytes(part)
    assert fetched(tmp_path) == COUNTS
    assert server.asked == asked
    assert left(tmp_path) == [NAME]


def test_a_damaged_part_is_seen_by_the_checksum(server, tmp_path, monkeypatch):
    entry(monkeypatch, server.url, KNOWN)
    cut(server, tmp_path)
    (tmp_path / "tiny" / f"{NAME}.part").write_bytes(OTHER[:7])
    with pytest.raises(ScraeError, match="It was damaged on the way, or changed by its publisher"):
        fetched(tmp_path)
    assert not list(tmp_path.rglob("*.*"))
    assert fetched(tmp_path) == COUNTS


def test_another_part_than_asked_for_is_refused(server, tmp_path, monkeypatch):
    entry(monkeypatch, server.url, KNOWN)
    cut(server, tmp_path)
    server.shift = 1
    with pytest.raises(ScraeError, match="the server sent another part than asked for"):
        fetched(tmp_path)
    assert (tmp_path / "tiny" / f"{NAME}.part").read_bytes() == TABLE[:7]


def test_a_web_page_is_not_the_file(tiny, server, tmp_path):
    server.extra = {"Content-Type": "text/html; charset=utf-8"}
    with pytest.raises(ScraeError, match=r"answers with a web page, perhaps a login, not with the file\)"):
        fetched(tmp_path)
    assert not list(tmp_path.rglob("*.*"))


def test_chunks_show_their_end(tiny, server, tmp_path):
    server.sends, server.cut_after = "chunks", 9
    with pytest.raises(ScraeError, match=r"could not be downloaded \(IncompleteRead"):
        fetched(tmp_path)
    assert not (tmp_path / "tiny" / NAME).exists()
    server.cut_after = None
    assert fetched(tmp_path) == COUNTS


def test_a_file_without_end_or_checksum_is_refused(server, tmp_path, monkeypatch):
    server.sends = "nothing"
    entry(monkeypatch, server.url)
    with pytest.raises(
        ScraeError, match="does not say how long the file is, so that a cut could not be seen"
    ):
        fetched(tmp_path)
    entry(monkeypatch, server.url, KNOWN)
    assert fetched(tmp_path) == COUNTS


@pytest.mark.parametrize("sends", ["length", "chunks"])
def test_more_than_any_file_has_is_refused(tiny, server, tmp_path, monkeypatch, sends):
    monkeypatch.setattr(_resume, "_LARGEST", 17)
    server.sends = sends
    with pytest.raises(
        ScraeError, match=r"sends 18 bytes or more; no file of the catalogue has more than 17\."
    ):
        fetched(tmp_path)
    assert not list(tmp_path.rglob("*.*"))
