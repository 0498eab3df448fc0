"""scanpy's functions work at once on the result of a run."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from anndata import AnnData, read_h5ad
from helpers.three_kinds import SMALL, three_kinds
from matplotlib.colors import to_rgb

import scrae
from scrae import tl
from scrae.cluster.graph import neighbor_graph


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> AnnData:
    adata = three_kinds(90, 30, n_marking=10, low=0.5, high=5.0)
    adata.var_names = [f"Gene{i}" for i in range(30)]
    folder = tmp_path_factory.mktemp("scanpy")
    adata.write_h5ad(folder / "cells.h5ad")
    cluster = scrae.ClusterConfig(n_clusters=3)
    scrae.run(folder / "cells.h5ad", folder / "out", SMALL, cluster=cluster, label_key="kind", tsne=True)
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
