"""The instrument that compares whole processes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from benchmarks import speed, speed_whole
from benchmarks.records import read


def test_processor_seconds_and_peak_memory_are_those_of_the_process() -> None:
    words = "import time; x = bytearray(150 << 20); t = time.process_time()\nwhile time.process_time() < t + 0.5: pass"
    found = speed_whole._measure([sys.executable, "-c", words])
    assert 150 < found["peak_memory_mb"] < 250
    assert 0.5 <= found["processor_seconds"] < 1.5
    idle = speed_whole._measure([sys.executable, "-c", "import time; time.sleep(0.4)"])
    assert idle["processor_seconds"] < 0.4 <= idle["seconds"]
    assert idle["peak_memory_mb"] < 100
    with pytest.raises(typer.BadParameter, match="broken"):
        speed_whole._measure([sys.executable, "-c", "raise ValueError('broken')"])


def test_the_tools_take_turns_on_made_and_real_cells(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = []

    def measure(command: list[object]) -> dict[str, float]:
        scrae = "scrae" in command
        turns.append("scrae" if scrae else "scanpy")
        if scrae:
            Path(command[-2]).mkdir(parents=True, exist_ok=True)
            (Path(command[-2]) / "run.json").write_text(json.dumps({"seconds": {"train": 1.0}}))
        return {"seconds": 9.0, "processor_seconds": len(turns) * 1.0, "peak_memory_mb": 300.0 + 150 * scrae}

    monkeypatch.setattr(speed_whole, "_measure", measure)
    monkeypatch.setattr(speed_whole, "SETS", "small")
    file = tmp_path / "records.jsonl"
    words = [
        "whole",
        "--data",
        str(sets),
        "--work",
        str(tmp_path / "work"),
        "--cells",
        "30",
        "--sets",
        "small",
    ]
    result = CliRunner().invoke(speed.app, [*words, "--repeats", "2", "-o", str(file)])
    assert result.exit_code == 0, result.output
    real, made = read(file)
    assert turns == ["scanpy", "scrae"] * 4
    assert (real["set"], made["set"], made["n_cells"]) == ("small", "made_30", 30)
    assert [turn["processor_seconds"] for turn in made["tools"]["scrae"]] == [6.0, 8.0]
    shown = CliRunner().invoke(speed.app, ["whole-table", str(file)]).output
    assert "| 30 made | scrae | 7.0 | 1.17 | 450 | 1.50 |" in shown
    picture = tmp_path / "whole.svg"
    assert CliRunner().invoke(speed.app, ["whole-figure", str(file), "-o", str(picture)]).exit_code == 0
    assert picture.stat().st_size > 5000
