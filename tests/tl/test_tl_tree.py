"""The tree of the clusters, its cuts, and clusters within a cluster."""

from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData, read_h5ad
from sklearn.metrics import adjusted_rand_score

from scrae import ScraeError, tl

CENTERS = np.array([[0, 0, 0], [8, 0, 0], [60, 0, 0], [60, 8, 0]], dtype=float)
TYPES = np.repeat([0, 1, 2, 3], [70, 60, 50, 40])


@pytest.fixture
def adata() -> AnnData:
    z = (CENTERS[TYPES] + np.random.default_rng(0).normal(size=(220, 3))).astype(np.float32)
    adata = AnnData(z, obsm={"X_scrae": z})
    tl.cluster(adata, n_clusters=4)
    return adata


def test_near_clusters_are_joined_first_and_cuts_are_nested(adata, tmp_path):
    tl.cluster_tree(adata)
    tree = adata.uns["scrae"]["tree"]
    assert tree["sizes"].tolist() == [70, 60, 50, 40]
    assert sorted(map(sorted, tree["children"][:2].tolist())) == [[0, 1], [2, 3]]
    assert tree["children"][2].tolist() == [4, 5]
    adata.write_h5ad(tmp_path / "cells.h5ad")
    adata = read_h5ad(tmp_path / "cells.h5ad")
    tl.cut_tree(adata, 2, key_added="coarse")
    assert adjusted_rand_score(adata.obs["coarse"], TYPES // 2) == 1
    assert adata.obs["coarse"].value_counts()["0"] == 130
    assert adata.uns["coarse"]["clusters"]["tree_of"] == "scrae"
    tl.cut_tree(adata, 3, key_added="medium")
    parts = adata.obs.groupby("medium", observed=True)["coarse"].nunique()
    assert len(parts) == 3
    assert (parts == 1).all()


def test_one_cluster_becomes_several_and_the_others_keep_their_names(adata):
    tl.cluster(adata, n_clusters=2)
    tl.stability(adata, repeats=2)
    tl.subcluster(adata, "0", n_clusters=2, key_added="finer")
    assert list(adata.obs["finer"].cat.categories) == ["0.0", "0.1", "1"]
    assert (adata.obs["finer"] == "0.0").tolist() == (TYPES == 0).tolist()
    assert (adata.obs["finer"] == "0.1").tolist() == (TYPES == 1).tolist()
    assert "finer" not in adata.uns["scrae"]
    assert "stability" in adata.uns["scrae"]
    tl.subcluster(adata, "1", n_clusters=2)
    assert list(adata.obs["scrae"].cat.categories) == ["0", "1.0", "1.1"]
    assert "stability" not in adata.uns["scrae"]
    assert adata.uns["scrae"]["clusters"]["n_clusters"] == 3
    tl.cluster_tree(adata)
    assert list(adata.uns["scrae"]["tree"]["names"]) == ["0", "1.0", "1.1"]


def test_levels_are_nested_in_the_clusters_and_can_be_read_back(adata, tmp_path):
    tl.cluster(adata, n_clusters=2)
    tl.cluster_levels(adata)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    adata = read_h5ad(tmp_path / "cells.h5ad")
    assert 8 < len(adata.obs["scrae_fine"].cat.categories) <= 12
    for k, truth in ((2, TYPES // 2), (4, TYPES)):
        tl.cut_tree(adata, k, cluster_key="scrae_fine", key_added="cut")
        assert adjusted_rand_score(adata.obs["cut"], truth) == 1
    assert adata.uns["scrae_fine"]["clusters"]["levels_of"] == "scrae"
    assert "tree" not in adata.uns["scrae"]


def test_cells_outside_the_sample_stay_in_their_cluster(adata, monkeypatch):
    monkeypatch.setattr("scrae.tl._codes.MAX_CELLS", 150)
    tl.cluster(adata, n_clusters=4)
    tl.cluster_levels(adata)
    parts = adata.obs.groupby("scrae_fine", observed=True)["scrae"].nunique()
    assert len(parts) > 4
    assert (parts == 1).all()
    assert adata.uns["scrae_fine"]["tree"]["sizes"].sum() == 220


def test_errors_say_what_to_do(adata):
    with pytest.raises(ScraeError, match=r"found none; use scrae.tl.cluster_tree\(adata\)"):
        tl.cut_tree(adata, 2, key_added="x")
    tl.cluster_tree(adata)
    with pytest.raises(ScraeError, match="expected 1 to 4 clusters, found 5"):
        tl.cut_tree(adata, 5, key_added="x")
    with pytest.raises(
        ScraeError, match=r"expected a cluster of obs\['scrae'\] \(0, 1, 2, 3\), found 'T cell'"
    ):
        tl.subcluster(adata, "T cell")
    adata.obs["scrae"] = adata.obs["scrae"].cat.rename_categories({"0": "T cell"})
    with pytest.raises(ScraeError, match="found that of other clusters"):
        tl.cut_tree(adata, 2, key_added="x")
    tl.cluster(adata, n_clusters=4)
    assert "tree" not in adata.uns["scrae"]  # new clusters
    adata.obs["scrae"] = adata.obs["scrae"].cat.set_categories(["0"]).fillna("0")
    with pytest.raises(ScraeError, match="expected at least two clusters"):
        tl.cluster_tree(adata)
