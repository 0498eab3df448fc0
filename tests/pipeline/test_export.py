"""Exports can be read by what they are for, or by a reader of the same format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from anndata import AnnData, read_h5ad
from helpers.fabricated import fabricate, write_run

import scrae
from scrae import ScraeError
from scrae.pipeline.export import export


@pytest.fixture
def adata() -> AnnData:
    made = fabricate(60, 20, 3)
    made.var["gene_ids"] = [f"ENSG{i:011d}" for i in range(20)]
    return made


@pytest.fixture
def folder(tmp_path: Path, adata: AnnData) -> Path:
    return write_run(tmp_path / "out", adata)


def test_mtx_is_read_by_scanpy_and_by_us(folder: Path, adata: AnnData, tmp_path: Path) -> None:
    made = export(folder, "mtx", tmp_path / "mtx")
    theirs = sc.read_10x_mtx(made)
    ours = scrae.io.read(made)
    for read in (theirs.X, ours.layers["counts"]):
        assert abs(read - adata.layers["counts"]).nnz == 0
    assert list(theirs.var_names) == list(adata.var_names)
    assert list(theirs.var["gene_ids"]) == list(adata.var["gene_ids"])
    assert list(theirs.obs_names) == list(adata.obs_names)
    clusters = pd.read_csv(made / "clusters.csv", index_col="barcode", dtype=str)
    assert list(clusters["cluster"]) == list(adata.obs["scrae"])


def test_loupe_has_a_table_for_clusters_and_for_each_projection(folder: Path, tmp_path: Path) -> None:
    adata = read_h5ad(folder / "result.h5ad")
    adata.obsm["X_tsne"][3] = np.nan
    adata.obs["scrae_name"] = "cells"
    adata.write_h5ad(folder / "result.h5ad")
    made = export(folder, "loupe-csv", tmp_path / "loupe")
    assert {path.name for path in made.iterdir()} == {"cluster.csv", "name.csv", "umap.csv", "tsne.csv"}
    assert (made / "cluster.csv").read_text().splitlines()[0] == "Barcode,scrae cluster"
    umap = pd.read_csv(made / "umap.csv", index_col="Barcode")
    assert list(umap.columns) == ["X Coordinate", "Y Coordinate"]
    np.testing.assert_allclose(umap, adata.obsm["X_umap"], rtol=1e-5)
    assert len(pd.read_csv(made / "tsne.csv")) == 59


def test_cellxgene_has_counts_in_raw_and_complete_embeddings(
    folder: Path, adata: AnnData, tmp_path: Path
) -> None:
    made = read_h5ad(export(folder, "cellxgene", tmp_path / "cells.h5ad"))
    assert abs(made.raw.X - adata.layers["counts"]).nnz == 0
    assert made.raw.X.dtype == np.float32
    assert abs(made.X - adata.X).nnz == 0
    assert sorted(made.obsm) == ["X_tsne", "X_umap"]
    assert made.uns["default_embedding"] in made.obsm
    assert isinstance(made.obs["scrae"].dtype, pd.CategoricalDtype)
    assert "scrae" not in made.uns


def test_seurat_gets_counts_metadata_codes_and_a_script(folder: Path, adata: AnnData, tmp_path: Path) -> None:
    made = export(folder, "seurat", tmp_path / "seurat")
    metadata = pd.read_csv(made / "metadata.csv", index_col=0, dtype={"scrae": str})
    assert list(metadata["scrae"]) == list(adata.obs["scrae"])
    latent = pd.read_csv(made / "latent.csv", index_col=0)
    np.testing.assert_allclose(latent, adata.obsm["X_scrae"], rtol=1e-5)
    script = (made / "read.R").read_text()
    read = {path.name for path in made.iterdir()} - {"read.R"}
    for name in ("metadata.csv", "latent.csv", "umap.csv"):
        assert f'"{name}"' in script
        assert name in read
    assert {"matrix.mtx.gz", "features.tsv.gz", "barcodes.tsv.gz"} <= read  # of Read10X


def test_bad_requests_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ScraeError, match="expected one of mtx, loupe-csv, cellxgene, seurat, found 'Seurat'; did"
    ):
        export(folder, "Seurat", tmp_path / "x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("kept")
    with pytest.raises(ScraeError, match="expected a new or empty folder"):
        export(folder, "mtx", tmp_path / "full")
    assert json.loads((folder / "run.json").read_text())["seed"] == 0
    with pytest.raises(ScraeError, match=r"result\.h5ad does not exist"):
        export(tmp_path / "nothing", "mtx", tmp_path / "y")
