"""Against the R packages M3Drop 3.10.6 and SCMarker 2.0; see tests/gold/gene_selection/README.md."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from scrae.gene_selection import m3drop, nbumi, scmarker
from scrae.gene_selection._m3drop import _test
from scrae.gene_selection._modes import count_modes


@pytest.fixture(scope="module")
def cells(gold: Path) -> pd.DataFrame:
    return pd.read_csv(gold / "counts.csv.gz")


@pytest.fixture(scope="module")
def counts(cells: pd.DataFrame) -> sparse.csr_matrix:
    return sparse.csr_matrix(cells.to_numpy())


@pytest.fixture(scope="module")
def logged(cells: pd.DataFrame) -> sparse.csr_matrix:
    x = cells.to_numpy()
    totals = x.sum(axis=1, keepdims=True)
    return sparse.csr_matrix(np.log1p(x / totals * np.median(totals)))


def names(path: Path) -> set[str]:
    found = set(path.read_text().split())
    assert found, path
    return found


def test_m3drop_per_gene(gold, counts):
    theirs = pd.read_csv(gold / "m3drop.csv")
    fit = pd.read_csv(gold / "m3drop_fit.csv").iloc[0]
    ours = m3drop(counts)
    np.testing.assert_allclose(ours.fit.statistic, theirs["dropout"], atol=1e-14)
    np.testing.assert_allclose(ours.fit.mean, theirs["mean"], rtol=1e-12)
    # R's optimiser stops near, not at, the optimum
    assert pytest.approx(fit["K"], rel=1e-4) == ours.fit.parameters.K
    assert ours.fit.parameters.sigma == pytest.approx(fit["sigma"], rel=1e-3)
    np.testing.assert_allclose(ours.p_value, theirs["p_value"], atol=1.7e-4)


def test_m3drop_p_values_are_those_of_r_at_the_k_of_r(gold, counts):
    theirs = pd.read_csv(gold / "m3drop.csv")
    k = pd.read_csv(gold / "m3drop_fit.csv")["K"][0]
    x = counts.toarray()
    y = x / x.sum(axis=1, keepdims=True) * np.median(x.sum(axis=1))
    error = y.std(axis=0) / np.sqrt(len(y))
    p_value, effect = _test((y == 0).mean(axis=0), y.mean(axis=0), error, len(y), float(k))
    np.testing.assert_allclose(p_value, theirs["p_value"], rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(effect, theirs["effect"], rtol=1e-10)


@pytest.mark.parametrize(("correction", "theirs"), [("bonferroni", "bon"), ("fdr", "fdr")])
def test_m3drop_selects_what_r_selects(gold, counts, cells, correction, theirs):
    ours = m3drop(counts, correction=correction)
    assert set(cells.columns[ours.selected]) == names(gold / f"m3drop_{theirs}.txt")


def test_nbumi_dropout(gold, counts, cells):
    theirs = pd.read_csv(gold / "nbumi_dropout.csv").set_index("gene")
    line = pd.read_csv(gold / "nbumi_fit.csv").iloc[0]
    ours = nbumi(counts)
    assert ours.fit.parameters.intercept == pytest.approx(line["intercept"], rel=1e-11)
    assert ours.fit.parameters.slope == pytest.approx(line["slope"], rel=1e-11)
    assert list(cells.columns[np.argsort(ours.rank)]) == list(theirs.index)
    theirs = theirs.loc[cells.columns]
    np.testing.assert_allclose(ours.p_value, theirs["p_value"], rtol=1e-9, atol=1e-300)
    excess = ours.fit.statistic - ours.fit.expected
    np.testing.assert_allclose(excess, theirs["excess"], atol=1e-13)
    assert set(cells.columns[ours.selected]) == set(theirs.index[theirs["q_value"] < 0.05])


def test_nbumi_high_variance(gold, counts, cells):
    theirs = pd.read_csv(gold / "nbumi_high_variance.csv").set_index("gene")["below"]
    ours = nbumi(counts, variant="high_variance", n_top_genes=30)
    assert list(cells.columns[np.argsort(ours.rank)]) == list(theirs.index)
    np.testing.assert_allclose(-ours.score, theirs.loc[cells.columns], atol=1e-10)
    assert set(cells.columns[ours.selected]) == set(theirs.index[:30])


SETTINGS = {
    "counts_width2": {"width": 2.0, "cutoff": 2.0, "k": 30, "n": 12},
    "counts_width2_k5": {"width": 2.0, "cutoff": 2.0, "k": 5, "n": 3},
    "log_width1": {"width": 1.0, "cutoff": 1.0, "k": 15, "n": 10},
    "log_width07": {"width": 0.7, "cutoff": 1.0, "k": 300, "n": 40},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_scmarker_marks_what_r_marks(gold, counts, logged, cells, name):
    matrix = logged if name.startswith("log") else counts
    # the names of human genes that SCMarker leaves out, where the synthetic genes bear them
    exclude = cells.columns.isin(["RPL10", "RPS3", "MT-CO1", "RPL3"])
    ours = scmarker(matrix, exclude=exclude, **SETTINGS[name])
    assert set(cells.columns[ours.selected]) == names(gold / f"scmarker_markers_{name}.txt")


@pytest.mark.parametrize("name", SETTINGS)
def test_scmarker_modes(gold, counts, logged, cells, name):
    matrix = (logged if name.startswith("log") else counts).astype(np.float64)
    modes = count_modes(matrix.tocsc(), SETTINGS[name]["width"] / 4)
    often = np.asarray((matrix >= SETTINGS[name]["cutoff"]).sum(axis=0)).ravel() > 10
    assert set(cells.columns[often & (modes >= 2)]) == names(gold / f"scmarker_modal_{name}.txt")
