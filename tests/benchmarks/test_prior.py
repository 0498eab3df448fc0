from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from benchmarks import arms, arms_figure, judges, prior
from benchmarks.judges import judge
from benchmarks.records import read


def test_the_sweep_is_resumed_and_drawn(sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(prior, "_WEIGHTS", (1.0,))
    monkeypatch.setattr("scrae.config._STEPS", 10)
    records, picture = tmp_path / "prior.jsonl", tmp_path / "prior.png"
    arguments = [
        "sweep",
        "--data",
        str(sets),
        "--sets",
        "small",
        "--seeds",
        "1",
        "--cells",
        "30",
        "-o",
        str(records),
    ]
    for _ in range(2):
        assert CliRunner().invoke(prior.app, arguments, catch_exceptions=False).exit_code == 0
    found = read(records)
    assert [(r["prior"], r["weight"]) for r in found] == [("none", 0.0), ("learned", 1.0), ("normal", 1.0)]
    for record in found:
        for part in ("seen", "unseen"):
            assert np.isfinite(record[f"nll_{part}"])
            assert 0 <= record[f"nmi_kmeans_{part}"] <= 1
    drawn = CliRunner().invoke(
        prior.app, ["figure", str(records), "-o", str(picture)], catch_exceptions=False
    )
    assert drawn.exit_code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_decades_within_a_hundredth_of_the_best():
    values = [0.5, 0.896, 0.9, 0.892, 0.5, 0.9]  # the last is apart from the run
    group = pd.DataFrame({"weight": [10.0**k for k in range(6)], "nmi": values})
    assert prior._decades(group.iloc[::-1], "nmi", 1) == 2
    assert prior._decades(group.assign(nll=-group["nmi"]), "nll", -1) == 2


def test_the_three_priors_are_compared(sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(arms, "DEPTHS", (0.5,))
    monkeypatch.setattr(arms_figure, "DEPTHS", (0.5,))
    monkeypatch.setattr(judges, "_TREES", 20)
    monkeypatch.setattr(arms, "_PRIOR_DRAWS", 200)
    monkeypatch.setattr("scrae.config._STEPS", 100)
    output = tmp_path / "found.jsonl"
    command = ["--data", str(sets), "--sets", "large", "--threads", "1", "-o", str(output)]
    for _ in range(2):  # the second finds its records
        for name, more in (("run", ["--seeds", "1"]), ("novelty", [])):
            done = CliRunner().invoke(prior.app, [name, *command, *more], catch_exceptions=False)
            assert done.exit_code == 0
    found = read(output)
    assert [r["prior"] for r in found[:3]] == ["none", "normal", "learned"]
    assert [set(r["generated"]) for r in found[:3]] == [{"real", "density"}] + [
        {"real", "density", "prior"}
    ] * 2
    for record in found[:3]:
        assert 0.5 < record["shallow"]["0.5"]["refined"]["agreement"] <= 1
        assert record["clusters"]["nmi_default"] > 0.5
    assert {record["kind"] for record in found[3:]} == {"novelty"}
    assert all(record["power"] > record["ordinary"] for record in found[3:])
    shown = CliRunner().invoke(prior.app, ["table", str(output)], catch_exceptions=False)
    assert "| nmi_default | " in shown.output
    picture = tmp_path / "overview.png"
    done = CliRunner().invoke(
        prior.app, ["overview", str(output), "-o", str(picture)], catch_exceptions=False
    )
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_judges_of_equal_and_of_other_cells():
    rng = np.random.default_rng(0)
    one, same, other = rng.poisson(3, (200, 60)), rng.poisson(3, (200, 60)), rng.poisson(3, (200, 60))
    other[:, :30] *= 3
    equal, different = judge(one, same), judge(one, other)
    assert abs(equal["auc"] - 0.5) < 0.1
    assert different["auc"] > 0.99
    assert abs(equal["mmd"]) < 0.01 < different["mmd"]
    assert abs(equal["zeros"]) < 0.01
    assert all(equal[name] < different[name] / 2 for name in ("mean", "variance"))
    assert equal["correlation"] == pytest.approx(np.sqrt(2 / 200) * np.sqrt(2 / np.pi), rel=0.2)  # of noise


def test_cells_simulated_by_clusters(sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(judges, "_TREES", 20)
    monkeypatch.setattr("scrae.config._STEPS", 100)
    output = tmp_path / "found.jsonl"
    command = ["--data", str(sets), "--sets", "large", "--sources", "clusters", "--threads", "1"]
    done = CliRunner().invoke(prior.app, ["peers", *command, "-o", str(output)], catch_exceptions=False)
    assert done.exit_code == 0
    (record,) = read(output)
    assert record["source"] == "clusters"
    assert record["auc"] < 0.9
    assert abs(record["zeros"]) < 0.03
