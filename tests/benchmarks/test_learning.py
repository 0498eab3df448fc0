from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import learning
from benchmarks.records import read
from benchmarks.sets import find_sets, read_counts


def test_fewer_cells_and_molecules_are_recorded_once(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(learning, "_CELLS", (40,))
    monkeypatch.setattr(learning, "_DEPTHS", (0.5,))
    monkeypatch.setattr("scrae.config._STEPS", 10)
    output = tmp_path / "found.jsonl"
    command = ["study", "--data", str(sets), "--sets", "small", "--seeds", "1", "-o", str(output)]
    for _ in range(2):
        assert CliRunner().invoke(learning.app, command, catch_exceptions=False).exit_code == 0
    found = read(output)
    assert [(r["n_cells"], r["depth"]) for r in found] == [(40, 1.0), (60, 1.0), (60, 0.5)]
    assert all(0 <= r[name]["nmi"] <= 1 for r in found for name in ("default", "control"))
    drawn = CliRunner().invoke(learning.app, ["table", str(output), "--markdown"], catch_exceptions=False)
    lines = [line for line in drawn.output.splitlines() if line.startswith("| ")]
    assert [line.split("|")[1].strip() for line in lines[1:]] == [
        "40 cells", "all cells", "all cells, 50% of the molecules",
    ]  # fmt: skip


def test_thinning_keeps_the_share_of_molecules(sets: Path):
    path = find_sets(sets, ["large"])[0].path
    counts, before = read_counts(path), read_counts(path)
    rows = learning._rows(counts, 50, 0.3, seed=0)
    assert len(rows) <= 50
    share, n_molecules = float(counts.X.sum() / before.X.sum()), float(before.X.sum())
    assert share == pytest.approx(0.3, abs=float(4 * np.sqrt(0.21 / n_molecules)))
    assert (counts.X.toarray() <= before.X.toarray()).all()
