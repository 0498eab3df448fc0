from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks import markers, one_population
from benchmarks.records import read


def test_the_study_and_its_table(sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(one_population, "SORTED", {"made": ("large", ("alpha", "beta"))})
    output = tmp_path / "records.jsonl"
    for _ in range(2):  # what has a record is not run again
        done = CliRunner().invoke(
            markers.app, ["study", "--data", str(sets), "-o", str(output), "--sets", "2"]
        )
        assert done.exit_code == 0, done.output
    gradient, made = read(output)
    assert [gradient["name"], made["name"]] == ["depth gradient", "made, simulated"]
    assert sum(one["wilcoxon"] for one in gradient["discoveries"]) > sum(
        one["ours"] for one in gradient["discoveries"]
    )
    gradient["discoveries"] = [
        {"ours": 0, "wilcoxon": 30, "genes": 9},
        {"ours": 1, "wilcoxon": 3, "genes": 9},
    ]
    assert markers._table([gradient]).rows == [["depth gradient", "2", "9", "1", "0.5", "2", "16.5"]]
