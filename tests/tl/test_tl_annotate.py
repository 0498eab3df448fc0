from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad
from scipy import sparse

from scrae import tl
from scrae.errors import ScraeError
from scrae.io import write_h5ad
from scrae.tl._annotate import can_annotate
from scrae.tl._cell_types import lists_for, read_lists

_OTHERS = [f"Other{i}" for i in range(40)]


def cells(*types: list[str]) -> AnnData:
    """Thirty cells of each type, which alone expresses these genes; every cell expresses the other genes."""
    genes = [*dict.fromkeys(gene for own in types for gene in own), *_OTHERS]
    rates = np.full((len(types), len(genes)), 0.02)
    rates[:, -40:] = 2.0
    for k, own in enumerate(types):
        rates[k, [genes.index(gene) for gene in own]] = 4.0
    kind = np.repeat(np.arange(len(types)), 30)
    counts = sparse.csr_matrix(np.random.default_rng(0).poisson(rates[kind]).astype(np.int32))
    adata = AnnData(counts.astype(np.float32), layers={"counts": counts})
    adata.var_names = genes
    adata.obs["scrae"] = pd.Categorical(kind.astype(str))
    return adata


T, B, NOTHING = ["CD3D", "CD3E", "CD2", "CD5", "IL7R", "TRAC"], ["MS4A1", "CD79A", "CD19"], []


def test_each_cluster_gets_the_type_whose_genes_it_expresses(tmp_path):
    adata = cells(T, B, NOTHING)
    tl.annotate(adata)
    table = adata.uns["scrae"]["annotation"]
    assert table["name"].tolist() == ["T cell", "B cell", "unknown"]
    assert set(table["genes"].iloc[1].split()) == set(B)
    assert table["genes"].iloc[2] == ""
    assert adata.obs["scrae_name"].tolist() == ["T cell"] * 30 + ["B cell"] * 30 + ["unknown"] * 30
    write_h5ad(adata, tmp_path / "a.h5ad")
    assert (
        read_h5ad(tmp_path / "a.h5ad").uns["scrae"]["annotation"]["name"].tolist() == table["name"].tolist()
    )


def test_the_score_is_that_of_the_formula():
    adata = cells(["A", "B", "C"], ["C", "D"])
    tl.annotate(adata, markers={"mine": ["A", "B", "C", "absent"]})
    counts = adata.layers["counts"].toarray()
    depth = counts.sum(axis=1, keepdims=True)
    logs = np.log1p(counts * np.median(depth) / depth)[:, :3].reshape(2, 30, 3)
    mean, share = logs.mean(axis=1), (logs > 0).mean(axis=1)
    expected = (np.sqrt(share) * mean / mean.max(axis=0)).sum(axis=1) / 4
    np.testing.assert_allclose(adata.uns["scrae"]["annotation"]["score"], expected)


def test_a_name_needs_most_genes_of_its_list():
    """Six of ten genes are enough, five are not although the score is; of long lists eight are."""
    genes = [f"G{i}" for i in range(30)]
    for n_genes, n_expressed, name in (
        (10, 6, "mine"),
        (10, 5, "unknown"),
        (20, 8, "mine"),
        (20, 7, "unknown"),
    ):
        adata = cells(genes[:n_expressed], genes[n_expressed:n_genes])
        tl.annotate(adata, markers={"mine": genes[:n_genes], "other": genes[n_expressed:n_genes][:3]})
        table = adata.uns["scrae"]["annotation"]
        assert table["score"].iloc[0] > 0.25
        assert table["name"].iloc[0] == name


def test_mouse_lists_are_used_for_mouse_genes():
    adata = cells(["Cd3d", "Cd3e", "Cd2", "Trac"], ["Ins1", "Ins2", "Iapp", "Mafa"])
    tl.annotate(adata)
    assert adata.uns["scrae"]["annotation"]["name"].tolist() == ["T cell", "beta cell"]


def test_general_types_give_way_to_special_ones():
    ductal = ["KRT7", "KRT19", "CFTR", "SOX9", "MMP7", "EPCAM", "KRT8", "KRT18"]
    adata = cells(ductal, ["EPCAM", "KRT8", "KRT18", "KRT19", "CDH1"])
    tl.annotate(adata)
    assert adata.uns["scrae"]["annotation"]["name"].tolist() == ["pancreatic ductal cell", "epithelial cell"]


