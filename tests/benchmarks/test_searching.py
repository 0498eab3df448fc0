"""The instrument that times neighbours, clusters and pictures of many cells."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.searching import overlap


def test_the_overlap_of_rows_by_hand() -> None:
    found = np.array([[1, 2, 3], [4, 5, 6]])
    np.testing.assert_allclose(overlap(found, np.array([[3, 1], [7, 6]])), [1.0, 0.5])


def test_exact_neighbours_come_first_and_agree_with_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scrae.cluster.neighbors._EXACT", 300)
    rng = np.random.default_rng(0)
    kind = np.arange(600) % 3
    obs = pd.DataFrame({"cell_type": pd.Categorical(kind.astype(str))}, index=[f"c{i}" for i in range(600)])
    places = {key: (np.eye(3)[kind] * 20 + rng.normal(size=(600, 3))) for key in ("X_scrae", "X_scrae_input")}
    AnnData(np.zeros((600, 1)), obs=obs, obsm=places).write_h5ad(tmp_path / "result.h5ad")
    arguments = ["scale-search", "--result", str(tmp_path / "result.h5ad"), "--no-pictures"]
    done = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path / "r.jsonl")])
    assert done.exit_code == 0, done.output
    records = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [(r["what"], r["exact"], r.get("seed")) for r in records] == [
        ("neighbours", True, None),
        ("clusters", True, 0),
        ("clusters", True, 1),
        ("neighbours", False, None),
        ("clusters", False, 0),
        ("clusters", False, 1),
    ]
    assert records[0]["recall_X_scrae"] == records[0]["recall_X_scrae_input"] == 1.0
    assert records[3]["recall_X_scrae"] > 0.99  # nearly all cells are searched
    assert [r["nmi_with_types"] for r in records if r["what"] == "clusters"] == [1.0] * 4
