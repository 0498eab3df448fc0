"""``recluster``, and what the command line says about folders with results."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData
from helpers.fabricated import fabricate, run_record
from typer.testing import CliRunner

from scrae.cli import app
from scrae.errors import ScraeError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    adata = fabricate(120, 24, 3)
    record = run_record(adata) | {"config": {}, "label_key": None}
    (tmp_path / "out").mkdir()
    adata.write_h5ad(tmp_path / "out" / "result.h5ad")
    (tmp_path / "out" / "run.json").write_text(json.dumps(record))
    return tmp_path / "out"


def scrae(*arguments: object):
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)


def test_recluster_takes_a_number_and_names(folder: Path, tmp_path: Path) -> None:
    done = scrae("recluster", folder, "-k", 4)
    assert done.exit_code == 0
    assert "clusters  4" in done.stdout
    assert len(set((folder / "clusters.csv").read_text().split())) > 4
    (tmp_path / "names.csv").write_text("cluster,name\n0,T cells\n")
    assert scrae("recluster", folder, "--names", tmp_path / "names.csv").exit_code == 0
    assert json.loads((folder / "run.json").read_text())["n_clusters"] == 4
    assert "T cells" in (folder / "report.html").read_text(encoding="utf-8")


def test_options_that_exclude_each_other_are_refused(folder: Path) -> None:
    with pytest.raises(ScraeError, match="--n-clusters and --resolution both set the clusters"):
        scrae("recluster", folder, "-k", 4, "--resolution", 1)
    with pytest.raises(ScraeError, match="--cut, --n-clusters and --resolution all set the clusters"):
        scrae("recluster", folder, "-k", 4, "--cut", 3)
    with pytest.raises(ScraeError, match="expected a whole number or auto, found 'many'"):
        scrae("recluster", folder, "-k", "many")


def test_a_step_into_the_file_of_a_run_says_what_is_stale(folder: Path, tmp_path: Path) -> None:
    done = scrae("cluster", folder / "result.h5ad", "-o", folder / "result.h5ad", "--n-clusters", 2)
    assert f"To change the clusters in all files together: scrae recluster {folder}" in done.stderr
    done = scrae("cluster", folder / "result.h5ad", "-o", tmp_path / "other.h5ad", "--n-clusters", 2)
    assert "recluster" not in done.stderr
    done = scrae("significance", folder / "result.h5ad", "-o", folder / "result.h5ad")
    assert f"To show this in the report: scrae report {folder}\n" in done.stderr


def test_run_does_not_replace_results_unasked(folder: Path, tmp_path: Path) -> None:
    counts = np.random.default_rng(0).poisson(3.0, (40, 20)).astype(np.float32)
    AnnData(counts).write_h5ad(tmp_path / "cells.h5ad")
    before = (folder / "run.json").read_bytes()
    with pytest.raises(ScraeError, match="--overwrite to replace them"):
        scrae("run", tmp_path / "cells.h5ad", "-o", folder)
    assert (folder / "run.json").read_bytes() == before
    done = scrae(
        "run",
        tmp_path / "cells.h5ad",
        "-o",
        folder,
        "--overwrite",
        "--max-epochs",
        1,
        "--gene-selection",
        "deviance",
    )
    assert done.exit_code == 0
    assert json.loads((folder / "run.json").read_text())["n_cells"] == 40


def test_export_writes_beside_the_run(folder: Path) -> None:
    done = scrae("export", folder, "--to", "loupe-csv")
    assert done.exit_code == 0
    assert done.stdout.strip() == f"{folder}_loupe-csv"
    assert (folder.parent / "out_loupe-csv" / "cluster.csv").exists()
