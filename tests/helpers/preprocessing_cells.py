"""Seeded counts for the tests of scrae.pp."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scrae.io import use_counts


def adata_of(matrix, genes=None, **obs) -> AnnData:
    """Counts in their slots, as `scrae.io.read` gives them."""
    matrix = np.asarray(matrix)
    adata = AnnData(
        sparse.csr_matrix(matrix),
        obs=pd.DataFrame(obs, index=[f"cell{n}" for n in range(matrix.shape[0])]),
        var=pd.DataFrame(index=genes or [f"gene{n}" for n in range(matrix.shape[1])]),
    )
    use_counts(adata)
    return adata


def two_types(n_cells: int = 300, n_genes: int = 400, seed: int = 5) -> AnnData:
    """Two cell types that differ in every tenth gene, cells of unequal depth, in two batches."""
    rng = np.random.default_rng(seed)
    mean = rng.lognormal(-0.5, 1.2, size=n_genes)
    kind = rng.integers(0, 2, size=n_cells)
    expected = np.tile(mean, (n_cells, 1))
    expected[np.ix_(kind == 1, np.arange(0, n_genes, 10))] *= 8
    expected[np.ix_(kind == 0, np.arange(0, n_genes, 10))] /= 8
    expected *= rng.lognormal(0, 0.4, size=(n_cells, 1))
    matrix = rng.poisson(rng.gamma(2.0, expected / 2.0))
    return adata_of(matrix, batch=pd.Categorical(np.where(np.arange(n_cells) % 3, "x", "y")))
