"""`scrae significance` and `scrae subcluster`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData, read_h5ad
from scipy import sparse
from typer.testing import CliRunner

from scrae import tl
from scrae.cli import app
from scrae.errors import ScraeError

TYPES = np.repeat([0, 1], [120, 80])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An h5ad with two clusters of cells that are of two kinds."""
    rng = np.random.default_rng(0)
    counts = sparse.csr_matrix(rng.poisson(np.exp(np.outer(TYPES, rng.normal(0, 1.5, 40)) + 1)))
    z = (np.outer(TYPES, [20, 0]) + rng.normal(size=(200, 2))).astype(np.float32)
    adata = AnnData(counts.astype(np.float32), layers={"counts": counts}, obsm={"X_scrae": z})
    tl.cluster(adata, n_clusters=2)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


def test_the_verdicts_are_printed_and_written(file, monkeypatch):
    monkeypatch.setattr("scrae.tl._significance._LEAST_DRAWS", 0)
    done = CliRunner().invoke(app, ["significance", str(file), "-o", str(file), "--seed", "3"])
    assert done.exit_code == 0, done.output
    *lines, summary = done.stdout.splitlines()
    assert summary == "2 of 2 clusters are separated by a gap."
    assert [line.split()[:3] for line in lines] == [["0", "120", "cells"], ["1", "80", "cells"]]
    assert all("real: a gap separates it from its neighbors" in line for line in lines)
    assert list(read_h5ad(file).uns["scrae"]["significance"]["cluster_verdict"]) == ["real", "real"]


def test_a_cluster_is_divided(file, tmp_path):
    output = tmp_path / "divided.h5ad"
    done = CliRunner().invoke(app, ["subcluster", str(file), "0", "-o", str(output), "--n-clusters", "2"])
    assert done.exit_code == 0, done.output
    sizes = dict(line.split()[:2] for line in done.stdout.splitlines())
    assert sum(map(int, sizes.values())) == 120
    assert list(read_h5ad(output).obs["scrae"].cat.categories) == [*sizes, "1"] == ["0.0", "0.1", "1"]


def test_an_unknown_cluster(file, tmp_path):
    done = CliRunner().invoke(app, ["subcluster", str(file), "7", "-o", str(tmp_path / "x.h5ad")])
    assert isinstance(done.exception, ScraeError)
    assert not (tmp_path / "x.h5ad").exists()


def test_a_folder_is_renewed_and_an_h5ad_needs_an_output(file, tmp_path):
    for words in ([str(tmp_path), "0", "-o", "x.h5ad"], [str(file), "0"]):
        done = CliRunner().invoke(app, ["subcluster", *words])
        assert isinstance(done.exception, ScraeError)
        assert "expected the folder of a run, without -o" in str(done.exception)
