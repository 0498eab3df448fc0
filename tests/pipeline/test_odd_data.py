"""Odd but legal data goes the whole path from a file to clusters, with a tiny training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad
from scipy import sparse

import scrae
import scrae.pipeline.run as pipeline
from scrae import ScraeError, Settings, io, report

SMALL = Settings(
    preprocess=scrae.PreprocessConfig(min_cells=1, n_top_genes=20, gene_selection="deviance"),
    model=scrae.ModelConfig(n_latent=2, encoder_layers=(8,), decoder_layers=(8,)),
    train=scrae.TrainConfig(max_epochs=2, batch_size=32),
    cluster=scrae.ClusterConfig(n_clusters=2),
)


def counts(n_cells: int = 90, n_genes: int = 40, kinds: int = 3, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rates = np.full((kinds, n_genes), 0.5)
    for kind in range(kinds):
        rates[kind, kind::kinds] = 4.0
    matrix = rng.poisson(rates[np.arange(n_cells) % kinds])
    matrix[np.arange(n_cells), np.arange(n_cells) % n_genes] += 1
    return matrix


def anndata(matrix: object, genes: list[str] | None = None) -> AnnData:
    made = AnnData(matrix)
    made.obs_names = [f"cell {i}" for i in range(made.n_obs)]
    made.var_names = genes or [f"gene {i}" for i in range(made.n_vars)]
    return made


def of_one_count(matrix: np.ndarray) -> np.ndarray:
    """A third of the cells has one count."""
    matrix[::3] = 0
    matrix[::3, 0] = 1
    return matrix


def everywhere(matrix: np.ndarray) -> np.ndarray:
    matrix[:, 3] += 1
    return matrix


def to_a_million(matrix: np.ndarray) -> np.ndarray:
    matrix = matrix * np.random.default_rng(2).integers(1, 200_000, size=matrix.shape[1])
    matrix[5, 7] = 10**6
    return matrix


def nearly_empty(_: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(3)
    matrix = (rng.random((400, 400)) < 0.005).astype(int)  # 99.5 % zeros
    matrix[np.arange(400), rng.permutation(400)] = 1
    return matrix


MATRICES: dict[str, Callable[[], object]] = {
    "one cell type": lambda: counts(kinds=1),
    "50 cells": lambda: counts(n_cells=50),
    "5 cells": lambda: counts(n_cells=5),
    "20 genes": lambda: counts(n_genes=20),
    "2 genes": lambda: counts(n_genes=2),
    "cells with one count": lambda: of_one_count(counts()),
    "a gene in every cell": lambda: everywhere(counts()),
    "counts to a million": lambda: to_a_million(counts()),
    "99.5 % zeros": lambda: nearly_empty(counts()),
    "int8": lambda: counts().astype(np.int8),
    "int64": lambda: sparse.csr_matrix(counts().astype(np.int64)),
    "uint64": lambda: counts().astype(np.uint64),
    "float64": lambda: counts().astype(np.float64),
    "bool": lambda: sparse.csr_matrix(counts() > 2),
    "big-endian": lambda: counts().astype(">f8"),
    "by columns": lambda: sparse.csc_matrix(counts().astype(np.float32)),
}


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.filterwarnings("ignore:Spectral initialisation failed:UserWarning")  # UMAP then starts at random
def test_the_whole_path(tmp_path: Path, name: str):
    matrix = MATRICES[name]()
    anndata(matrix).write_h5ad(tmp_path / "raw.h5ad")
    result = whole_path(tmp_path)
    dense = matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)
    kept = dense[:, dense.any(axis=0)].astype(np.int64)
    np.testing.assert_array_equal(result.layers["counts"].toarray(), kept)


def test_all_cells_alike_are_no_two_clusters(tmp_path: Path):
    anndata(np.tile(counts()[0] + 1, (90, 1))).write_h5ad(tmp_path / "raw.h5ad")
    with pytest.raises(
        ScraeError, match=r"expected at most as many clusters as distinct codes \(1\), found 2"
    ):
        whole_path(tmp_path)


def whole_path(folder: Path) -> AnnData:
    """Read raw.h5ad, analyze it, write the result, and return it as read again."""
    adata = io.read(folder / "raw.h5ad", min_counts=0)
    wide = adata.n_vars >= 20
    settings = SMALL if wide else Settings(
        preprocess=scrae.PreprocessConfig(min_cells=1, n_top_genes=2, gene_selection="deviance"),
        model=SMALL.model, train=SMALL.train, cluster=SMALL.cluster,
    )  # fmt: skip
    pipeline.analyze(adata, settings)
    io.write_h5ad(adata, folder / "result.h5ad")
    result = read_h5ad(folder / "result.h5ad")
    assert result.obsm["X_scrae"].shape == (result.n_obs, 2)
    assert np.isfinite(result.obsm["X_scrae"]).all()
    assert list(result.obs["scrae"].cat.categories) == [str(k) for k in range(result.obs["scrae"].nunique())]
    assert np.isfinite(result.uns["scrae"]["history"]["reconstruction"]).all()
    return result


def test_gene_names_that_are_empty_unicode_twice_or_broken(tmp_path: Path):
    genes = [f"gene {i}" for i in range(40)]
    genes[:9] = ["", "", "Ünï🧬", "ACTB", "ACTB", "ACTB-1", "<script>alert(1)</script>", "a\nb", "n,m\t'\""]
    made = anndata(sparse.csr_matrix(counts().astype(np.float32)))
    made.var_names = genes
    made.write_h5ad(tmp_path / "raw.h5ad")
    result = whole_path(tmp_path)
    assert list(result.var_names[:9]) == [
        "gene_0", "gene_1", "Ünï🧬", "ACTB", "ACTB-2", "ACTB-1", "<script>alert(1)</script>", "a\ufffdb", "n,m\t'\"",
    ]  # fmt: skip
    notes = " ".join(result.uns["scrae"]["notes"])
    assert "2 gene names were empty and became 'gene_0', 'gene_1'" in notes
    assert "1 gene names occurred more than once and were made unique with -1, -2, ...: 'ACTB'" in notes
    assert "1 gene names held line breaks or broken characters, now \ufffd: 'a\ufffdb'" in notes


def test_names_with_half_a_character_can_be_saved(tmp_path: Path):
    made = anndata(sparse.csr_matrix(counts().astype(np.float32)))
    made.var_names = ["half \ud83e", *made.var_names[1:]]
    made.obs_names = ["cell \udc80", *made.obs_names[1:]]
    io.use_counts(made)
    model, _ = pipeline.analyze(made, SMALL)
    scrae.save(model, tmp_path / "model")
    io.write_h5ad(made, tmp_path / "result.h5ad")
    again = read_h5ad(tmp_path / "result.h5ad")
    assert again.var_names[0] == "half \ufffd"
    assert again.obs_names[0] == "cell \ufffd"


def test_64_bit_indices(tmp_path: Path):
    matrix = sparse.csr_matrix(counts().astype(np.float32))
    anndata(matrix).write_h5ad(tmp_path / "raw.h5ad")
    with h5py.File(tmp_path / "raw.h5ad", "r+") as file:
        for part in ("indices", "indptr"):
            values = file["X"][part][()].astype(np.int64)
            del file["X"][part]
            file["X"][part] = values
    result = whole_path(tmp_path)
    kept = counts()[:, counts().any(axis=0)]
    np.testing.assert_array_equal(result.layers["counts"].toarray(), kept)


def test_an_h5ad_of_an_older_anndata(tmp_path: Path):
    """Version 0.7: tables as groups with ``__categories``, no encoding of text; nested and missing metadata."""
    names = np.array([f"cell {i}" for i in range(90)], dtype=object)
    with h5py.File(tmp_path / "raw.h5ad", "w") as file:
        text = h5py.string_dtype()
        for table, index in (("obs", names), ("var", np.array([f"g{i}" for i in range(40)], dtype=object))):
            group = file.create_group(table)
            group.create_dataset("index", data=index, dtype=text)
            order = ["batch", "score"] if table == "obs" else []
            group.attrs.update({"_index": "index", "encoding-type": "dataframe", "encoding-version": "0.1.0"})
            group.attrs.create("column-order", np.array(order, dtype=object), dtype=text)
        file["obs/score"] = np.where(np.arange(90) % 7, np.arange(90.0), np.nan)
        file["obs"].create_dataset("__categories/batch", data=np.array(["a", "b"], dtype=object), dtype=text)
        file["obs/__categories/batch"].attrs["ordered"] = False
        file["obs/batch"] = np.where(np.arange(90) % 5, np.arange(90) % 2, -1).astype(np.int8)
        file["obs/batch"].attrs["categories"] = file["obs/__categories/batch"].ref
        matrix = sparse.csr_matrix(counts().astype(np.float32))
        group = file.create_group("X")
        group.attrs.update(
            {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": matrix.shape}
        )
        for part in ("data", "indices", "indptr"):
            group[part] = getattr(matrix, part)
        file["uns/deep/deeper/colors"] = np.array([b"#aa0000", b"#00bb00"])
        file["uns/deep/number"] = 3
    result = whole_path(tmp_path)
    assert result.obs["batch"].value_counts().to_dict() == {"a": 36, "b": 36}
    assert result.obs["batch"].isna().sum() == 18
    assert result.obs["score"].isna().sum() == 13
    assert int(result.uns["deep"]["number"]) == 3


def test_a_report_of_one_type_with_odd_names(tmp_path: Path):
    made = anndata(sparse.csr_matrix(counts(kinds=1).astype(np.float32)))
    made.var_names = ["</script><script>alert(1)</script>", *made.var_names[1:]]
    made.obs["type"] = pd.Categorical(["<b>only</b>"] * 90)
    made.write_h5ad(tmp_path / "raw.h5ad")
    scrae.run(tmp_path / "raw.h5ad", tmp_path / "out", SMALL, label_key="type", device="cpu")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    assert "<b>only</b>" not in page
    assert report.build(tmp_path / "out").exists()
