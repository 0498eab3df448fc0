"""scanpy's functions work at once on the result of a run."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from anndata import AnnData, read_h5ad
from matplotlib.colors import to_rgb
from scipy import sparse

import scrae
from scrae import tl
from scrae.cluster.graph import neighbor_graph

SMALL = scrae.Settings(
    preprocess=scrae.PreprocessConfig(min_cells=3, n_top_genes=20, gene_selection="deviance"),
    model=scrae.ModelConfig(n_latent=3, encoder_layers=(8,), decoder_layers=(8,)),
    train=scrae.TrainConfig(max_epochs=3, batch_size=32),
    cluster=scrae.ClusterConfig(n_clusters=3),
)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> AnnData:
    rng = np.random.default_rng(0)
    kind = np.arange(90) % 3
    rates = np.full((3, 30), 0.5)
    for k in range(3):
        rates[k, 10 * k : 10 * k + 10] = 5.0
    adata = AnnData(sparse.csr_matrix(rng.poisson(rates[kind]).astype(np.float32)))
    adata.var_names = [f"Gene{i}" for i in range(30)]
    adata.obs["kind"] = pd.Categorical(np.array(["T", "B", "NK"])[kind])
    folder = tmp_path_factory.mktemp("scanpy")
    adata.write_h5ad(folder / "cells.h5ad")
    scrae.run(folder / "cells.h5ad", folder / "out", SMALL, label_key="kind")
    return read_h5ad(folder / "out" / "result.h5ad")


@pytest.mark.filterwarnings("ignore:The set_bad function:PendingDeprecationWarning")  # scanpy's call
def test_the_pictures_are_scanpy_s(result: AnnData) -> None:
    for draw in (sc.pl.umap, sc.pl.tsne):
        ax = draw(result, color="scrae", show=False)
        assert len(ax.collections[0].get_offsets()) == 90
        shown = {tuple(np.round(color[:3], 3)) for color in ax.collections[0].get_facecolor()}
        ours = {tuple(np.round(to_rgb(c), 3)) for c in result.uns["scrae_colors"]}
        assert shown == ours
    assert len(result.uns["kind_colors"]) == 3
    plt.close("all")


def test_the_graph_is_that_of_the_clusters(result: AnnData) -> None:
    graph = neighbor_graph(result.obsm["X_scrae"], result.obsm["X_scrae_input"])
    assert abs(result.obsp["connectivities"] - graph.joined).max() == 0
    assert abs(result.obsp["distances"] - graph.distances).max() == 0
    assert abs(graph.joined - graph.connectivities).max() > 0.1
    sc.tl.paga(result, groups="scrae")
    assert result.uns["paga"]["connectivities"].shape == (3, 3)
    sc.tl.leiden(result, flavor="igraph", n_iterations=2, directed=False, resolution=0.3)
    table = pd.crosstab(result.obs["leiden"], result.obs["kind"])
    assert table.max().sum() > 80
    sc.tl.diffmap(result)
    sc.tl.umap(result, maxiter=5)


@pytest.mark.filterwarnings("ignore:The set_bad function:PendingDeprecationWarning")  # scanpy's call
def test_genes_are_found(result: AnnData) -> None:
    assert result.var["highly_variable"].equals(result.var["scrae_selected"].rename("highly_variable"))
    assert result.var["highly_variable"].sum() == 20
    sc.pp.pca(result, n_comps=5)
    assert np.abs(result.varm["PCs"][~result.var["highly_variable"]]).max() == 0
    sc.tl.rank_genes_groups(result, "scrae", method="wilcoxon")
    best = sc.get.rank_genes_groups_df(result, "0").iloc[0]
    cells = (result.obs["scrae"] == "0").to_numpy()
    x = result[:, best["names"]].X.toarray().ravel().astype(float)
    expected = np.log2(np.expm1(x[cells].mean()) / np.expm1(x[~cells].mean()))  # as scanpy computes it
    assert best["logfoldchanges"] == pytest.approx(expected, rel=1e-4)
    sc.pl.rank_genes_groups_dotplot(result, n_genes=2, dendrogram=False, show=False)
    plt.close("all")


def test_the_graph_of_a_sample_is_not_written(result: AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = AnnData(obsm={"X_scrae": result.obsm["X_scrae"]})
    monkeypatch.setattr("scrae.tl._codes.MAX_CELLS", 45)
    assert tl.neighbors(cells) is not None
    assert not cells.obsp


def test_parts_and_copies(result: AnnData) -> None:
    part = result[result.obs["scrae"] == "0"]
    assert part.is_view
    assert part.obsp["connectivities"].shape == (part.n_obs, part.n_obs)
    own = part.copy()
    tl.cluster(own, n_clusters=2)
    assert set(own.obs["scrae"]) == {"0", "1"}
    assert result.obs["scrae"].nunique() == 3
    whole = result.copy()
    whole.obsm["X_umap"][:] = 0
    assert np.abs(result.obsm["X_umap"]).max() > 0


def test_the_file_can_be_written_by_anndata(result: AnnData, tmp_path: Path) -> None:
    result.write_h5ad(tmp_path / "again.h5ad")
    again = read_h5ad(tmp_path / "again.h5ad")
    assert again.uns["neighbors"]["params"]["use_rep"] == "X_scrae"
    assert again.uns["log1p"] == {}
