"""pp.filter: which cells and genes stay, what is written of it."""

from __future__ import annotations

import anndata
import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData
from helpers.preprocessing_cells import adata_of, two_types
from scipy import sparse

from scrae import pp
from scrae.errors import ScraeError

# genes:      A  B  C  MT-1 mt-2
COUNTS = [
    [5, 0, 1, 2, 0],  # 8 counts, 3 genes, 1/4 mitochondrial
    [1, 1, 0, 0, 0],  # 2, 2, 0
    [0, 0, 0, 0, 0],  # nothing
    [0, 3, 0, 6, 1],  # 10, 3, 7/10
    [2, 0, 0, 0, 0],  # 2, 1, 0
    [0, 0, 4, 0, 0],  # 4, 1, 0
]
GENES = ["A", "B", "C", "MT-1", "mt-2"]


def filtered(**thresholds):
    adata = adata_of(COUNTS, GENES)
    assert pp.filter(adata, **thresholds) is None
    return adata


def notes(adata):
    return adata.uns["scrae"]["notes"]


def test_a_table_worked_by_hand():
    adata = filtered(min_cells=2)
    assert list(adata.obs_names) == ["cell0", "cell1", "cell3", "cell4", "cell5"]
    assert list(adata.var_names) == ["A", "B", "C", "MT-1"]
    for matrix in (adata.X, adata.layers["counts"]):
        np.testing.assert_array_equal(
            matrix.toarray(), [[5, 0, 1, 2], [1, 1, 0, 0], [0, 3, 0, 6], [2, 0, 0, 0], [0, 0, 4, 0]]
        )
    assert list(adata.obs["scrae_n_counts"]) == [8, 2, 10, 2, 4]
    assert list(adata.obs["scrae_n_genes"]) == [3, 2, 3, 1, 1]
    np.testing.assert_allclose(adata.obs["scrae_mito"], [0.25, 0, 0.7, 0, 0])
    assert adata.uns["scrae"]["filter"] == {
        "min_cells": 2,
        "min_genes": 1,
        "min_counts": None,
        "max_mito": None,
        "mito_prefix": None,
        "qc": None,
        "n_cells_before": 6,
        "n_cells_after": 5,
        "n_genes_before": 5,
        "n_genes_after": 4,
        "n_mito_genes": 2,
        "cells_dropped": {"min_genes": 1, "no_gene_left": 0},
    }
    assert notes(adata)[-1] == (
        "Filter: dropped 1 of 6 cells (1 by min_genes) and 1 of 5 genes (expressed in fewer than 2 cells)."
    )


def test_each_filter_of_cells():
    assert list(filtered(min_cells=1, min_genes=2).obs_names) == ["cell0", "cell1", "cell3"]
    assert list(filtered(min_cells=1, min_counts=4).obs_names) == ["cell0", "cell3", "cell5"]
    assert list(filtered(min_cells=1, max_mito=0.25).obs_names) == ["cell0", "cell1", "cell4", "cell5"]
    together = filtered(min_cells=1, min_genes=1, min_counts=3, max_mito=0.5)
    assert list(together.obs_names) == ["cell0", "cell5"]
    dropped = together.uns["scrae"]["filter"]["cells_dropped"]
    assert dropped == {"min_genes": 1, "min_counts": 2, "max_mito": 1, "no_gene_left": 0}


def test_genes_are_counted_in_the_cells_that_stay():
    """B is in cells 1 and 3; without cell 3 only in one."""
    assert list(filtered(min_cells=2, max_mito=0.5).var_names) == ["A", "C"]


def test_a_cell_without_any_gene_left_is_dropped():
    adata = filtered(min_cells=3)  # only A is in three cells
    assert list(adata.var_names) == ["A"]
    assert list(adata.obs_names) == ["cell0", "cell1", "cell4"]
    assert adata.uns["scrae"]["filter"]["cells_dropped"] == {"min_genes": 1, "no_gene_left": 2}
    kept = filtered(min_cells=3, min_genes=0)
    assert kept.n_obs == 6
    assert list(kept.obs["scrae_mito"]) == [0.25, 0, 0, 0.7, 0, 0]


def test_defaults_equal_scanpys_two_filters():
    adata = two_types(n_cells=60)
    dense = adata.X.toarray()
    dense[7] = 0
    ours, theirs = adata_of(dense), AnnData(sparse.csr_matrix(dense.astype(np.float32)))
    pp.filter(ours)
    sc.pp.filter_cells(theirs, min_genes=1)
    sc.pp.filter_genes(theirs, min_cells=10)
    assert 0 < theirs.n_vars < 400
    assert theirs.n_obs == 59
    np.testing.assert_array_equal(ours.X.toarray(), theirs.X.toarray())


