"""Gene selection over a file, block by block: the same result as in memory."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
from helpers.preprocessing_cells import two_types

from scrae import io, pp
from scrae.errors import ScraeError
from scrae.io import CountBlocks

STREAMED = ["seurat_v3", "seurat", "cell_ranger", "deviance", "m3drop", "nbumi", "nbumi_high_variance"]

pytestmark = pytest.mark.filterwarnings("ignore:Writing zarr v2 data:UserWarning")  # anndata's default today


@pytest.fixture(scope="module")
def raw() -> anndata.AnnData:
    """Counts with a rare gene, an empty cell, a cell of rare genes alone, and a gene that is very high."""
    adata = two_types()
    counts = adata.layers["counts"].tolil()
    counts[:, 7] = 0
    counts[4, 7] = 3
    counts[11] = 0
    counts[12] = 0
    counts[12, 7] = 2
    counts[:, 20] = np.arange(300)[:, None] % 60 + 90
    counts[[11, 12], 20] = 0
    made = anndata.AnnData(counts.tocsr().astype(np.float32), obs=adata.obs[["batch"]], var=adata.var[[]])
    made.var_names = [("MT-" if n == 3 else "") + name for n, name in enumerate(made.var_names)]
    return made


@pytest.fixture(scope="module")
def file(raw, tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "raw.h5ad"
    raw.write_h5ad(path)
    return path


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(CountBlocks, "__init__", _with_rows(CountBlocks.__init__))


def _with_rows(make):
    def made(self, **arguments):
        make(self, **{"rows": 37, **arguments})

    return made


def assert_same(ours, other):
    assert list(ours.var_names) == list(other.var_names)
    np.testing.assert_allclose(ours.var["scrae_score"], other.var["scrae_score"], rtol=1e-8, atol=1e-11)
    np.testing.assert_array_equal(ours.var["scrae_rank"], other.var["scrae_rank"])
    np.testing.assert_array_equal(ours.var["scrae_selected"], other.var["scrae_selected"])
    facts, others = ours.uns["scrae"]["gene_selection"], other.uns["scrae"]["gene_selection"]
    assert facts.keys() == others.keys()
    for name, value in facts.items():
        if isinstance(value, np.ndarray | float):
            np.testing.assert_allclose(value, others[name], rtol=1e-8, atol=1e-11)
        else:
            assert value == others[name]


def in_memory(path, min_cells=10, **options):
    adata = io.read(path)
    pp.filter(adata, min_cells=min_cells)
    pp.normalize(adata)
    pp.select_genes(adata, **options)
    return adata


@pytest.mark.parametrize("batch_key", [None, "batch"])
@pytest.mark.parametrize("method", STREAMED)
def test_the_same_as_in_memory(file, method, batch_key):
    options = {"method": method, "n_top_genes": 50, "batch_key": batch_key}
    ours, other = pp.select_genes_of_file(file, **options), in_memory(file, **options)
    assert_same(ours, other)
    assert ours.X is None
    assert ours.shape == (298, 395)
    assert list(ours.obs_names) == list(other.obs_names)
    columns = ["scrae_n_counts", "scrae_n_genes", "scrae_mito"]
    pd.testing.assert_frame_equal(ours.obs[columns], other.obs[columns])
    assert ours.uns["scrae"]["filter"] == other.uns["scrae"]["filter"]
    assert ours.uns["scrae"]["filter"]["cells_dropped"] == {"min_genes": 1, "no_gene_left": 1}
    lines = [line for line in other.uns["scrae"]["notes"] if not line.startswith("Normalization")]
    if method in ("seurat", "cell_ranger"):
        lines = other.uns["scrae"]["notes"]
        assert any("very highly expressed" in line for line in lines)
        np.testing.assert_array_equal(ours.obs["scrae_size_factor"], other.obs["scrae_size_factor"])
    assert ours.uns["scrae"]["notes"] == lines


@pytest.mark.parametrize("method", ["m3drop", "nbumi"])
def test_a_threshold_instead_of_a_number(file, method):
    assert_same(
        pp.select_genes_of_file(file, method=method, fdr=0.01), in_memory(file, method=method, fdr=0.01)
    )


@pytest.mark.parametrize("method", STREAMED)
def test_a_backed_anndata(file, method):
    """Not filtered: all genes and cells, what is empty comes last."""
    ours = anndata.read_h5ad(file, backed="r")
    other = io.read(file)
    pp.normalize(other)
    for adata in (ours, other):
        pp.select_genes(adata, method=method, n_top_genes=50)
    assert_same(ours, other)
    assert ours.isbacked
    assert any(line == f"Gene selection: 50 of 400 genes by {method}." for line in ours.uns["scrae"]["notes"])
    taken = ours[:, ours.var["scrae_selected"]].to_memory()
    assert taken.shape == (300, 50)


def test_a_zarr_store_and_a_layer(raw, tmp_path, file):
    logged = raw.copy()
    logged.layers["umis"] = raw.X
    logged.X = np.log1p(raw.X)
    logged.write_zarr(tmp_path / "raw.zarr")
    ours = pp.select_genes_of_file(tmp_path / "raw.zarr", method="nbumi", layer="umis", n_top_genes=50)
    assert_same(ours, in_memory(file, method="nbumi", n_top_genes=50))


def test_a_file_that_scrae_wrote_has_its_counts_in_memory(file, tmp_path):
    other = in_memory(file, method="seurat", n_top_genes=50)
    io.write_h5ad(other, tmp_path / "done.h5ad")
    backed = anndata.read_h5ad(tmp_path / "done.h5ad", backed="r")
    pp.select_genes(backed, method="m3drop", n_top_genes=30)
    pp.select_genes(other, method="m3drop", n_top_genes=30)
    assert_same(backed, other)


@pytest.mark.parametrize("method", ["pearson_residuals", "scmarker"])
def test_what_works_in_memory_only(file, method):
    message = (
        f"{method} needs the counts in memory, and these are in a file; choose one of seurat_v3, seurat, "
    )
    with pytest.raises(ScraeError, match=message):
        pp.select_genes(anndata.read_h5ad(file, backed="r"), method=method)
    with pytest.raises(ScraeError, match=message):
        pp.select_genes_of_file(file, method=method)


def test_what_is_refused(file, raw, tmp_path):
    backed = anndata.read_h5ad(file, backed="r")
    with pytest.raises(ScraeError, match=r"a view of a backed one; call .to_memory\(\)"):
        pp.select_genes(backed[:50], method="m3drop")
    with pytest.raises(
        ScraeError, match="batch_key: expected a column of obs, found no 'donor' among 'batch'"
    ):
        pp.select_genes_of_file(file, batch_key="donor")
    with pytest.raises(
        ScraeError, match="min_cells=400 leaves no gene: the most frequent one is in 298 cells"
    ):
        pp.select_genes_of_file(file, min_cells=400)
    with pytest.raises(ScraeError, match="Unknown gene selection 'hvg'"):
        pp.select_genes_of_file(file, method="hvg")
    late = raw.copy()
    late.X[299, 30] = 0.5
    late.write_h5ad(tmp_path / "late.h5ad")
    with pytest.raises(ScraeError, match=r"not a whole number \(0.5\) at cell 'cell299', gene 'gene30'"):
        pp.select_genes(anndata.read_h5ad(tmp_path / "late.h5ad", backed="r"), method="m3drop")
