"""Downloads that break off, are too large or not the file at all."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from helpers.served import COUNTS, NAME, TABLE, entry

from scrae import datasets
from scrae.datasets import _download
from scrae.errors import ScraeError

pytest.importorskip("pooch", reason="the extra that downloads need")
pytestmark = pytest.mark.filterwarnings("ignore:tiny. no checksum is known:scrae.ScraeWarning")

KNOWN = f"sha256:{hashlib.sha256(TABLE).hexdigest()}"
OTHER = TABLE.replace(b"3", b"4")  # of the same length


def fetched(cache: Path) -> list[list[int]]:
    return datasets.fetch("tiny", cache=cache).X.toarray().tolist()


def left(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*.*"))


@pytest.mark.parametrize("checksum", [None, KNOWN])
@pytest.mark.parametrize("sends", ["length", "chunks"])
def test_an_interrupted_download_is_repeated(server, tmp_path, monkeypatch, checksum, sends):
    entry(monkeypatch, server.url, checksum)
    monkeypatch.setattr("time.sleep", lambda _: None)
    server.sends, server.cut_after, server.cuts = sends, 9, 2
    assert fetched(tmp_path) == COUNTS
    assert server.asked == 3


@pytest.mark.parametrize("sends", ["length", "chunks"])
def test_a_download_that_breaks_off_again_and_again_leaves_nothing(
    tiny, server, tmp_path, monkeypatch, sends
):
    monkeypatch.setattr(_download, "_RETRIES", 0)
    server.sends, server.cut_after, server.cuts = sends, 9, 1
    with pytest.raises(ScraeError) as caught:
        fetched(tmp_path)
    path = tmp_path / "tiny" / NAME
    assert str(caught.value).startswith(f"{server.url} could not be downloaded (")
    assert str(caught.value).endswith(f"). Try again; or download it by hand and put it at {path}.")
    assert "\n" not in str(caught.value)
    assert left(tmp_path) == []
    assert fetched(tmp_path) == COUNTS


def test_another_file_than_known_is_refused(server, tmp_path, monkeypatch):
    monkeypatch.setattr(_download, "_RETRIES", 0)
    entry(monkeypatch, server.url, KNOWN)
    server.content = OTHER
    with pytest.raises(ScraeError) as caught:
        fetched(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / 'tiny' / NAME} is not the known file: its checksum is not {KNOWN} (the catalogue). It was "
        "damaged on the way or changed by its publisher; remove it and fetch again, or give files that you trust to "
        "scrae datasets convert."
    )
    assert left(tmp_path) == []


def test_a_file_damaged_in_the_cache_is_downloaded_again(tiny, server, tmp_path):
    assert fetched(tmp_path) == COUNTS
    (tmp_path / "tiny" / NAME).write_bytes(OTHER)
    assert fetched(tmp_path) == COUNTS
    assert server.asked == 2


def test_a_web_page_is_not_the_file(tiny, server, tmp_path):
    server.content = b"\n<!DOCTYPE html><html>Please log in</html>"
    said = f"{server.url} answered with a web page, perhaps a login, not with {NAME}."
    with pytest.raises(ScraeError, match=re.escape(said)):
        fetched(tmp_path)
    assert left(tmp_path) == []


@pytest.mark.parametrize("sends", ["length", "chunks"])
def test_more_than_any_file_has_is_refused(tiny, server, tmp_path, monkeypatch, sends):
    monkeypatch.setattr(_download, "_LARGEST", 16)
    monkeypatch.setattr(_download, "_AT_A_TIME", 1)
    server.sends = sends
    with pytest.raises(
        ScraeError, match=r"it sends more than 16 bytes; no file of the catalogue has as many"
    ):
        fetched(tmp_path)
    assert server.asked == 1
    assert left(tmp_path) == []