def test_nothing_to_drop_leaves_all():
    adata = filtered(min_cells=0, min_genes=0)
    np.testing.assert_array_equal(adata.X.toarray(), COUNTS)
    assert notes(adata)[-1].startswith("Filter: dropped 0 of 6 cells and 0 of 5 genes")


def test_annotation_follows_and_survives_a_file(tmp_path):
    adata = adata_of(COUNTS, GENES, cell_type=list("abcdef"))
    adata.obsm["X_pca"] = np.arange(12.0).reshape(6, 2)
    pp.filter(adata, min_cells=2)
    assert list(adata.obs["cell_type"]) == list("abdef")
    np.testing.assert_array_equal(adata.obsm["X_pca"][:, 0], [0, 2, 6, 8, 10])
    adata.write_h5ad(tmp_path / "a.h5ad")
    facts = anndata.read_h5ad(tmp_path / "a.h5ad").uns["scrae"]["filter"]
    assert facts["n_genes_after"] == 4
    assert facts["cells_dropped"]["min_genes"] == 1


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        ({"min_genes": 4}, "min_genes=4 leaves no cell: the best remaining cell has 3. Lower it."),
        ({"min_counts": 11}, "min_counts=11 leaves no cell: the best remaining cell has 10. Lower it."),
        (
            {"min_genes": 3, "max_mito": 0.2},
            "max_mito=0.2 leaves no cell: the best remaining cell has 0.25. Raise it.",
        ),
        ({"min_cells": 4}, "min_cells=4 leaves no gene: the most frequent one is in 3 cells. Lower it."),
        ({"max_mito": 5}, "max_mito is a fraction from 0 to 1, found 5; for 5 % say 0.05."),
    ],
)
def test_the_filter_that_leaves_nothing_is_named(thresholds, message):
    adata = adata_of(COUNTS, GENES)
    with pytest.raises(ScraeError) as caught:
        pp.filter(adata, **thresholds)
    assert str(caught.value) == message
    assert adata.shape == (6, 5)
    assert "scrae_n_counts" not in adata.obs


def test_mitochondrial_genes_by_their_prefix():
    adata = filtered(min_cells=1, min_genes=0, mito_prefix="mt-")
    np.testing.assert_allclose(adata.obs["scrae_mito"], [0, 0, 0, 0.1, 0, 0])
    assert adata.uns["scrae"]["filter"]["n_mito_genes"] == 1
    with pytest.raises(
        ScraeError, match=r"^mito_prefix='chrM:': no gene has a name that begins so; names are A, B, "
    ):
        filtered(mito_prefix="chrM:")


def test_max_mito_without_mitochondrial_genes():
    with pytest.raises(
        ScraeError, match="max_mito is given, but no gene has the name of a mitochondrial one"
    ):
        pp.filter(adata_of(COUNTS), max_mito=0.1)
    adata = adata_of(COUNTS)
    pp.filter(adata, min_cells=1)
    assert list(adata.obs["scrae_mito"]) == [0] * 5
    assert adata.uns["scrae"]["filter"]["n_mito_genes"] == 0


@pytest.mark.parametrize(
    "layer", [None, np.ones((2, 2)), sparse.csr_matrix(np.eye(2)), sparse.csc_matrix([[1, 0], [0, 1]])]
)
def test_counts_that_were_not_checked_are_refused(layer):
    adata = AnnData(sparse.csr_matrix(np.eye(2)))
    if layer is not None:
        adata.layers["counts"] = layer
    for verb in (pp.filter, pp.normalize, pp.select_genes):
        with pytest.raises(
            ScraeError, match=r"Expected checked counts .* in layers\['counts'\], found .*use_counts"
        ):
            verb(adata)


def test_histograms_of_all_cells_that_came_in():
    adata = filtered(min_cells=1, min_counts=3)
    before = adata.uns["scrae"]["before_filter"]
    counts = np.array(COUNTS)
    totals, genes = counts.sum(axis=1), (counts > 0).sum(axis=1)
    for name, values in (("scrae_n_counts", totals), ("scrae_n_genes", genes)):
        edges, cells = before[name]["edges"], before[name]["cells"]
        assert (len(edges), len(cells)) == (49, 48)
        np.testing.assert_allclose(edges[[0, -1]], [values[values > 0].min(), values.max()])
        np.testing.assert_allclose(np.diff(np.log(edges)), np.diff(np.log(edges))[0])
        assert cells.sum() == (values > 0).sum() > adata.n_obs
        np.testing.assert_array_equal(cells, np.histogram(values, edges)[0])
    mito = before["scrae_mito"]
    assert mito["cells"].sum() == len(COUNTS)
    np.testing.assert_allclose(mito["edges"][[0, -1]], [0, 0.7])
