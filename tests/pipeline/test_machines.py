"""The command line on machines as they are: no home, locale C, umask 077, long paths, full disks, changing inputs."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.count_files import counts, table

import scrae
from scrae import ScraeError, Settings, cli
from scrae.pipeline import run as pipeline
from scrae.pipeline.provenance import states

LONG = "a path with blanks, umlauts äöü and 細胞 " + "x" * 130
SMALL = ["--max-epochs", "1", "--n-clusters", "2", "--min-cells", "0", "--gene-selection", "deviance"]
SETTINGS = Settings(
    preprocess=scrae.PreprocessConfig(min_cells=0, gene_selection="deviance"),
    train=scrae.TrainConfig(max_epochs=1),
    cluster=scrae.ClusterConfig(n_clusters=2),
)
POOR = {
    "HOME": "/nonexistent",
    "XDG_CACHE_HOME": "/nonexistent/cache",
    "LC_ALL": "C",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "COLUMNS": "60",
}


def scrae_run(*arguments: str | Path, shell: str = "", **changes: str) -> subprocess.CompletedProcess[str]:
    """Run the command line after a line of shell."""
    kept = {
        name: os.environ[name] for name in ("PATH", "PYTHONPATH", "OMP_WAIT_POLICY") if name in os.environ
    }
    command = ["sh", "-c", f'{shell} exec "$@"', "sh", sys.executable, "-m", "scrae", *map(str, arguments)]
    return subprocess.run(
        command, env=kept | POOR | changes, capture_output=True, encoding="utf-8", check=False
    )


@pytest.mark.parametrize(("threads", "zone"), [("1", "Pacific/Kiritimati"), ("64", "America/St_Johns")])
def test_a_run_without_home_in_locale_c_under_a_long_path(tmp_path: Path, threads: str, zone: str) -> None:
    folder = tmp_path / LONG
    folder.mkdir()
    table().to_df().astype(int).to_csv(folder / "Zählung.csv")
    done = scrae_run(
        "run",
        folder / "Zählung.csv",
        "-o",
        folder / "out",
        *SMALL,
        shell="umask 077;",
        OMP_NUM_THREADS=threads,
        TZ=zone,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    names = {"clusters.csv", "figures", "markers.csv", "model", "report.html", "result.h5ad", "run.json"}
    assert {path.name for path in (folder / "out").iterdir()} == names
    for name in names:
        assert stat.S_IMODE((folder / "out" / name).stat().st_mode) & 0o077 == 0, name
    assert (scrae.io.read_h5ad(folder / "out" / "result.h5ad").layers["counts"].toarray() == counts()).all()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "MemoryError"),
        (ImportError("x.so: failed to map segment from shared object"), "x.so: failed to map segment"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory:\nyou tried"),
            "DefaultCPUAllocator: can't",
        ),
    ],
)
def test_too_little_memory_is_one_line(
    error: Exception, reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    monkeypatch.setattr(sys, "argv", ["scrae", "run"])
    with pytest.raises(SystemExit, match="1"):
        cli.main()
    said = capsys.readouterr().err
    assert said.startswith(f"scrae: too little memory ({reason}")
    assert said.endswith("raise the limit or use a machine with more\n")
    assert said.count("\n") == 1
    if not isinstance(error, MemoryError):
        error = type(error)("something else")
        with pytest.raises(type(error), match="something else"):
            cli.main()


def test_files_larger_than_allowed_leave_no_result(tmp_path: Path) -> None:
    table().to_df().astype(int).to_csv(tmp_path / "a.csv")
    done = scrae_run(
        "preprocess", tmp_path / "a.csv", "-o", tmp_path / "p.h5ad", shell="ulimit -f 4; trap '' XFSZ;"
    )
    assert done.returncode == 1
    assert "p.h5ad could not be written: the file would be larger than allowed here" in " ".join(
        done.stderr.split()
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_an_input_that_is_replaced_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    table().to_df().astype(int).to_csv(path)
    read = pipeline.read_counts

    def read_and_replace(*arguments: object) -> object:
        adata = read(*arguments)  # type: ignore[arg-type]
        path.write_text(path.read_text().replace("1", "2"))
        return adata

    monkeypatch.setattr(pipeline, "read_counts", read_and_replace)
    with pytest.raises(
        ScraeError, match=r"a.csv: the input was changed or replaced while it was read; run again"
    ):
        scrae.run(path, tmp_path / "out", Settings())
    assert not (tmp_path / "out").exists()


def test_the_state_of_a_folder_is_that_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a").write_text("1")
    before = states([tmp_path])
    assert states([tmp_path]) == before
    (tmp_path / "inner" / "b").write_text("1")
    assert states([tmp_path]) != before


def test_a_disk_that_is_full_in_the_end_costs_neither_the_model_nor_earlier_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> None:
        adata = table()
        scrae.io.use_counts(adata)
        scrae.run(adata, tmp_path / "out", SETTINGS, device="cpu")

    def is_full(adata: object, path: Path) -> None:
        raise ScraeError(f"{path} could not be written: the disk is full; free some space.")

    with monkeypatch.context() as patch:
        patch.setattr(scrae.io, "write_h5ad", is_full)
        with pytest.raises(ScraeError, match=r"^\S*/out/result.h5ad could not be written: the disk is full"):
            run()
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"model", "clusters.csv", "figures"}
    scrae.load(tmp_path / "out" / "model")
    run()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    monkeypatch.setattr(scrae.io, "write_h5ad", is_full)
    with pytest.raises(ScraeError, match="the disk is full"):
        run()
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before
