from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from benchmarks import batches
from benchmarks.records import read
from benchmarks.sets import DataSet


def test_methods_are_told_of_the_batch_and_not_of_the_type(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    data = ad.read_h5ad(sets / "small.h5ad")
    data.obs["donor"] = pd.Categorical(np.where(np.arange(60) % 2, "b", "a"))
    data.write_h5ad(sets / "small.h5ad")
    counts = batches._counts(sets / "small.h5ad", "donor")
    assert list(counts.obs.columns) == ["batch"]
    assert list(counts.obs["batch"][:3]) == ["a", "b", "a"]

    scored = []

    def score(data: DataSet, codes: np.ndarray, seed: int, batch_key: str) -> dict[str, float]:
        scored.append(codes)
        return dict.fromkeys(batches._COLUMNS, 0.5 + seed)

    monkeypatch.setattr(batches, "_score", score)
    monkeypatch.setattr("scrae.config._STEPS", 10)
    records, page = tmp_path / "batches.jsonl", tmp_path / "page.md"
    arguments = ["run", "--data", str(sets), "--sets", "small", "--batch-key", "donor", "-o", str(records)]
    arguments += ["--methods", "pca50,scrae,scrae-batch", "--seeds", "2", "--cache", str(tmp_path / "cache")]
    for _ in range(2):
        assert CliRunner().invoke(batches.app, arguments, catch_exceptions=False).exit_code == 0
    found = read(records)
    assert [(r["method"], r["seed"]) for r in found] == [
        (method, seed) for seed in range(2) for method in ("pca50", "scrae", "scrae-batch")
    ]
    assert found[2]["config"]["prior_weight_batched"] == 10.0
    assert found[0]["data"]["batch_key"] == "donor"
    assert not np.array_equal(scored[1], scored[2])
    page.write_text("<!-- tables -->\n<!-- end of tables -->\n")
    CliRunner().invoke(batches.app, ["table", str(records), "--into", str(page)], catch_exceptions=False)
    assert "| scrae-batch | 2 | 1.000 ± 0.707 |" in page.read_text()


def test_an_unknown_method_is_refused(sets: Path, tmp_path: Path):
    arguments = [
        "run",
        "--data",
        str(sets),
        "--sets",
        "small",
        "--methods",
        "pca50-batch",
        "-o",
        str(tmp_path / "r"),
    ]
    result = CliRunner().invoke(batches.app, arguments)
    assert "expected methods among pca50,scrae" in str(result.exception)
