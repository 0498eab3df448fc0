from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData, read_h5ad
from typer.testing import CliRunner

import scrae
from benchmarks import annotation
from benchmarks.records import read


def test_every_lineage_is_one_of_the_lists():
    known = set(scrae.tl.cell_types()["lineage"])
    for lineages in annotation.LINEAGES.values():
        assert set(lineages.values()) <= known


def test_shares_of_cells_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    genes = ["CD3D", "CD3E", "CD2", "MS4A1", "CD79A", "CD19", *(f"Other{i}" for i in range(30))]
    kind = np.repeat([0, 1], [30, 10])
    rates = np.full((2, len(genes)), 1.0)
    rates[:, :6] = np.kron([[5.0, 0.01], [0.01, 5.0]], np.ones(3))
    adata = AnnData(np.random.default_rng(0).poisson(rates[kind]).astype(np.float32))
    adata.var_names = genes
    adata.obs["cell_type"] = np.array(["t", "b"])[kind]
    (tmp_path / "sets").mkdir()
    (tmp_path / "runs" / "made").mkdir(parents=True)
    adata.write_h5ad(tmp_path / "sets" / "made.h5ad")
    adata = read_h5ad(tmp_path / "sets" / "made.h5ad")
    scrae.io.use_counts(adata)
    adata.obs["scrae"] = np.where(np.arange(40) < 20, "0", "1")  # ten T cells are among the B cells
    adata.write_h5ad(tmp_path / "runs" / "made" / "result.h5ad")
    monkeypatch.setitem(annotation.LINEAGES, "made", {"t": "T cell", "b": "B cell"})
    output = tmp_path / "records.jsonl"
    command = ["study", "--data", str(tmp_path / "sets"), "--runs", str(tmp_path / "runs"), "-o", str(output)]
    done = CliRunner().invoke(annotation.app, [*command, "--sets", "made"])
    assert done.exit_code == 0, done.output
    (record,) = read(output)
    assert record["types"] == {"right": 1.0, "attainable": 1.0, "unknown": 0.0, "without_own": 0.0}
    assert record["clusters"]["attainable"] == 0.75
    assert record["clusters"]["right"] == 0.75
    assert annotation._table([record]).rows[0] == ["made", "types", "1.000", "1.000", "0.000", "0.000"]
