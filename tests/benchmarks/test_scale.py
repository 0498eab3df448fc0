from __future__ import annotations

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.scale import draw, read_profiles, write_cells
from scrae import ScraeError, io


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Two sets that share genes 10 to 29; type b of the first has a gene of its own, one cell has no label."""
    rng, paths = np.random.default_rng(1), []
    for name, first in (("one", 0), ("two", 10)):
        counts = rng.poisson(rng.lognormal(0, 1, 20) * 4, (40, 20))
        kind = np.repeat(["a", "b"], 20).astype(object)
        if name == "one":
            counts[:, 3] = np.where(kind == "b", 50, 0)
            kind[39] = None
        obs = pd.DataFrame({"cell_type": pd.Categorical(kind)}, index=[f"c{i}" for i in range(40)])
        made = ad.AnnData(sparse.csr_matrix(counts.astype(np.float32)), obs=obs)
        made.var_names = [f"g{i}" for i in range(first, first + 20)]
        made.write_h5ad(tmp_path / f"{name}.h5ad")
        paths.append(tmp_path / f"{name}.h5ad")
    return paths


def test_profiles_share_genes_by_name_and_types_are_named_by_set(paths):
    profiles = read_profiles(paths, 30)
    assert profiles.counts.shape == (79, 30)
    assert sorted(set(profiles.types)) == ["one a", "one b", "two a", "two b"]
    second = ad.read_h5ad(paths[1]).X.toarray()
    np.testing.assert_array_equal(profiles.counts[39:, 10:30].toarray(), second)
    assert profiles.counts[39:, :10].nnz == 0
    fewer = read_profiles(paths, 7)
    assert fewer.counts.shape == (79, 7)
    assert fewer.counts.getnnz(axis=0).min() >= np.sort(profiles.counts.getnnz(axis=0))[-7]


def test_made_cells_are_of_one_type_thin_and_never_equal(paths):
    profiles = read_profiles(paths, 30)
    counts, types = draw(profiles, 2000, np.random.default_rng(3))
    assert counts.nnz / 2000 / 30 == pytest.approx(0.05, abs=0.01)
    own = counts.toarray()[:, 3]
    assert own[types == "one b"].mean() > 0.2
    assert own[types != "one b"].sum() == 0
    again, _ = draw(profiles, 2000, np.random.default_rng(4))
    assert abs(again.astype(int) - counts.astype(int)).nnz > 0


def test_written_cells_are_read_back_whatever_the_blocks(paths, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.scale._ROWS", 64)
    profiles = read_profiles(paths, 30)
    density = write_cells(tmp_path / "made.h5ad", profiles, 150, seed=5)
    made = io.read(tmp_path / "made.h5ad")
    assert made.shape == (150, 30)
    assert made.layers["counts"].nnz == pytest.approx(density * 150 * 30)
    rng = np.random.default_rng(5)
    first = draw(profiles, 64, rng)
    np.testing.assert_array_equal(made.layers["counts"][:64].toarray(), first[0].toarray())
    assert list(made.obs["cell_type"][:64]) == list(first[1])


def test_profiles_without_labels_are_refused(paths, tmp_path):
    nameless = ad.read_h5ad(paths[0])
    nameless.obs["cell_type"] = pd.Categorical([None] * 40, ["a"])
    nameless.write_h5ad(tmp_path / "nameless.h5ad")
    with pytest.raises(ScraeError, match="expected labelled cells in the sets, found none"):
        read_profiles([tmp_path / "nameless.h5ad"], 30)


def test_the_table_of_records(tmp_path):
    record = {"format": 1, "kind": "scale", "cells": 10_000, "seconds": {"read": 1.5, "train": 40.4}}
    record |= {"peak_memory_mb": 812, "report_mb": 0.44, "scores": {"nmi": 0.8765}}
    from benchmarks.records import FORMAT

    (tmp_path / "r.jsonl").write_text(json.dumps(record | {"format": FORMAT}) + "\n")
    done = CliRunner().invoke(app, ["scale-table", str(tmp_path / "r.jsonl")])
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == "| 10,000 | 2 | 40 | 42 | 4.2 | 812 | 0.4 | 0.876 |"
