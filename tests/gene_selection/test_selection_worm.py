"""600 cells x 1500 genes of worm neurons against R, where SCRAE_GOLD names the folder of that gold."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from scrae.gene_selection import m3drop, nbumi, scmarker
from scrae.gene_selection._modes import count_modes

if "SCRAE_GOLD" not in os.environ:
    pytest.skip("SCRAE_GOLD names no folder", allow_module_level=True)
FOLDER = Path(os.environ["SCRAE_GOLD"])


@pytest.fixture(scope="module")
def worm() -> sparse.csr_matrix:
    path = FOLDER / "worm600x1500_counts_genes_by_cells.csv.gz"
    return sparse.csr_matrix(pd.read_csv(path, header=None).to_numpy().T)


def indices(genes: Iterable[str]) -> np.ndarray:
    return np.array([int(gene[1:]) - 1 for gene in genes])


def test_m3drop(worm):
    theirs = pd.read_csv(FOLDER / "m3drop_R_pergene.csv")
    ours = m3drop(worm)
    np.testing.assert_allclose(ours.fit.statistic, theirs["p"], atol=1e-14)
    np.testing.assert_allclose(ours.fit.mean, theirs["s"], rtol=1e-12)
    np.testing.assert_allclose(ours.p_value, theirs["pval"], atol=1.7e-4)
    assert pytest.approx(1.315956, abs=5e-7) == ours.fit.parameters.K
    assert ours.fit.parameters.sigma == pytest.approx(0.054548, abs=5e-7)
    p_value = theirs["pval"].to_numpy()
    np.testing.assert_array_equal(ours.selected, p_value * 1500 < 0.05)
    assert ours.selected.sum() == 49
    assert m3drop(worm, correction="fdr").selected.sum() == 99


def test_nbumi(worm):
    theirs = pd.read_csv(FOLDER / "nbumi_combineddrop_R.csv")
    ours = nbumi(worm)
    order = indices(theirs["Gene"])
    np.testing.assert_array_equal(np.argsort(ours.rank), order)
    np.testing.assert_allclose(ours.p_value[order], theirs["p.value"], atol=4e-14)
    assert ours.fit.parameters == pytest.approx((-0.6696243417, 0.3618752058), abs=1e-10)
    assert ours.selected.sum() == 172
    theirs = pd.read_csv(FOLDER / "nbumi_highvar_R.csv", index_col=0)
    ours = nbumi(worm, variant="high_variance", n_top_genes=9)
    order = indices(theirs.index)
    np.testing.assert_array_equal(np.argsort(ours.rank), order)
    np.testing.assert_allclose(-ours.score[order], theirs["x"], atol=1e-12)


@pytest.mark.filterwarnings("ignore:scmarker found whole numbers")  # R was run on counts at width 1
@pytest.mark.parametrize(("k", "n", "size"), [(300, 30, 492), (50, 30, 163), (20, 10, 67)])
def test_scmarker(worm, k, n, size):
    theirs = (FOLDER / f"mk_{k}_{n}.txt").read_text().split()
    assert len(theirs) == size
    ours = scmarker(worm, k=k, n=n)
    np.testing.assert_array_equal(np.flatnonzero(ours.selected), np.sort(indices(theirs)))


@pytest.mark.parametrize(("width", "size"), [(1, 1380), (2, 857)])
def test_modes(worm, width, size):
    theirs = pd.read_csv(FOLDER / f"scmarker_modal_width{width}_R.csv")["g"]
    assert len(theirs) == size
    busy = worm[np.diff(worm.indptr) > 10]
    often = np.asarray((busy >= 2).sum(axis=0)).ravel() > 10
    modes = count_modes(busy.astype(np.float64).tocsc(), width / 4)
    np.testing.assert_array_equal(np.flatnonzero(often & (modes >= 2)), np.sort(indices(theirs)))
