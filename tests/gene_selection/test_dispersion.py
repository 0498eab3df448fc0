from __future__ import annotations

from inspect import unwrap

import anndata
import numpy as np
import pytest
import scanpy
from helpers.selection_data import Blocks, draw_counts
from scipy import sparse

from scrae.errors import ScraeError
from scrae.gene_selection import dispersion


def scanpy_seurat(x: np.ndarray, factors: np.ndarray, n_top_genes: int):
    data = anndata.AnnData(sparse.csr_matrix(np.log1p(x / factors[:, None])))
    return scanpy.pp.highly_variable_genes(data, flavor="seurat", n_top_genes=n_top_genes, inplace=False)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("empty_gene", [True, False])
def test_equals_scanpy(seed, empty_gene):
    x = np.delete(draw_counts(seed, n_genes=300), 5, axis=0)
    x = x if empty_gene else np.delete(x, 3, axis=1)
    totals = x.sum(axis=1)
    theirs = scanpy_seurat(x, totals / np.median(totals), 40)
    ours = dispersion(x, n_top_genes=40)
    kept = x.any(axis=0)
    np.testing.assert_allclose(ours.score[kept], theirs["dispersions_norm"][kept], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(ours.fit.mean[kept], theirs["means"][kept], rtol=1e-12)
    np.testing.assert_allclose(ours.fit.statistic[kept], theirs["dispersions"][kept], rtol=1e-9, atol=1e-11)
    np.testing.assert_array_equal(ours.selected, theirs["highly_variable"])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("own_factors", [True, False])
def test_cell_ranger_equals_scanpy(seed, own_factors):
    x = np.delete(np.delete(draw_counts(seed, n_genes=300), 5, axis=0), 3, axis=1)
    totals = x.sum(axis=1)
    factors = totals / np.median(totals)
    if own_factors:
        factors = factors * np.random.default_rng(seed).uniform(0.5, 2, totals.size)
    data = anndata.AnnData(sparse.csr_matrix(np.log1p(x / factors[:, None])))
    theirs = scanpy.pp.highly_variable_genes(data, flavor="cell_ranger", n_top_genes=40, inplace=False)
    ours = dispersion(x, flavor="cell_ranger", n_top_genes=40, size_factors=factors if own_factors else None)
    np.testing.assert_allclose(ours.score, theirs["dispersions_norm"], rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(ours.fit.mean, theirs["means"], rtol=1e-12)
    np.testing.assert_allclose(ours.fit.statistic, theirs["dispersions"], rtol=1e-9)
    assert ours.fit.statistic_name == "dispersion"
    np.testing.assert_array_equal(ours.selected, theirs["highly_variable"])


@pytest.mark.parametrize("n_genes", [60, 300])  # with 60 there are bins of two, whose genes tie
@pytest.mark.parametrize("own_factors", [True, False])
@pytest.mark.parametrize("flavor", ["seurat", "cell_ranger"])
def test_row_blocks_with_size_factors(flavor, own_factors, n_genes):
    x = sparse.csr_matrix(draw_counts(3, n_genes=n_genes))
    factors = np.random.default_rng(0).uniform(0.5, 2, 90) if own_factors else None
    whole = dispersion(x, flavor=flavor, n_top_genes=12, size_factors=factors)
    for cuts in ((1, 2, 40), (0, 89)):
        parts = dispersion(Blocks(x, cuts), flavor=flavor, n_top_genes=12, size_factors=factors)
        np.testing.assert_allclose(parts.score, whole.score, rtol=1e-9, atol=1e-11)
        np.testing.assert_array_equal(parts.rank, whole.rank)
        assert parts.notes == whole.notes


def test_cell_ranger_leaves_out_what_is_empty():
    x = draw_counts(0, n_genes=300)
    clean = np.delete(np.delete(x, 5, axis=0), 3, axis=1)
    ours = dispersion(x, flavor="cell_ranger", n_top_genes=12)
    np.testing.assert_array_equal(
        np.delete(ours.score, 3), dispersion(clean, flavor="cell_ranger", n_top_genes=12).score
    )
    assert ours.notes == ("1 cell without counts dropped", "1 gene without counts dropped")


def test_size_factors_of_ones_own(counts):
    factors = np.random.default_rng(0).uniform(0.5, 2, 90)
    x = np.delete(counts, 5, axis=0)
    theirs = scanpy_seurat(x, np.delete(factors, 5), 12)
    ours = dispersion(counts, n_top_genes=12, size_factors=factors)
    np.testing.assert_array_equal(ours.selected, theirs["highly_variable"])
    kept = np.arange(60) != 3
    np.testing.assert_allclose(ours.score[kept], theirs["dispersions_norm"][kept], rtol=1e-9, atol=1e-11)
    assert ours.notes == ("1 cell without counts dropped", "1 gene without counts dropped")


def test_a_gene_that_does_not_vary_comes_last():
    x = draw_counts(0)[:, :20]
    x = np.delete(np.delete(x, 5, axis=0), 3, axis=1)
    x[:, 4] = 6
    ours = dispersion(x, n_top_genes=5, size_factors=np.ones(89))
    assert ours.score[4] == -np.inf
    assert ours.rank[4] == 18
    assert np.isnan(ours.fit.statistic[4])


def test_what_it_refuses(counts):
    with pytest.raises(ScraeError, match='flavor="seurat" or "cell_ranger", found \'hvg\': use one'):
        unwrap(dispersion)(counts, n_top_genes=3, flavor="hvg")
    with pytest.raises(ScraeError, match="cell_ranger cannot sort these genes into 20 bins of like mean"):
        dispersion(np.tile(counts[:, :5], 9), n_top_genes=3, flavor="cell_ranger")
    with pytest.raises(ScraeError, match="expected positive size factors, found 0"):
        dispersion(counts, n_top_genes=3, size_factors=np.zeros(90))
    with pytest.raises(ScraeError, match=r"expected 90 size factors, one a cell, found shape \(3,\)"):
        dispersion(counts, n_top_genes=3, size_factors=np.ones(3))
    with pytest.raises(ScraeError, match=r"^dispersion expected raw counts"):
        dispersion(np.log1p(counts), n_top_genes=3)
