from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks import summary
from benchmarks.cli import app
from benchmarks.records import append

OWN = {"scrae-auto": 0.80, "scrae-cluster": 0.90, "scrae": 0.70}
OTHERS = {
    "pca15:scrae-auto": 0.60, "pca15:scrae": 0.95, "leiden": 0.50, "leiden-k": 0.85, "pca15": 0.65,
}  # fmt: skip


def record(name: str, method: str, seed: int, score: float) -> dict[str, object]:
    scores = dict.fromkeys(("nmi", "ari", "ami", "homogeneity", "completeness"), score)
    return {
        "format": 1, "kind": "quality", "protocol": "label-free", "data": {"name": name, "n_cells": 9},
        "n_latent": 10, "method": method, "seed": seed, "scores": scores, "silhouette": 0.2, "seed_agreement": {},
        "config": {"embedding": {"method": method}, "clusterer": {"method": "kmeans"}},
        "seconds": {"embedding": 1.0, "clustering": 1.0}, "machine": {"busy": False},
    }  # fmt: skip


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Records of sets a and b, whose scores differ by .1 and by .02 between seeds; the second file lacks one."""
    splits = {"development": ["a"], "confirmation": ["b"], "independent_labels": ["b"]}
    (tmp_path / "splits.json").write_text(json.dumps(splits))
    monkeypatch.setattr(summary, "_SPLITS", tmp_path / "splits.json")
    whole, part = tmp_path / "whole.jsonl", tmp_path / "part.jsonl"
    for method, score in (OWN | OTHERS).items():
        for name, shift in (("a", -0.05), ("b", 0.05)):
            for seed in (0, 1):
                one = record(name, method, seed, score + shift + 0.02 * seed - 0.01)
                append(whole, one)
                if (name, method) != ("b", "leiden-k"):
                    append(part, one)
    return whole, part


def rows_of(page: str, title: str) -> dict[str, list[str]]:
    lines = page[page.index(f"**{title}") :].splitlines()[4:]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[: lines.index("")]]
    return {row[0]: row[1:] for row in cells}


def test_scores_and_differences(files: tuple[Path, Path]):
    done = CliRunner().invoke(
        app, ["summary", str(files[0]), "--markdown", "--details"], catch_exceptions=False
    )
    scores = rows_of(done.output, "Mean NMI and ARI: 2 sets")
    assert scores["**scrae, default**"] == ["0.800", "0.800", "0.900", "0.900"]
    assert scores["scanpy: 50 principal components, Leiden"] == ["0.500", "0.500", "0.850", "0.850"]
    assert rows_of(done.output, "Mean NMI and ARI: sets whose labels")["**scrae, default**"][0] == "0.850"
    found = rows_of(done.output, "The default minus")
    control = "15 principal components, same clustering, no network"
    assert found[f"{control}; K unknown"][:2] == ["+0.200 [+0.200, +0.200]", "2/2"]
    assert found[f"{control}; K known"][:2] == ["-0.050 [-0.050, -0.050]", "0/2"]
    codes = rows_of(done.output, "Codes alone")
    assert codes["15 principal components"] == ["0.650", "0.650", *["+0.050 [+0.050, +0.050]"] * 2]


def test_a_missing_record_is_an_error(files: tuple[Path, Path]):
    done = CliRunner().invoke(app, ["summary", str(files[1])])
    assert str(done.exception).startswith(
        "expected records of every method on every set, found none of leiden-k on b (1 "
    )
