from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import clusters, counting
from benchmarks.records import append, read
from benchmarks.run import codes_file
from benchmarks.sets import find_sets, read_labels

CENTRES = 9 * np.eye(3)


@pytest.fixture
def study(sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command for codes of three plain groups, which are the types of the set."""
    monkeypatch.setattr(clusters, "_CANDIDATES", range(2, 6))
    data = next(one for one in find_sets(sets, ["large"]))
    kind = np.unique(read_labels(data.path).astype(str), return_inverse=True)[1]
    z = (CENTRES[kind] + np.random.default_rng(0).normal(size=(90, 3))).astype(np.float32)
    how = {"embedding": {"method": "scrae"}, "seed": 0, "code": "abc", "protocol": "label-free"}
    file = codes_file(tmp_path / "cache", sha256=data.sha256, **how)
    file.parent.mkdir(parents=True)
    np.save(file, z)
    facts = {"name": "large", "sha256": data.sha256, "n_types": 3}
    record = {
        "format": 1,
        "method": "scrae-cluster",
        "data": facts,
        "config": {"embedding": {"method": "scrae"}},
    }
    append(tmp_path / "quality.jsonl", record | {"seed": 0, "code": "abc"})
    folders = [
        "--data",
        str(sets),
        "--quality",
        str(tmp_path / "quality.jsonl"),
        "--cache",
        str(tmp_path / "cache"),
    ]
    return ["study", *folders, "--sets", "large", "-o", str(tmp_path / "found.jsonl")]


def test_every_criterion_is_computed_once_and_the_table_reads_it(study: list[str], tmp_path: Path):
    for criteria in (["--criteria", "modularity"], [], []):
        done = CliRunner().invoke(clusters.app, [*study, *criteria], catch_exceptions=False)
        assert done.exit_code == 0
    first, second = read(tmp_path / "found.jsonl")
    assert first["criteria"] == ["modularity"]
    assert set(second["criteria"]) == set(counting.CRITERIA) - {"modularity"}
    assert first["candidates"] == [2, 3, 4, 5]
    assert first["scores"]["nmi"][1] == 1
    assert len(first["curves"]["modularity"]) == 4
    for name in ("silhouette", "davies_bouldin", "bic_clusters", "eigengap", "default"):
        assert np.argmax(second["curves"][name]) == 1, name
    page = tmp_path / "page.md"
    page.write_text("<!-- tables -->\n<!-- end of tables -->\n")
    drawn = CliRunner().invoke(
        clusters.app, ["table", str(tmp_path / "found.jsonl"), "--into", str(page)], catch_exceptions=False
    )
    assert drawn.exit_code == 0
    rows = [line for line in page.read_text().splitlines() if line.startswith("| ")][1:]
    assert len(rows) == len(counting.RULES)
    assert (
        "| Leiden at resolution 0.35, median of three runs (the default) | 3 | 0.00 | +0.000 | +0.000 | +0.000 |"
        in rows
    )


def test_missing_codes_are_told(study: list[str], tmp_path: Path):
    for file in (tmp_path / "cache" / "codes").iterdir():
        file.unlink()
    done = CliRunner().invoke(clusters.app, study)
    assert str(done.exception).startswith("expected the codes of large seed 0 in ")


def test_rules_read_curves():
    curves = {
        "parts": [0.99, 0.95, 0.5, 0.92, 0.3],
        "gap": [1.0, 1.2, 1.19, 1.3, 1.1],
        "gap_error": [0.05] * 5,
    }
    assert counting.RULES["largest K with ARI ≥ .9 on parts of the cells"](curves) == 3
    assert counting.RULES["gap"](curves) == 1
    assert counting.RULES["largest K with ARI ≥ .9 on parts of the cells"]({"parts": [0.2, 0.4, 0.3]}) == 1
