"""Archives and packed files that are damaged or made to do harm."""

from __future__ import annotations

import bz2
import gzip
import io
import pickle
import tarfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from helpers.published import counts_of, tenx_archive, tenx_lists

from scrae.datasets import CATALOGUE, _packed, convert
from scrae.errors import ScraeError


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Where the archive of zheng68k is looked for; its labels are there."""
    path, annotation = (tmp_path / file.name for file in CATALOGUE["zheng68k"].files)
    annotation.write_text("celltype\tbarcodes\nX\tAAACATACACCCAA-1\n")
    return path


def packed(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> None:
    with tarfile.open(path, "w:gz") as file:
        for member, content in members:
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))


def member(name: str, kind: bytes = tarfile.REGTYPE, to: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, to
    return made


@pytest.mark.parametrize("bad", [
    member("../outside"), member("hg19/../../outside"), member("/outside"),
    member("matrix.mtx", tarfile.SYMTYPE, "/etc/passwd"), member("genes.tsv", tarfile.LNKTYPE, "../genes.tsv"),
    member("matrix.mtx", tarfile.FIFOTYPE), member("matrix.mtx", tarfile.CHRTYPE),
])  # fmt: skip
def test_links_devices_and_paths_out_of_the_archive_are_refused(archive, tmp_path, monkeypatch, bad):
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    before = sorted(tmp_path.rglob("*"))
    packed(archive, (bad, b"" if bad.type != tarfile.REGTYPE else b"harm"))
    with pytest.raises(ScraeError) as caught:
        convert("zheng68k", [tmp_path])
    assert str(caught.value) == (
        f"{archive} holds {bad.name!r}, a link, a device or a path out of the archive; expected files and folders "
        "only. Nothing of it was read; get it from its publisher."
    )
    assert sorted(tmp_path.rglob("*")) == sorted([*before, archive])


def test_an_archive_that_unpacks_to_too_much_is_refused(archive, tmp_path, monkeypatch):
    packed(archive, (member("hg19/matrix.mtx"), bytes(70_000)))
    assert archive.stat().st_size < 1000
    monkeypatch.setattr(_packed, "_LARGEST", 60_000)
    with pytest.raises(ScraeError, match="unpacks to more than 60,000 bytes; no file of the catalogue does"):
        convert("zheng68k", [tmp_path])


def test_an_unpacked_archive_of_too_much_is_refused(archive, tmp_path, monkeypatch):
    packed(archive, (member("a"), bytes(40_000)), (member("b"), bytes(40_000)))
    archive.with_suffix("").write_bytes(gzip.decompress(archive.read_bytes()))
    archive.unlink()
    monkeypatch.setattr(_packed, "_LARGEST", 60_000)
    with pytest.raises(ScraeError, match=r"matrices\.tar unpacks to more than 60,000 bytes"):
        convert("zheng68k", [tmp_path])


def test_a_packed_table_of_too_much_is_refused(tmp_path, monkeypatch):
    for file in CATALOGUE["klein"].files:
        (tmp_path / file.name).write_bytes(bz2.compress(b"Actb," + b"1," * 5000 + b"1\n"))
    monkeypatch.setattr(_packed, "_LARGEST", 10_000)
    with pytest.raises(ScraeError, match=r"d0_main\.csv\.bz2 unpacks to more than 10,000 bytes"):
        convert("klein", [tmp_path])


@pytest.mark.parametrize(("keep", "said"), [
    (slice(-9), "is not a whole gz file (Compressed file ended before the end-of-stream marker was reached)"),
    (slice(40, None), "is not a whole gz file (Not a gzipped file"),
])  # fmt: skip
def test_a_cut_archive_is_refused(archive, tmp_path, keep, said):
    tenx_archive(archive, tenx_lists(counts_of(0, 1), ["AAACATACACCCAA-1"]))
    archive.write_bytes(archive.read_bytes()[keep])
    with pytest.raises(ScraeError) as caught:
        convert("zheng68k", [tmp_path])
    assert f"{archive} {said}" in str(caught.value)
    assert str(caught.value).endswith("get it again from its publisher.")


def test_a_packed_file_that_is_no_archive_is_refused(archive, tmp_path):
    archive.write_bytes(gzip.compress(b"Actb,1\n"))
    with pytest.raises(
        ScraeError, match=r"could not be read as a tar archive of a 10x matrix; it is damaged"
    ):
        convert("zheng68k", [tmp_path])


def test_nothing_is_unpickled(tmp_path):
    """An object whose pickle would write a file stands where numbers are expected; it is not run."""
    trace = tmp_path / "trace"

    class Harm:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (trace,)

    harm = pickle.dumps(Harm())
    worm, mat = tmp_path / "worm_neuron_cell.h5", tmp_path / "GSM3017261_150000_CNS_nuclei.mat"
    worm.write_bytes(harm)
    mat.write_bytes(harm)
    for name in ("cao", "rosenberg"):
        with pytest.raises(ScraeError, match="damaged, cut short or of another kind"):
            convert(name, [tmp_path])
    with h5py.File(worm, "w") as file:
        file["X"], file["Y"] = np.array([np.void(harm)] * 2), np.ones(2)
    with pytest.raises(ScraeError):
        convert("cao", [tmp_path])
    assert not trace.exists()
