from __future__ import annotations

import numpy as np
import pytest
import scanpy as sc

from benchmarks import embeddings
from benchmarks.sets import read_counts
from scrae.errors import ScraeError

CONFIG = {"genes": "seurat_v3", "n_top_genes": 2000, "n_components": 4}


def assert_principal_components(found, counts, genes):
    """Compare with the singular values of log expression, normalised by the totals over all genes."""
    x = counts.astype(np.float64)
    totals = x.sum(axis=1, keepdims=True)
    x = np.log1p(x / totals * np.median(totals))[:, genes]
    u, s, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    expected = u[:, : found.shape[1]] * s[: found.shape[1]]
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found * signs, expected, atol=1e-3)


def test_pca_takes_all_genes_where_there_are_no_more_than_asked_for(sets):
    counts = read_counts(sets / "small.h5ad")
    dense = counts.X.toarray()
    found = embeddings.pca(counts, n_clusters=3, seed=0, config=CONFIG, device="cpu")
    assert found.facts == {"n_genes_used": 40}
    assert found.codes.shape == (60, 4)
    assert found.codes.dtype == np.float32
    assert_principal_components(found.codes, dense, np.ones(40, dtype=bool))


def test_pca_of_the_genes_that_scanpy_chooses(sets):
    counts = read_counts(sets / "small.h5ad")
    dense = counts.X.toarray()
    table = sc.pp.highly_variable_genes(counts, flavor="seurat_v3", n_top_genes=12, inplace=False)
    found = embeddings.pca(counts, n_clusters=3, seed=0, config=CONFIG | {"n_top_genes": 12}, device="cpu")
    assert found.facts == {"n_genes_used": 12}
    assert_principal_components(found.codes, dense, table["highly_variable"].to_numpy())


def test_genes_of_two_cells_are_left_out(sets):
    counts = read_counts(sets / "small.h5ad")
    x = counts.X.tolil()
    x[2:, 5] = 0
    counts.X = x.tocsr()
    found = embeddings.pca(counts, n_clusters=3, seed=0, config=CONFIG, device="cpu")
    assert found.facts == {"n_genes_used": 39}


def test_unknown_genes_are_an_error(sets):
    counts = read_counts(sets / "small.h5ad")
    with pytest.raises(ScraeError, match=r"gene_selection: expected one of .*, found 'best'"):
        embeddings.pca(counts, n_clusters=3, seed=0, config=CONFIG | {"genes": "best"}, device="cpu")
