"""The time of a training step: what is measured is the whole training, by the clock and by the processor."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from long.kill_training import prepared

from benchmarks import ranks


def test_one_process_is_timed_and_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    prepared(tmp_path / "p.h5ad")
    times = iter([0.0, 6.0, 12.0, 30.0])
    clocks = SimpleNamespace(perf_counter=lambda: next(times), process_time=time.process_time)
    monkeypatch.setattr(ranks, "time", clocks)
    arguments = ["--batch-sizes", "100", "--epochs", "4", "-o", str(tmp_path / "r.jsonl")]
    monkeypatch.setattr(sys, "argv", ["ranks", str(tmp_path / "p.h5ad"), *arguments])
    ranks.main()
    record = json.loads((tmp_path / "r.jsonl").read_text())
    assert (record["kind"], record["processes"], record["epochs"]) == ("ranks", 1, 4)
    assert record["data"] | {"sha256": ""} == {"name": "p", "sha256": "", "n_cells": 300, "n_genes": 60}
    assert record["step_ms"]["100"]["clock"] == 2000.0  # 270 cells: three steps an epoch, 6 s the median
    assert 0 < record["step_ms"]["100"]["processor"] < 10_000
    assert "1 processes of " in capsys.readouterr().out
