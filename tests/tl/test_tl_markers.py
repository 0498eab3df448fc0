from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from anndata import AnnData
from helpers.fabricated import fabricate
from scipy import sparse, stats
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from scrae import tl
from scrae.errors import ScraeError
from scrae.io import write_h5ad
from scrae.tl import _marker_test as test
from scrae.tl._markers import shown


def _counts(rates: np.ndarray, dispersion: float = 0.0, seed: int = 0) -> sparse.csr_matrix:
    rng = np.random.default_rng(seed)
    noise = rng.gamma(1 / dispersion, dispersion, rates.shape) if dispersion else 1.0
    return sparse.csr_matrix(rng.poisson(rates * noise).astype(np.int32))


def _one_population(n_cells: int = 800, n_genes: int = 800, seed: int = 0) -> AnnData:
    """Cells that differ in depth only, cut in two by K-means on principal components."""
    rng = np.random.default_rng(seed)
    rates = rng.gamma(0.5, 1.5, n_genes) * rng.lognormal(0, 0.5, (n_cells, 1))
    counts = _counts(rates, 0.2, seed)
    x = np.log1p(counts.toarray() / test.depth_of(counts)[:, None] * 1000)
    halves = KMeans(2, n_init=3, random_state=0).fit_predict(PCA(10, random_state=0).fit_transform(x))
    names = [f"cell{i}" for i in range(n_cells)]
    obs = pd.DataFrame({"scrae": pd.Categorical(halves.astype(str))}, index=names)
    adata = AnnData(x, obs=obs, layers={"counts": counts})
    adata.var_names = [f"Gene{i}" for i in range(n_genes)]
    return adata


@pytest.fixture(scope="module")
def adata() -> AnnData:
    found = fabricate()
    tl.markers(found)
    return found


def test_one_population_cut_in_two_has_no_markers():
    adata = _one_population()
    tl.markers(adata)
    assert adata.uns["scrae"]["marker_test"]["kept"] > 0.7  # the halves can be found again
    assert not len(shown(adata.uns["scrae"]["markers"], all_genes=True))
    sc.tl.rank_genes_groups(adata, "scrae", method="t-test")  # the usual test finds hundreds
    usual = sc.get.rank_genes_groups_df(adata, None)
    assert ((usual["pvals_adj"] < 0.05) & (usual["scores"] > 0)).sum() > 100


def test_p_values_are_uniform_between_random_groups_of_unequal_depth():
    rng = np.random.default_rng(3)
    rates = rng.gamma(0.5, 1.0, 3000) * np.repeat([0.5, 2.0], [300, 500])[:, None]
    sums = test.sum_by_cluster(_counts(rates, 0.3), np.repeat([0, 1], [300, 500]), 2)
    p = test.higher_rate(sums, sums.rest(), sums.dispersion())
    expressed = sums.total.sum(axis=0) > 100
    for row in p:
        assert (row[expressed] < 0.05).mean() == pytest.approx(0.05, abs=0.02)
        assert (row[expressed] < 0.001).mean() < 0.005


def test_a_strong_difference_has_the_p_value_of_the_exact_test():
    counts = sparse.csr_matrix(np.r_[np.full(40, 1), np.zeros(160)].astype(np.int32)[:, None])
    other = sparse.csr_matrix(np.full((200, 1), 9, dtype=np.int32))
    sums = test.sum_by_cluster(sparse.hstack([counts, other]).tocsr(), np.repeat([0, 1], 100), 2)
    p = test.higher_rate(sums, sums.rest(), np.zeros(2))[0, 0]
    exact = stats.binom.sf(39, 40, sums.depth[0] / sums.depth.sum())
    assert exact < p < 1e-5  # never smaller than the exact one


def test_dispersion_is_that_of_the_simulation():
    rates = np.full((2000, 500), 3.0) * np.random.default_rng(0).lognormal(0, 0.3, (2000, 1))
    for true in (0.0, 0.5):
        sums = test.sum_by_cluster(_counts(rates, true), np.zeros(2000, int), 1)
        assert sums.dispersion().mean() == pytest.approx(true, abs=0.01)


def test_halves_add_up_and_are_independent():
    counts = _counts(np.full((20_000, 2), 4.0), 0.5)
    first, second = test.split_counts(counts, np.array([0.5, 0.5]), 0)
    assert (first + second != counts).nnz == 0
    for gene in range(2):
        a, b = first[:, gene].toarray().ravel(), second[:, gene].toarray().ravel()
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.03
    poisson = test.split_counts(counts, np.zeros(2), 0)
    assert np.corrcoef(*(half[:, 0].toarray().ravel() for half in poisson))[0, 1] > 0.3


def test_auroc_is_scikit_learn_s():
    counts = _counts(np.full((200, 6), 0.8) * np.linspace(0.5, 2, 200)[:, None])
    codes = np.arange(200) % 3
    codes[:5] = -1
    found = test.auroc(counts, codes, 3, np.array([0, 2, 5]))
    depth = np.maximum(test.depth_of(counts), 1)
    values = (counts.toarray() / depth[:, None]).astype(np.float32)[5:]
    for k in range(3):
        expected = [roc_auc_score(codes[5:] == k, values[:, gene]) for gene in (0, 2, 5)]
        np.testing.assert_allclose(found[k], expected, atol=1e-6)


