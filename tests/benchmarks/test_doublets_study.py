from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.fabricated import fabricate, write_run
from typer.testing import CliRunner

from benchmarks import columns, doublets
from benchmarks.records import read


def test_sums_follow_the_cells():
    adata = fabricate(60, 24, 2)
    made = doublets._with_sums(adata, np.array([0, 1]), np.array([50, 51]))
    counts = adata.layers["counts"]
    assert made.n_obs == 62
    assert (made.layers["counts"][61] != counts[1] + counts[51]).nnz == 0
    assert made.obs["doublet"].sum() == 2


def test_rates_are_those_of_the_calls():
    truth = np.array([True, True, False, False])
    found = doublets._rates(truth, [0.9, 0.2, 0.3, 0.1], [True, False, True, False])
    assert found == {"auc": 0.75, "precision": 0.5, "recall": 0.5}


def test_the_study_finds_sums_of_types_that_differ(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(doublets, "_scrublet", lambda *_: None)
    monkeypatch.setattr(doublets, "_FEWEST", 10)
    monkeypatch.setattr("scrae.tl._doublets._FEWEST_CELLS", 50)
    output = tmp_path / "records.jsonl"
    command = ["study", "--data", str(sets), "-o", str(output), "--sets", "large", "--seeds", "1"]
    CliRunner().invoke(doublets.app, command, catch_exceptions=False)
    (record,) = read(output)
    assert record["cells"][0]["scrublet"] is None
    assert record["clusters"]["pairs"] == 3
    assert record["clusters"]["types"] == 9


def test_columns_that_divide_clusters_are_counted(tmp_path: Path):
    adata = fabricate(400, 24, 3)
    adata.obs["batch"] = np.where(adata.obs["scrae"] == "1", "a", np.where(np.arange(400) % 2, "b", "c"))
    folder = write_run(tmp_path / "out", adata)
    about = json.loads((folder / "run.json").read_text()) | {"batch_key": None, "label_key": None}
    (folder / "run.json").write_text(json.dumps(about))
    CliRunner().invoke(
        columns.app, [str(folder), "-o", str(tmp_path / "r.jsonl"), "--columns", "5"], catch_exceptions=False
    )
    (record,) = read(tmp_path / "r.jsonl")
    assert record["reported"] == {"batch": 1}
    assert record["false_alarms"]["random"] == 0
    assert record["own_columns"] == ["batch", "sample"]
