"""One run at a time in a folder; a folder that cannot be written; what a killed run left."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse

import scrae
from scrae import ScraeError, files, io
from scrae.files import atomic_path, exclusive_lock, write_text


def python(program: str, folder: Path, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(program)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, **options)


def test_a_second_run_is_kept_out_until_the_first_one_ends(tmp_path: Path):
    folder = tmp_path / "out"
    with exclusive_lock(folder):
        with pytest.raises(ScraeError) as error, exclusive_lock(folder):
            pytest.fail("two at a time")
        assert str(error.value) == (
            f"{folder}: another run (process {os.getpid()} on {platform.node()}) is writing there; wait for its end or "
            "give another folder."
        )
        done = python("from scrae.files import exclusive_lock\nwith exclusive_lock('out'): pass", tmp_path)
        assert f"another run (process {os.getpid()} on" in done.stderr
        (folder / "result").write_text("x")
    with exclusive_lock(folder):
        pass
    assert (folder / "result").read_text() == "x"
    assert [p.name for p in folder.iterdir()] == ["result"]


def test_a_disk_without_locks_is_used_unlocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("filelock.FileLock.acquire", fail)
    with exclusive_lock(tmp_path / "out"):
        (tmp_path / "out" / "result").write_text("x")
    assert (tmp_path / "out" / "result").read_text() == "x"


def test_a_lock_of_a_folder_that_is_replaced_leaves_the_lock_of_the_next_run(tmp_path: Path):
    with exclusive_lock(tmp_path / "model"):
        with atomic_path(tmp_path / "model") as draft:
            draft.mkdir()
        next_lock = tmp_path / "model" / ".scrae.lock"
        next_lock.write_text("process 1 on another")
    assert next_lock.read_text() == "process 1 on another"


def test_a_folder_that_stays_empty_is_not_left(tmp_path: Path):
    with exclusive_lock(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
    with pytest.raises(KeyError), exclusive_lock(tmp_path / "a" / "b"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "own").mkdir()
    with exclusive_lock(tmp_path / "own"):
        pass
    assert (tmp_path / "own").is_dir()


def test_a_killed_run_leaves_no_lock_and_its_drafts_are_removed(tmp_path: Path):
    program = """
        import os, signal
        from scrae.files import exclusive_lock, atomic_path
        with exclusive_lock("out"), atomic_path("out/a.txt") as draft, atomic_path("out") as folder:
            draft.write_text("half")
            folder.mkdir()
            os.kill(os.getpid(), signal.SIGKILL)
    """
    assert python(program, tmp_path).returncode == -signal.SIGKILL
    (tmp_path / "out" / ".mine.0123abcd").write_text("x")
    assert len(list(tmp_path.iterdir())) == 2
    with exclusive_lock(tmp_path / "out"):
        assert [p.name for p in tmp_path.iterdir()] == ["out"]
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [".mine.0123abcd", ".scrae.lock"]


@pytest.mark.parametrize("target", ["out.h5ad", "out/new.h5ad", "out", "other.h5ad"])
def test_drafts_of_living_processes_are_kept(tmp_path: Path, target: str):
    program = f"""
        from scrae.files import atomic_path
        with atomic_path({target!r}) as draft:
            draft.write_text("whole")
            print("ready", flush=True)
            input()
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(
        command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        with exclusive_lock(tmp_path / "out"):
            pass
        writer.communicate("\n")
    assert writer.returncode == 0
    assert (tmp_path / target).read_text() == "whole"


def test_drafts_of_other_targets_and_hosts_are_kept(tmp_path: Path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / "out").mkdir()
    kept = [
        f".out.scrae-draft-elsewhere-{dead.pid}-0123abcd",
        f".other.scrae-draft-{files._HOST}-{dead.pid}-0123abcd",
    ]
    kept.append(f".out.scrae-draft-{files._HOST}-{dead.pid}-0123abcd.h5ad")
    swept = [
        f".out.scrae-draft-{files._HOST}-{dead.pid}-0123abcd",
        f"out/.a.scrae-draft-{files._HOST}-{dead.pid}-0123abcd.csv",
    ]
    for name in (*kept, *swept):
        (tmp_path / name).write_text("x")
    with exclusive_lock(tmp_path / "out"):
        assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*kept, "out"])
        assert [p.name for p in (tmp_path / "out").iterdir()] == [".scrae.lock"]


def test_an_old_folder_is_restored_if_the_process_was_killed_between_the_two_renames(tmp_path: Path):
    program = """
        import os, signal
        from pathlib import Path
        from scrae.files import atomic_path
        rename = Path.rename
        def die(self, target):
            rename(self, target)
            os.kill(os.getpid(), signal.SIGKILL)
        Path.rename = die
        with atomic_path("out/model") as draft:
            draft.mkdir()
    """
    (tmp_path / "out" / "model").mkdir(parents=True)
    (tmp_path / "out" / "model" / "old").write_text("")
    assert python(program, tmp_path).returncode == -signal.SIGKILL
    assert not (tmp_path / "out" / "model").exists()
    with exclusive_lock(tmp_path / "out"):
        pass
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["model"]
    assert [p.name for p in (tmp_path / "out" / "model").iterdir()] == ["old"]


def test_a_file_in_place_of_the_folder(tmp_path: Path):
    (tmp_path / "out").write_text("x")
    expected = "out could not be written: a file stands where a folder is needed"
    with pytest.raises(ScraeError, match=expected), exclusive_lock(tmp_path / "out"):
        pytest.fail("a file is no folder")


@pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser can become another user")
def test_a_folder_of_another_user(tmp_path: Path):
    program = """
        import os, sys
        from scrae.files import exclusive_lock
        from scrae.errors import ScraeError
        os.setgid(65534)
        os.setuid(65534)
        for folder in ("out", "out/below"):
            try:
                with exclusive_lock(folder): pass
            except ScraeError as error:
                print(error)
    """
    (tmp_path / "out").mkdir(mode=0o755)
    for folder in (tmp_path, *tmp_path.parents[:-1]):
        if not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o001)
    done = python(program, tmp_path)
    reason = "could not be written: no permission; write elsewhere or have the permission changed."
    assert done.stdout.splitlines() == [f"out {reason}", f"out/below {reason}"], done.stderr


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 40 cells ready for training, and a model."""
    folder = tmp_path_factory.mktemp("prepared")
    adata = AnnData(sparse.csr_matrix(np.random.default_rng(0).poisson(2.0, (40, 300)).astype(np.float32)))
    adata.var["scrae_selected"] = True
    io.use_counts(adata)
    io.write_h5ad(adata, folder / "p.h5ad")
    scrae.save(scrae.tl.train(adata, train_config=scrae.TrainConfig(max_epochs=1)), folder / "model")
    return folder


LIMITED = """
    import resource, sys
    from scrae.core import checkpoint
    from scrae.cli import main
    checkpoint.Checkpoint.__init__.__kwdefaults__["seconds"] = 0.0
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    sys.argv = ["scrae", "train", "p.h5ad", "-o", "model", "--max-epochs", "2"]
    main()
"""


def test_a_full_disk_leaves_the_old_model_and_says_why(prepared: Path):
    before = {path.name: path.read_bytes() for path in (prepared / "model").iterdir()}
    done = python(LIMITED, prepared)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("scrae: ")
    assert "File too large" in last or "larger than allowed" in last
    assert "Traceback" not in done.stderr
    assert {path.name: path.read_bytes() for path in (prepared / "model").iterdir()} == before
    assert sorted(path.name for path in prepared.iterdir()) == ["model", "p.h5ad"]


def test_an_input_that_vanished_leaves_the_old_model(prepared: Path):
    before = {path.name: path.read_bytes() for path in (prepared / "model").iterdir()}
    done = python(LIMITED.replace("p.h5ad", "gone.h5ad"), prepared)
    assert done.stderr == "scrae: gone.h5ad does not exist; expected an h5ad.\n"
    assert done.returncode == 1
    assert {path.name: path.read_bytes() for path in (prepared / "model").iterdir()} == before


def test_text_that_python_decoded_in_the_locale_c(tmp_path):
    in_c = "Zählung.csv".encode().decode("ascii", "surrogateescape")
    write_text(tmp_path / "a.txt", f"{in_c} \ud800 \udcff")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "Zählung.csv \ufffd \ufffd"


NAMES = ("model", "a.csv", "b.csv", "c.csv")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder with results of an earlier run, without c.csv, and a file of the user."""
    folder = tmp_path / "out"
    (folder / "model").mkdir(parents=True)
    for name in ("a.csv", "b.csv", "model/weights", "mine.txt"):
        (folder / name).write_text("old")
    return folder


def write_new(folder: Path, **options: str) -> None:
    """Write new results, without b.csv."""
    with files.replaced_together(folder, NAMES, **options) as draft:
        (draft / "model").mkdir()
        for name in ("a.csv", "c.csv", "model/weights"):
            (draft / name).write_text("new")


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


OLD = {"a.csv": "old", "b.csv": "old", "model/weights": "old", "mine.txt": "old"}
NEW = {"a.csv": "new", "c.csv": "new", "model/weights": "new", "mine.txt": "old"}


def test_files_are_replaced_together_and_others_stay(old: Path):
    write_new(old)
    assert contents(old) == NEW


@pytest.mark.parametrize(("keep", "after"), [(None, OLD), ("c.csv", OLD), ("a.csv", NEW)])
def test_after_an_error_the_old_files_stay_or_what_was_written_counts(old: Path, keep, after):
    def fail_in_the_end() -> None:
        with files.replaced_together(old, NAMES, keep=keep) as draft:
            (draft / "model").mkdir()
            for name in ("a.csv", "model/weights"):
                (draft / name).write_text("new")
            raise KeyError

    with pytest.raises(KeyError):
        fail_in_the_end()
    assert contents(old) == {name: text for name, text in after.items() if name != "c.csv"}


class Killed(BaseException):
    """In place of a signal that no code can catch."""


@pytest.mark.parametrize("step", range(7))
def test_a_process_killed_at_any_step_leaves_the_old_files_or_all_new_ones(old: Path, monkeypatch, step):
    steps = iter(range(100))

    def until_killed(function):
        def wrapped(*arguments):
            if next(steps) == step:
                raise Killed
            return function(*arguments)

        return wrapped

    with monkeypatch.context() as patch:
        for name in ("_flush", "_fsync", "_move"):
            patch.setattr(files, name, until_killed(getattr(files, name)))
        with contextlib.suppress(Killed):
            write_new(old)
    decided = (old / files.READY).exists() or contents(old) == NEW
    with exclusive_lock(old):
        pass
    assert contents(old) == (NEW if decided else OLD)


def test_a_replacement_that_cannot_be_completed_is_one_line(old: Path):
    shutil.rmtree(old / "model")
    (old / "model").write_text("a file of the user")
    with pytest.raises(ScraeError, match="out could not be written: a file stands where a folder is needed"):
        write_new(old)
    with pytest.raises(ScraeError, match="a file stands where a folder is needed"), exclusive_lock(old):
        pass
    (old / "model").unlink()
    with exclusive_lock(old):
        pass
    assert contents(old) == NEW
