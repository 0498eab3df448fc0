from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scanpy as sc

from scrae.report._markers import choose_genes, marker_tables, summarize


@pytest.mark.filterwarnings(
    "ignore:invalid value encountered:RuntimeWarning"
)  # scanpy: genes without variance
def test_the_genes_and_numbers_are_scanpy_s(adata):
    adata.obs["scrae"] = adata.obs["scrae"].cat.rename_categories(list("edcba"))
    sc.tl.rank_genes_groups(adata, "scrae", method="t-test", pts=True)
    tables = marker_tables(summarize(adata))
    assert list(tables) == list("edcba")
    for name, table in tables.items():
        theirs = sc.get.rank_genes_groups_df(adata, name).head(10)
        assert table["gene"].tolist() == theirs["names"].tolist()
        np.testing.assert_allclose(table["score"], theirs["scores"], rtol=1e-4)
        np.testing.assert_allclose(table["log2_fold_change"], theirs["logfoldchanges"], rtol=1e-4)
        np.testing.assert_allclose(table["p_adjusted"], theirs["pvals_adj"], rtol=1e-3)
        np.testing.assert_allclose(table["share_in"], theirs["pct_nz_group"], rtol=1e-6)
        np.testing.assert_allclose(table["share_out"], theirs["pct_nz_reference"], rtol=1e-6)


def test_the_best_genes_are_those_put_in(adata):
    genes = marker_tables(summarize(adata))["2"]["gene"]
    programmed = {f"Gene{i}" for i in range(2, 60, 5)}
    assert len(set(genes[:5]) & programmed) == 5


def test_sums_of_clusters(adata):
    summary = summarize(adata)
    x = adata.X.toarray()[(adata.obs["scrae"] == "1").to_numpy()]
    np.testing.assert_allclose(summary.mean[1], x.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(summary.share[1], (x > 0).mean(axis=0), rtol=1e-6)
    assert summary.size.sum() == adata.n_obs


def test_a_single_cell_and_a_single_cluster_cannot_be_tested(adata):
    codes = np.ones(adata.n_obs, dtype=int)
    codes[0] = 2
    codes[1:100] = 0
    adata.obs["scrae"] = pd.Categorical(codes.astype(str))
    assert list(marker_tables(summarize(adata))) == ["0", "1"]
    adata.obs["scrae"] = pd.Categorical(["0"] * adata.n_obs)
    assert marker_tables(summarize(adata)) == {}


def test_genes_are_chosen_in_turns():
    tables = {"0": pd.DataFrame({"gene": ["a", "b", "c"]}), "1": pd.DataFrame({"gene": ["b", "d"]})}
    assert choose_genes(tables, 10) == {"a": "0", "b": "1", "d": "1", "c": "0"}
    assert choose_genes(tables, 2) == {"a": "0", "b": "1"}
    assert choose_genes({}, 5) == {}
