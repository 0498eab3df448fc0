from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks import subclusters
from benchmarks.records import read


def test_clusters_are_divided_in_three_ways(sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(subclusters, "_LEAST_CELLS", 20)
    monkeypatch.setattr("scrae.config._STEPS", 60)
    output = tmp_path / "found.jsonl"
    command = ["study", "--data", str(sets), "--sets", "large", "-o", str(output)]
    for _ in range(2):  # the second finds its records
        assert CliRunner().invoke(subclusters.app, command, catch_exceptions=False).exit_code == 0
    (record,) = read(output)
    assert record["clusters"]
    for cluster in record["clusters"]:
        assert cluster["n_types"] >= 2
        assert all(cluster[way]["ari"] > 0.3 for way in subclusters.WAYS)
    shown = (
        CliRunner()
        .invoke(subclusters.app, ["table", str(output), "--markdown"], catch_exceptions=False)
        .output
    )
    assert "| large | " in shown
    assert "| mean | " in shown
