from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from typer.testing import CliRunner

from benchmarks import batch_scores, batches
from benchmarks.batch_methods import Embedded
from benchmarks.records import read
from benchmarks.sets import DataSet


def _brute_cilisi(codes: np.ndarray, batch: np.ndarray, types: np.ndarray) -> float:
    """Cell by cell, the kernel's width by a root finder."""
    values = []
    for cell in range(len(codes)):
        others = np.flatnonzero((types == types[cell]) & (np.arange(len(codes)) != cell))
        n_batches = len(set(batch[others]) | {batch[cell]})
        if n_batches < 2 or len(others) < 9:
            continue
        distance = np.linalg.norm(codes[others] - codes[cell], axis=1)
        nearest = np.argsort(distance)[:90]
        others, distance = others[nearest], distance[nearest] - distance[nearest[0]]
        perplexity = len(nearest) / 3

        def weights(rate: float, distance: np.ndarray = distance) -> np.ndarray:
            weight = np.exp(-rate * distance)
            return weight / weight.sum()

        def excess(rate: float, perplexity: float = perplexity) -> float:
            weight = weights(rate)
            return float(-(weight * np.log(weight)).sum() - np.log(perplexity))

        weight = weights(brentq(excess, 1e-9, 80))
        shares = [weight[batch[others] == one].sum() for one in np.unique(batch)]
        values.append((1 / np.square(shares).sum() - 1) / (n_batches - 1))
    return float(np.mean(values))


def test_cilisi_is_that_of_a_loop_over_cells():
    rng = np.random.default_rng(0)
    types = np.repeat(np.array(["a", "b", "c"], dtype=object), [150, 40, 5])
    batch = rng.choice(np.array(["x", "y", "z"], dtype=object), len(types))
    batch[types == "b"] = np.where(batch[types == "b"] == "z", "x", batch[types == "b"])
    codes = rng.normal(size=(len(types), 3)) + 0.7 * (batch == "x")[:, None]
    codes[types == "b"] += 20
    expected = _brute_cilisi(codes, batch, types)
    assert batch_scores.cilisi(codes, batch, types) == pytest.approx(expected, abs=1e-6)


def test_cilisi_is_0_for_batches_apart_and_near_1_for_mixed_ones():
    rng = np.random.default_rng(1)
    codes = rng.normal(size=(400, 2)).astype(np.float32)
    batch = np.array(["x", "y"], dtype=object)[np.arange(400) % 2]
    types = np.full(400, "a", dtype=object)
    assert batch_scores.cilisi(codes, batch, types) > 0.9
    assert batch_scores.cilisi(codes + 50 * (batch == "x")[:, None], batch, types) < 1e-6
    assert np.isnan(batch_scores.cilisi(codes, types, types))


def test_kept_neighbors_and_neighbors_of_a_type():
    line = np.arange(100.0)[:, None]
    assert batch_scores.kept_neighbors(line, 3 * line + 1) == 1
    assert batch_scores.kept_neighbors(line, np.random.default_rng(0).permutation(line)) < 0.5
    types = np.array(["a", "b"], dtype=object)[np.arange(100) // 50]
    apart = line + 1000 * (types == "b")[:, None]
    assert batch_scores.neighbors_of_type(apart, types, "a") == 1
    mixed = np.random.default_rng(0).normal(size=(100, 3))
    assert batch_scores.neighbors_of_type(mixed, types, "a") == pytest.approx(0.5, abs=0.1)


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

    def score(data: DataSet, embedded: Embedded, seed: int, batch_key: str) -> dict[str, float]:
        scored.append(embedded.codes)
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
    assert found[0]["data"]["batch_key"] == "donor"
    assert not np.array_equal(scored[1], scored[2])
    page.write_text("<!-- tables -->\n<!-- end of tables -->\n")
    CliRunner().invoke(batches.app, ["table", str(records), "--into", str(page)], catch_exceptions=False)
    assert "| scrae-batch | 2 | 1.000 ± 0.707 |" in page.read_text()


def test_harm_compares_with_the_uncorrected_run(sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("scrae.config._STEPS", 10)
    records = tmp_path / "harm.jsonl"
    arguments = ["harm", "--data", str(sets), "--sets", "small", "-o", str(records)]
    arguments += ["--methods", "scrae-batch", "--seeds", "1"]
    for _ in range(2):
        assert CliRunner().invoke(batches.app, arguments, catch_exceptions=False).exit_code == 0
    (found,) = read(records)
    assert (found["kind"], found["method"]) == ("harm", "scrae-batch")
    assert set(found["scores"]) == set(batches._HARM_COLUMNS)
    assert all(-1 <= value <= 1 for value in found["scores"].values())


def test_each_batch_is_left_out_in_turn(sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = ad.read_h5ad(sets / "small.h5ad")
    data.obs["batch"] = pd.Categorical(np.where(np.arange(60) % 2, "b", "a"))
    data.write_h5ad(sets / "small.h5ad")
    monkeypatch.setattr("scrae.config._STEPS", 10)
    records = tmp_path / "left.jsonl"
    arguments = ["leave", "--data", str(sets), "--sets", "small", "-o", str(records)]
    for _ in range(2):
        assert CliRunner().invoke(batches.app, arguments, catch_exceptions=False).exit_code == 0
    found = read(records)
    assert [(r["kind"], r["method"]) for r in found] == [("left_out", f"without {one}") for one in "ab"]
    assert all(0 <= value <= 1 for r in found for value in r["scores"].values())


def test_an_unknown_method_is_refused(sets: Path, tmp_path: Path):
    arguments = ["run", "--data", str(sets), "--sets", "small", "--methods", "pca50-batch"]
    result = CliRunner().invoke(batches.app, [*arguments, "-o", str(tmp_path / "r")])
    assert "expected methods among pca50, harmony" in str(result.exception)
