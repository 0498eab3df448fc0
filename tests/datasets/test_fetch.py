"""The cache: files come once, are compared with what is known of them, and what is refused leaves nothing."""

from __future__ import annotations

import gzip
import hashlib
import re
import sys
import warnings
from pathlib import Path

import pytest
from anndata import read_h5ad
from helpers.served import COUNTS, NAME, TABLE, command, entry

from scrae import datasets
from scrae.datasets import _download, _packed
from scrae.errors import ScraeError, ScraeWarning

pytest.importorskip("pooch", reason="the extra that downloads need")

trusting = pytest.mark.filterwarnings("ignore:tiny. no checksum is known:scrae.ScraeWarning")


def fetched(cache: Path) -> list[list[int]]:
    return datasets.fetch("tiny", cache=cache).X.toarray().tolist()


def left(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*.*"))


@trusting
def test_a_file_comes_once(tiny, server, tmp_path):
    seen: list[tuple[str, int, int | None]] = []
    adata = datasets.fetch(tiny, cache=tmp_path, on_bytes=lambda *told: seen.append(told))
    assert adata.X.toarray().tolist() == COUNTS
    assert set(seen) == {(NAME, len(TABLE), len(TABLE))}
    assert fetched(tmp_path) == COUNTS
    assert server.asked == 1
    assert left(tmp_path) == [NAME, f"{NAME}.sha256"]


def test_a_first_download_is_trusted_aloud_and_once(tiny, server, tmp_path):
    with pytest.warns(ScraeWarning) as said:
        fetched(tmp_path)
    assert [str(one.message) for one in said if one.category is ScraeWarning] == [
        f"tiny: no checksum is known of {NAME}. The first download is trusted; its SHA-256 is kept in "
        f"{tmp_path / 'tiny'} and later downloads are compared with it. Over http anybody on the way can change {NAME}."
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error", ScraeWarning)
        assert fetched(tmp_path) == COUNTS


@trusting
def test_the_first_checksum_is_written_and_held_against_the_file(tiny, server, tmp_path, monkeypatch):
    monkeypatch.setattr(_download, "_RETRIES", 0)
    fetched(tmp_path)
    path = tmp_path / "tiny" / NAME
    digest = hashlib.sha256(TABLE).hexdigest()
    assert (path.parent / f"{NAME}.sha256").read_text() == f"{digest}  {NAME}\n"
    server.content = TABLE.replace(b"3", b"4")
    path.write_bytes(server.content)
    with pytest.raises(
        ScraeError,
        match=rf"checksum is not sha256:{digest} \(one\.csv\.sha256, written at the first download",
    ):
        fetched(tmp_path)


@pytest.mark.parametrize("checksum", [
    f"sha256:{hashlib.sha256(TABLE).hexdigest()}",
    f"git:{hashlib.sha1(b'blob 18' + bytes(1) + TABLE).hexdigest()}",
])  # fmt: skip
def test_a_known_checksum_is_asked_for(server, tmp_path, monkeypatch, checksum):
    entry(monkeypatch, server.url, checksum)
    assert fetched(tmp_path / "good") == COUNTS
    monkeypatch.setattr(_download, "_RETRIES", 0)
    server.content = TABLE.replace(b"3", b"4")
    with pytest.raises(
        ScraeError, match=rf"checksum is not {checksum} \(the catalogue\)\. It was damaged on"
    ):
        fetched(tmp_path / "bad")
    assert left(tmp_path / "bad") == []


def test_git_s_own_id_of_a_blob(tmp_path):
    path = tmp_path / "hello"
    path.write_bytes(b"hello\n")
    assert _download._digest(path, "git") == "ce013625030ba8dba906f756967f9e9ca394464a"  # git hash-object


PACKED = gzip.compress(TABLE, mtime=0)


@trusting
@pytest.mark.parametrize(("content", "said"), [
    (PACKED[:-3], "one.csv.gz is not a whole gz file (Compressed file ended before the end-of-stream"),
    (PACKED[:-8] + bytes(8), "one.csv.gz is not a whole gz file (CRC check failed"),
    (TABLE, "one.csv.gz is not a whole gz file (Not a gzipped file"),
    (gzip.compress(bytes(101), mtime=0), "one.csv.gz unpacks to more than 100 bytes; no file of the catalogue does."),
])  # fmt: skip
def test_a_packed_file_is_read_to_its_end_before_it_is_trusted(server, tmp_path, monkeypatch, content, said):
    monkeypatch.setattr(_packed, "_LARGEST", 100)
    entry(monkeypatch, server.url, name=f"{NAME}.gz")
    server.content = content
    with pytest.raises(ScraeError, match=re.escape(said)):
        fetched(tmp_path)
    assert left(tmp_path) == []
    server.content = gzip.compress(TABLE, mtime=0)
    assert fetched(tmp_path) == COUNTS


@trusting
def test_offline_says_the_address_and_the_place(server, tmp_path, monkeypatch):
    entry(monkeypatch, server.url)
    monkeypatch.setattr("time.sleep", lambda _: None)
    server.socket.close()
    with pytest.raises(ScraeError) as caught:
        fetched(tmp_path)
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith(f"{server.url} could not be downloaded (")
    assert said.endswith(f"Try again; or download it by hand and put it at {tmp_path / 'tiny' / NAME}.")
    assert left(tmp_path) == []
    (tmp_path / "tiny").mkdir(exist_ok=True)
    (tmp_path / "tiny" / NAME).write_bytes(TABLE)
    assert fetched(tmp_path) == COUNTS


def test_a_set_without_an_address_is_fetched_by_hand(tmp_path):
    with pytest.raises(ScraeError) as caught:
        datasets.fetch("segerstolpe", cache=tmp_path)
    assert str(caught.value) == (
        "segerstolpe has no certain address: download pancreas_refseq_rpkms_counts_3514sc.txt and E-MTAB-5061.sdrf.txt "
        "from https://www.ebi.ac.uk/biostudies/arrayexpress/studies/E-MTAB-5061 and put them into "
        f"{tmp_path / 'segerstolpe'}, or give them to scrae datasets convert segerstolpe."
    )


def test_without_pooch_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ScraeError, match=r"needs pooch: pip install pooch\. Files"):
        datasets.fetch("klein", cache=tmp_path)


@trusting
def test_the_commands_write_an_h5ad(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out, ended = command(monkeypatch, "fetch", tiny, "--cache", "cache")
    assert ended == "0: "
    assert out.splitlines()[-1] == "tiny.h5ad: 2 cells x 2 genes, labels in cell_type"
    assert list(read_h5ad("tiny.h5ad").obs["cell_type"]) == ["d0", "d0"]
    out, ended = command(monkeypatch, "convert", tiny, f"cache/tiny/{NAME}", "-o", "again.h5ad")
    assert ended == "0: "
    assert read_h5ad("again.h5ad").X.toarray().tolist() == COUNTS