def test_tissue_leaves_the_types_of_other_tissues_out():
    chosen = tl.cell_types("pancreas")
    assert {"beta cell", "T cell", "fibroblast", "endothelial cell"} <= set(chosen["type"])
    assert not {"enteroendocrine cell", "microglia"} & set(chosen["type"])
    with pytest.raises(ScraeError, match=r"tissue: expected one of any, blood.*did you mean 'pancreas'"):
        tl.annotate(cells(T, B), tissue="pancreass")
    with pytest.raises(ScraeError, match="leave it out, or leave out markers"):
        tl.annotate(cells(T, B), tissue="blood", markers={"T": T})


def test_the_lists_of_the_package_are_well_formed():
    table = tl.cell_types()
    assert table["type"].is_unique
    assert not table.isna().any(axis=None)
    assert table["doi"].str.match(r"^10\.\d{4,}/\S+$").all()
    for species in ("human", "mouse"):
        genes = table[species].str.split()
        assert (genes.map(len) == genes.map(lambda own: len(set(own)))).all()
        assert genes.map(len).min() >= 4
    assert lists_for(pd.Index(["CD3D"]), None, None)["T cell"][0][0] == "CD3D"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.gmt", "T cell\tsource\tCD3D\tCD3E\tCD2\nB cell\t\tMS4A1\tCD79A\tCD19\n"),
        ("a.csv", "type,gene\nT cell,CD3D\nT cell,CD3E CD2\nB cell,MS4A1\nB cell,CD79A CD19\n"),
        ("a.tsv", "type\tgene\nT cell\tCD3D CD3E CD2\nB cell\tMS4A1 CD79A CD19\n"),
    ],
)
def test_lists_of_the_user(tmp_path, name: str, text: str):
    (tmp_path / name).write_text(text)
    assert read_lists(tmp_path / name) == {
        "T cell": ["CD3D", "CD3E", "CD2"],
        "B cell": ["MS4A1", "CD79A", "CD19"],
    }
    adata = cells(T, B)
    tl.annotate(adata, markers=tmp_path / name)
    assert adata.uns["scrae"]["annotation"]["name"].tolist() == ["T cell", "B cell"]


def test_files_that_hold_no_lists_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("name,gene\nT,CD3D\n")
    with pytest.raises(ScraeError, match="expected the columns type and gene, found name, gene"):
        read_lists(tmp_path / "a.csv")
    (tmp_path / "a.gmt").write_text("T cell\tsource\n")
    with pytest.raises(ScraeError, match="expected marker lists, found none"):
        read_lists(tmp_path / "a.gmt")
    with pytest.raises(ScraeError, match="expected marker lists as GMT, or a csv"):
        read_lists(tmp_path / "missing.csv")


def test_genes_without_symbols_are_refused():
    adata = cells(["ENSG1", "ENSG2"], ["ENSG3"])
    assert not can_annotate(adata)
    with pytest.raises(
        ScraeError, match="found genes such as ENSG1, ENSG2, ENSG3; var_names have to be gene symbols"
    ):
        tl.annotate(adata)


def test_celltypist_labels_are_put_to_the_vote(monkeypatch):
    adata = cells(T, B, NOTHING)
    labels = ["T"] * 25 + ["B"] * 5 + ["B"] * 30 + ["T"] * 10 + ["B"] * 10 + ["NK"] * 10
    seen = {}

    def predict(given: AnnData, model: str) -> SimpleNamespace:
        seen["sum"], seen["model"] = np.expm1(given.X.toarray()).sum(axis=1), model
        return SimpleNamespace(predicted_labels=pd.DataFrame({"predicted_labels": labels}, given.obs_names))

    monkeypatch.setitem(sys.modules, "celltypist", SimpleNamespace(annotate=predict))
    tl.annotate(adata, celltypist="Immune_All_Low.pkl")
    table = adata.uns["scrae"]["annotation"]
    assert table["name"].tolist() == ["T", "B", "unknown"]
    assert table["score"].tolist() == pytest.approx([25 / 30, 1, 1 / 3])
    np.testing.assert_allclose(seen["sum"], 1e4, rtol=1e-4)
    assert seen["model"] == "Immune_All_Low.pkl"
    with pytest.raises(ScraeError, match="leave out markers and tissue"):
        tl.annotate(adata, celltypist="a.pkl", tissue="blood")


def test_without_celltypist_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "celltypist", None)
    with pytest.raises(ScraeError, match=r"pip install 'scrae\[celltypist\]'"):
        tl.annotate(cells(T, B), celltypist="Immune_All_Low.pkl")
