"""pp.normalize: by hand, against scanpy, and where scanpy's rule gives no size factor."""

from __future__ import annotations

import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData
from helpers.preprocessing_cells import adata_of, two_types
from scipy import sparse

from scrae import pp

N_SMALL = 25  # genes of one count each, so that one count is 4 % and is not very highly expressed


def by_hand():
    """Gene 0 is very high in the first cell (75 of 100). The totals without it: 25, 50, 25."""
    matrix = np.ones((3, 1 + N_SMALL), dtype=int)
    matrix[1] = 2
    matrix[:, 0] = [75, 1, 0]
    return matrix


def test_a_table_worked_by_hand():
    adata = adata_of(by_hand())
    assert pp.normalize(adata) is None
    np.testing.assert_allclose(adata.obs["scrae_size_factor"], [1, 2, 1])
    expected = by_hand() / np.array([[1], [2], [1]])
    np.testing.assert_allclose(adata.X.toarray(), np.log1p(expected), rtol=1e-6)
    assert type(adata.X) is sparse.csr_matrix
    assert adata.X.dtype == np.float32
    np.testing.assert_array_equal(adata.layers["counts"].toarray(), by_hand())
    assert adata.layers["counts"].dtype == np.int32
    assert adata.uns["scrae"]["notes"][-1] == (
        "Normalization: the size factor excludes 1 very highly expressed genes with 43% of the counts: 'gene0'."
    )


def test_a_gene_at_exactly_the_limit_stays():
    matrix = np.ones((1, 20), dtype=int)  # 1 of 20 is 5 %, not more
    adata = adata_of(np.vstack([matrix, matrix * 3]))
    pp.normalize(adata)
    np.testing.assert_allclose(adata.obs["scrae_size_factor"], [0.5, 1.5])
    assert not any(line.startswith("Normalization") for line in adata.uns["scrae"]["notes"])


@pytest.mark.parametrize("n_high", [0, 3])
def test_equals_scanpy(n_high):
    counts = two_types().X.toarray()
    counts[::7, :n_high] += 2000
    ours, theirs = adata_of(counts), AnnData(sparse.csr_matrix(counts, dtype=np.float64))
    pp.normalize(ours)
    sc.pp.normalize_total(theirs, exclude_highly_expressed=True, max_fraction=0.05, key_added="factor")
    sc.pp.log1p(theirs)
    np.testing.assert_allclose(ours.X.toarray(), theirs.X.toarray(), rtol=1e-6)
    factor = theirs.obs["factor"].to_numpy()
    np.testing.assert_allclose(ours.obs["scrae_size_factor"], factor / np.median(factor), rtol=1e-12)


def test_a_cell_of_very_high_genes_only_is_taken_whole():
    """scanpy would divide it by nothing."""
    matrix = np.vstack([by_hand(), np.zeros(1 + N_SMALL, dtype=int)])
    matrix[3, 0] = 50
    adata = adata_of(matrix)
    pp.normalize(adata)
    np.testing.assert_allclose(adata.obs["scrae_size_factor"], [1, 2, 1, 2])
    assert (
        adata.uns["scrae"]["notes"][-1]
        == "Normalization: 1 cells express only these genes; their size factor is their full total."
    )


def test_cells_with_one_count():
    """Each gene is then very high in some cell, and no gene is left."""
    adata = adata_of([[1, 0], [0, 1], [0, 2], [0, 0]])
    pp.normalize(adata)
    np.testing.assert_allclose(adata.obs["scrae_size_factor"], [1, 1, 2, 1])
    np.testing.assert_allclose(adata.X.toarray(), np.log1p([[1, 0], [0, 1], [0, 1], [0, 0]]), rtol=1e-6)


def test_an_empty_cell_does_not_move_the_median():
    matrix = np.vstack([by_hand(), np.zeros((4, 1 + N_SMALL), dtype=int)])
    adata = adata_of(matrix)
    pp.normalize(adata)
    np.testing.assert_allclose(adata.obs["scrae_size_factor"], [1, 2, 1, 1, 1, 1, 1])
    assert adata.X[3:].nnz == 0


def test_counts_of_a_million():
    adata = adata_of(by_hand() * 10**6)
    pp.normalize(adata)
    np.testing.assert_allclose(adata.obs["scrae_size_factor"], [1, 2, 1])
    assert np.isfinite(adata.X.data).all()


def test_normalising_again_gives_the_same():
    adata = adata_of(by_hand())
    pp.normalize(adata)
    first, notes = adata.X.copy(), list(adata.uns["scrae"]["notes"])
    pp.normalize(adata)
    np.testing.assert_array_equal(adata.X.toarray(), first.toarray())
    assert adata.uns["scrae"]["notes"] == notes