def test_sums_are_those_of_dense_arithmetic():
    counts = _counts(np.full((50, 4), 1.5))
    codes, dense = np.arange(50) % 3 - 1, counts.toarray().astype(float)
    sums = test.sum_by_cluster(counts, codes, 2)
    group = dense[codes == 1]
    np.testing.assert_allclose(sums.total[1], group.sum(axis=0))
    np.testing.assert_allclose(sums.squares[1], (group**2).sum(axis=0))
    np.testing.assert_allclose(sums.weighted[1], (group * group.sum(axis=1)[:, None]).sum(axis=0))
    assert sums.depth_squares[1] == (group.sum(axis=1) ** 2).sum()
    assert sums.size.tolist() == [17, 16]


def test_the_programmed_genes_come_first(adata):
    table = shown(adata.uns["scrae"]["markers"])
    for k in range(5):
        programmed = {f"Gene{i}" for i in range(k, 60, 5)}
        best = table[table["cluster"] == str(k)]
        assert set(best["gene"][:5]) <= programmed
        assert (best["share_in"] >= 0.1).all()
        assert best["score"].is_monotonic_decreasing


def test_columns_describe_the_given_clusters(adata):
    table = adata.uns["scrae"]["markers"]
    row = table[table["cluster"] == "1"].iloc[0]
    inside = (adata.obs["scrae"] == "1").to_numpy()
    counts = adata.layers["counts"].toarray().astype(float)
    y, depth = counts[:, adata.var_names.get_loc(row["gene"])], counts.sum(axis=1)
    assert row["share_in"] == pytest.approx((y[inside] > 0).mean())
    assert row["share_out"] == pytest.approx((y[~inside] > 0).mean())
    means = [y[part].sum() / depth[part].sum() * np.median(depth) for part in (inside, ~inside)]
    assert [row["mean_in"], row["mean_out"]] == pytest.approx(means)
    assert row["log2_fold_change"] == pytest.approx(np.log2((means[0] + 0.01) / (means[1] + 0.01)))


def test_a_gene_of_two_clusters_separates_from_a_third():
    rng = np.random.default_rng(0)
    rates = np.full((600, 60), 1.0)
    rates[:, 3:40] = 4.0
    rates[200:, 3:40] = 0.5  # cluster 0 is far from the others
    rates[200:, 0] = 8.0  # of clusters 1 and 2
    rates[200:400, 1] = 8.0  # of cluster 1 only
    counts = sparse.csr_matrix(rng.poisson(rates).astype(np.int32))
    obs = pd.DataFrame(
        {"scrae": pd.Categorical(np.repeat(["0", "1", "2"], 200))}, index=[f"c{i}" for i in range(600)]
    )
    adata = AnnData(counts.astype(np.float32), obs=obs, layers={"counts": counts})
    adata.var_names = [f"Gene{i}" for i in range(60)]
    tl.markers(adata)
    table = adata.uns["scrae"]["markers"]
    of_1 = table[table["cluster"] == "1"].set_index("gene")["separates_from"]
    assert of_1["Gene1"] == "2"
    assert of_1["Gene0"] == "0"


def test_scanpy_and_h5ad_take_the_result(adata, tmp_path):
    table = sc.get.rank_genes_groups_df(adata, "2")
    ours = shown(adata.uns["scrae"]["markers"], all_genes=True)
    assert table["names"][0] == ours["gene"][ours["cluster"] == "2"].iloc[0]
    write_h5ad(adata, tmp_path / "a.h5ad")
    again = anndata.read_h5ad(tmp_path / "a.h5ad")
    pd.testing.assert_frame_equal(again.uns["scrae"]["markers"], adata.uns["scrae"]["markers"])
    assert sc.get.rank_genes_groups_df(again, "2")["names"].tolist() == table["names"].tolist()


def test_housekeeping_genes_stay_in_the_table_and_are_not_shown():
    adata = fabricate()
    names = adata.var_names.to_list()
    names[0], names[5], names[10], names[15] = "RPS14", "MT-CO1", "HBB", "FOS"
    adata.var_names = names
    tl.markers(adata)
    table = adata.uns["scrae"]["markers"]
    kinds = table.set_index("gene")["kind"].astype(str)
    for gene, kind in {
        "RPS14": "ribosomal",
        "MT-CO1": "mitochondrial",
        "HBB": "hemoglobin",
        "FOS": "stress",
    }.items():
        assert set(np.atleast_1d(kinds[gene])) == {kind}
    hidden = {"RPS14", "MT-CO1", "HBB", "FOS"}
    assert not hidden & set(shown(table)["gene"])
    assert hidden <= set(shown(table, all_genes=True)["gene"])
    assert not hidden & set(sc.get.rank_genes_groups_df(adata, "0")["names"][:5])


def test_fixed_groups_are_tested_with_all_molecules():
    adata = fabricate()
    tl.markers(adata, split=False)
    assert adata.uns["scrae"]["marker_test"]["kept"] == 1
    fixed = adata.uns["scrae"]["markers"].set_index(["cluster", "gene"])["p_value"]
    tl.markers(adata)
    split = adata.uns["scrae"]["markers"].set_index(["cluster", "gene"])["p_value"]
    assert np.median(np.log10(fixed + 1e-300) - np.log10(split + 1e-300)) < 0


def test_bad_input_is_one_line():
    adata = fabricate()
    with pytest.raises(ScraeError, match="expected a column 'leiden' in obs"):
        tl.markers(adata, cluster_key="leiden")
    with pytest.raises(ScraeError, match="min_share from 0 to 1, found 10"):
        tl.markers(adata, min_share=10)
    adata.obs["one"] = "a"
    with pytest.raises(ScraeError, match="at least two clusters in obs\\['one'\\], found 1"):
        tl.markers(adata, cluster_key="one")
