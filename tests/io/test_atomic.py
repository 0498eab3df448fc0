"""A file or folder is whole under its name, or not there; and what was there before stays."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from helpers.count_files import counts, table
from scipy import sparse

from scrae.errors import ScraeError
from scrae.files import atomic_path, write_text
from scrae.io import write_h5ad


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_text_is_written_and_replaced(tmp_path):
    path = tmp_path / "run.json"
    write_text(path, "α\r\n")
    assert path.read_bytes() == "α\r\n".encode()
    write_text(str(path), "second")
    assert path.read_text() == "second"
    assert names(tmp_path) == ["run.json"]


def test_missing_folders_are_made(tmp_path):
    write_text(tmp_path / "a" / "b" / "c.txt", "x")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "x"


def test_the_draft_lies_beside_hidden_and_with_the_same_ending(tmp_path):
    with atomic_path(tmp_path / "figure.png") as draft:
        assert draft.parent == tmp_path
        assert draft.suffix == ".png"
        assert draft.name.startswith(".")
        assert not draft.exists()
        draft.write_text("x")
        assert names(tmp_path) == [draft.name]
    assert names(tmp_path) == ["figure.png"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_failure_inside_leaves_the_old_file_whole(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_half():
        with atomic_path(path) as draft:
            draft.write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_known_error_inside_passes_unchanged(tmp_path):
    with pytest.raises(ScraeError, match=r"^mine$"), atomic_path(tmp_path / "a.txt"):
        raise ScraeError("mine")
    assert names(tmp_path) == []


def fill(folder, text):
    (folder / "inner").mkdir(parents=True)
    (folder / "config.json").write_text(text)
    (folder / "inner" / "weights").write_text(text)


def test_a_folder_is_written_and_replaced_as_a_whole(tmp_path):
    model = tmp_path / "model"
    with atomic_path(model) as draft:
        fill(draft, "one")
    (model / "left over").write_text("x")
    with atomic_path(model) as draft:
        fill(draft, "two")
        assert (model / "config.json").read_text() == "one"
    assert names(model) == ["config.json", "inner"]
    assert (model / "inner" / "weights").read_text() == "two"
    assert names(tmp_path) == ["model"]


def test_a_failure_inside_leaves_the_old_folder_whole(tmp_path):
    model = tmp_path / "model"
    fill(model, "one")

    def write_half():
        with atomic_path(model) as draft:
            fill(draft, "two")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert (model / "inner" / "weights").read_text() == "one"
    assert names(tmp_path) == ["model"]


def test_a_folder_that_cannot_take_its_name_leaves_the_old_one(tmp_path, monkeypatch):
    model = tmp_path / "model"
    fill(model, "one")
    rename = Path.rename

    def refuse_drafts(self, target):
        if target == model and "-old-" not in self.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_drafts)
    with (
        pytest.raises(ScraeError, match=r"model could not be written: the disk is full"),
        atomic_path(model) as draft,
    ):
        fill(draft, "two")
    assert (model / "inner" / "weights").read_text() == "one"
    assert names(tmp_path) == ["model"]


def test_a_file_does_not_take_the_name_of_a_folder_nor_the_reverse(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(
        ScraeError, match="folder could not be written: a folder of that name is there; give another name"
    ):
        write_text(tmp_path / "folder", "x")
    (tmp_path / "file").write_text("old")
    with (
        pytest.raises(ScraeError, match="file could not be written: a file stands where a folder is needed"),
        atomic_path(tmp_path / "file") as draft,
    ):
        fill(draft, "x")
    with pytest.raises(
        ScraeError, match=r"below.txt could not be written: a file stands where a folder is needed"
    ):
        write_text(tmp_path / "file" / "below.txt", "x")
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file", "folder"]


def test_a_link_keeps_pointing_to_its_file(tmp_path):
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EDQUOT, "your disk quota is used up; free some space"),
        (errno.EACCES, "no permission; write elsewhere or have the permission changed"),
        (errno.EROFS, "it lies on a read-only disk; write elsewhere"),
        (errno.EIO, "Input/output error"),
    ],
)
@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace"])
def test_each_failure_of_the_disk_has_its_words(tmp_path, monkeypatch, number, reason, step):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(step, fail)
    with pytest.raises(ScraeError, match=rf"^{path} could not be written: {reason}\.$"):
        write_text(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_read_only_folder(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    tmp_path.chmod(0o500)
    with pytest.raises(ScraeError, match="no permission; write elsewhere or have the permission changed"):
        write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "old"
    tmp_path.chmod(0o700)


def test_h5ad_is_written_and_replaced(tmp_path):
    path = tmp_path / "result.h5ad"
    adata = table()
    write_h5ad(adata, path)
    adata.obs["cluster"] = ["0", "1"] * 5
    dtype = adata.obs["cluster"].dtype
    adata.uns["scrae"] = {"notes": ["one"], "filter": {"min_counts": None}}
    write_h5ad(adata, path)
    again = anndata.read_h5ad(path)
    np.testing.assert_array_equal(again.X.toarray(), counts())
    assert list(again.obs["cluster"]) == ["0", "1"] * 5
    assert adata.obs["cluster"].dtype == dtype  # what is written is not changed
    assert list(again.uns["scrae"]["notes"]) == ["one"]
    assert names(tmp_path) == ["result.h5ad"]


def test_an_anndata_that_h5ad_has_no_form_for(tmp_path):
    path = tmp_path / "result.h5ad"
    write_h5ad(table(), path)
    before = path.read_bytes()
    adata = table()
    adata.obs["mixed"] = pd.Series([1, "a", None, 2.5, {}] * 2, index=adata.obs_names, dtype=object)
    with pytest.raises(ScraeError, match=r"result.h5ad could not be written: .*mixed"):
        write_h5ad(adata, path)
    assert path.read_bytes() == before
    assert names(tmp_path) == ["result.h5ad"]


LIMITED = """
    import resource, signal, sys
    import numpy as np
    from anndata import AnnData
    from scipy import sparse
    from scrae.errors import ScraeError
    from scrae.files import atomic_path, write_text
    from scrae.io import write_h5ad

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    big = AnnData(sparse.random(3000, 300, density=0.3, format="csr", random_state=0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
    for write in (lambda: write_h5ad(big, "result.h5ad"), lambda: write_text("result.h5ad", "x" * 500_000)):
        try:
            write()
        except ScraeError as error:
            print(error)
"""


def test_a_file_larger_than_allowed_leaves_the_old_one(tmp_path):
    """A real failure in the middle of the HDF5 library's writing."""
    path = tmp_path / "result.h5ad"
    write_h5ad(AnnData(sparse.csr_matrix(np.eye(3))), path)
    before = path.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LIMITED)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    said = "result.h5ad could not be written: the file would be larger than allowed here; raise the limit"
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stderr
    assert all(line.startswith(said) for line in lines), lines
    assert done.returncode == 0
    assert path.read_bytes() == before
    assert names(tmp_path) == ["result.h5ad"]


def test_a_killed_process_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    program = """
        import os, signal
        from scrae.files import atomic_path
        with atomic_path("a.txt") as draft:
            draft.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=tmp_path, check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
