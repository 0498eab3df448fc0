from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from helpers.fabricated import fabricate, run_record
from typer.testing import CliRunner

from scrae import tl
from scrae.cli import app
from scrae.errors import ScraeError
from scrae.report import count_genes
from scrae.report._build import render
from scrae.report._conditions import conditions_view
from scrae.report._run import Run

GENES = pd.DataFrame(
    {
        "cluster": pd.Categorical(["0"] * 4 + ["1"]),
        "gene": ["A", "B", "C", "D", "A"],
        "mean": 5.0,
        "log2_fold_change": [2.0, -1.0, 1.5, 3.0, 0.1],
        "p_value": [1e-9, 1e-6, 1e-3, 0.5, 0.9],
        "fdr": [1e-8, 1e-5, 0.04, np.nan, 0.9],
    }
)


def _with_conditions(adata: AnnData) -> AnnData:
    """Four donors, two of each treatment."""
    donor = np.random.default_rng(0).integers(0, 4, adata.n_obs)
    adata.obs["donor"] = pd.Categorical.from_codes(donor, ["d0", "d1", "d2", "d3"])
    adata.obs["treatment"] = np.where(donor >= 2, "drug", "control")
    return adata


def _compared(run: Run, refused: str = "") -> Run:
    facts = _with_conditions(run.adata).uns["scrae"]
    keys = {"condition_key": "treatment", "sample_key": "donor"}
    facts["composition"] = tl.composition(run.adata, **keys)
    facts["conditions"] = keys | {"contrast": ["drug", "control"], "refused": refused}
    if not refused:
        facts["differential_expression"] = GENES
    return run


def test_significant_genes_are_counted_by_sign():
    first, second = count_genes(GENES)
    assert (first["n_genes"], first["n_up"], first["n_down"]) == (3, 2, 1)
    assert first["up"] == ["A", "C"]
    assert first["down"] == ["B"]
    assert (second["n_up"], second["n_down"], second["up"]) == (0, 0, [])


def test_the_section_has_both_tables(run: Run):
    view = conditions_view(_compared(run))
    assert view["samples"] == [("control", "d0"), ("control", "d1"), ("drug", "d2"), ("drug", "d3")]
    own = run.adata.obs[run.adata.obs["donor"] == "d2"]
    share, low, high = view["shares"][1]["cells"][2]
    assert share == pytest.approx((own["scrae"] == "1").mean())
    assert low < share < high
    page = render(run)
    assert "drug against control" in page
    assert '<a href="differential_expression.csv">' in page
    assert "Clusters that are missing have too few samples." in page  # 2 of 5
    assert f"{100 * share:.1f} " in page


def test_without_replicates_the_section_has_the_reason(run: Run):
    page = render(_compared(run, "expected at least 2 samples & found 1"))
    assert "No test of genes. expected at least 2 samples &amp; found 1" in page
    assert "differential_expression.csv" not in page
    assert '<a href="composition.csv">' in page


def test_no_section_without_a_comparison(run: Run):
    assert conditions_view(run) is None
    assert 'id="conditions"' not in render(run)


def _scrae(*words: object):
    return CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    adata = _with_conditions(fabricate(200, 24, 2))
    record = run_record(adata) | {"config": {}, "label_key": None}
    adata.write_h5ad(tmp_path / "result.h5ad")
    (tmp_path / "run.json").write_text(json.dumps(record))
    return tmp_path


def test_the_command_renews_the_folder(folder: Path):
    one = ("--condition-key", "treatment", "--sample-key", "treatment")
    done = _scrae("de", folder, *one)
    assert "without replicates" in done.output
    assert "No test of genes." in (folder / "report.html").read_text(encoding="utf-8")
    table = pd.read_csv(folder / "composition.csv")
    assert table.columns.tolist() == ["sample", "condition", "cluster", "cells", "share", "low", "high"]
    assert table["cells"].sum() == 200
    with pytest.raises(ScraeError, match="expected the folder of a run, without -o"):
        _scrae("de", folder, *one, "-o", folder / "a.csv")
    pytest.importorskip("pydeseq2")
    assert "genes at 5 % FDR" in _scrae("de", folder, *one[:3], "donor").output
    assert len(pd.read_csv(folder / "differential_expression.csv")) > 20
    _scrae("recluster", folder, "-k", 3)  # of other clusters
    assert not (folder / "composition.csv").exists()


def test_the_package_is_not_needed_for_a_refusal(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pydeseq2", None)
    keys = ("--condition-key", "treatment", "--sample-key")
    assert "without replicates" in _scrae("de", folder, *keys, "treatment").output
    with pytest.raises(ScraeError, match=r"pip install 'scrae\[conditions\]'"):
        _scrae("de", folder, *keys, "donor")
