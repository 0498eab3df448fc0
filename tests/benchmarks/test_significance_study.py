from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import one_population, significance
from benchmarks.records import read


def test_sets_of_one_population_have_the_structure_that_they_name():
    for name, make in one_population.SIMULATED.items():
        counts = make(np.random.default_rng(0))
        assert 300 <= counts.shape[0] <= 500, name
        assert (counts != make(np.random.default_rng(0))).nnz == 0
    depth = np.asarray(
        one_population.SIMULATED["depth gradient"](np.random.default_rng(1)).sum(axis=1)
    ).ravel()
    assert 6 < np.median(depth[-30:]) / np.median(depth[:30]) < 16


def test_a_mixture_has_its_share_of_the_second_kind(sets: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(one_population.MIXTURES, "made", ("large", "alpha", "beta"))
    counts = one_population.mixture(sets, "made", 0.25, np.random.default_rng(0)).toarray()
    beta = counts[:, 10:20].mean(axis=1) > counts[:, :10].mean(axis=1)
    assert beta.mean() == pytest.approx(0.25, abs=0.02)


def test_the_study_and_its_table(sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(one_population, "SIMULATED", {})
    monkeypatch.setattr(one_population, "SORTED", {"made": ("large", ("alpha",))})
    monkeypatch.setattr(one_population, "MIXTURES", {})
    monkeypatch.setattr(one_population, "CONTINUA", ("large",))
    output = tmp_path / "records.jsonl"
    command = ["study", "--data", str(sets), "-o", str(output), "--sets", "4", "--continua", "2"]
    for _ in range(2):  # what has a record is not run again
        done = CliRunner().invoke(significance.app, command)
        assert done.exit_code == 0, done.output
    record, other = read(output)
    assert (other["name"], other["populations"], other["seeds"]) == ("large", 0, 2)
    assert (record["name"], record["populations"], record["seeds"]) == ("made", 1, 4)
    assert record["data"]["name"] == "large"
    record["tests"][0]["p"], record["tests"][1]["p"] = 0.05, 0.0501
    (table,) = significance._tables([record])
    assert table.rows == [["made", "1 of 4", "0.250", "0.006 to 0.806"]]


def test_other_seeds_and_sets_of_several_types(sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seeds: list[int] = []
    monkeypatch.setattr(significance, "_test", lambda make, genes, seed: seeds.append(seed) or {"p": 1.0})
    output = tmp_path / "records.jsonl"
    command = ["study", "--data", str(sets), "-o", str(output), "--kinds", "cell cycle", "--sets", "2"]
    CliRunner().invoke(significance.app, [*command, "--first-seed", "200"], catch_exceptions=False)
    assert seeds == [200, 201]
    assert read(output)[0]["first_seed"] == 200
    other = tmp_path / "one.jsonl"
    command = ["one", "--data", str(sets), "-o", str(other), "--sets", "large", "--seeds", "1"]
    CliRunner().invoke(significance.app, command, catch_exceptions=False)
    (record,) = read(other)
    assert (record["name"], record["types"], record["one_population"]) == ("large", 3, [False])
