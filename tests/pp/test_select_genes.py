"""pp.select_genes: nine methods, one shape; against scanpy and against scrae.gene_selection."""

from __future__ import annotations

import anndata
import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData
from helpers.preprocessing_cells import adata_of, two_types

from scrae import gene_selection, pp
from scrae.errors import ScraeError, ScraeWarning


@pytest.fixture(scope="module")
def prepared():
    adata = two_types()
    pp.filter(adata)
    pp.normalize(adata)
    return adata


@pytest.fixture
def adata(prepared):
    return prepared.copy()


def chosen(adata):
    return set(adata.var_names[adata.var["scrae_selected"]])


def facts(adata):
    return adata.uns["scrae"]["gene_selection"]


def notes(adata):
    return adata.uns["scrae"]["notes"]


@pytest.mark.parametrize("batch_key", [None, "batch"])
@pytest.mark.parametrize("method", pp.METHODS)
def test_every_method_writes_the_same_shape(adata, method, batch_key):
    counts, x = adata.layers["counts"].copy(), adata.X.copy()
    assert pp.select_genes(adata, method=method, n_top_genes=37, batch_key=batch_key) is None
    table = adata.var[["scrae_selected", "scrae_score", "scrae_rank"]]
    assert [str(dtype) for dtype in table.dtypes] == ["bool", "float64", "int64"]
    assert table["scrae_selected"].sum() == 37
    assert sorted(table["scrae_rank"]) == list(range(adata.n_vars))
    ordered = table.sort_values("scrae_rank")
    assert (ordered["scrae_selected"].to_numpy() == (np.arange(adata.n_vars) < 37)).all()
    score = ordered["scrae_score"].to_numpy()
    assert (score[1:] <= score[:-1]).all()
    assert facts(adata)["method"] == method
    assert facts(adata)["n_selected"] == facts(adata)["n_top_genes"] == 37
    assert facts(adata)["batch_key"] == batch_key
    assert any(line == f"Gene selection: 37 of {adata.n_vars} genes by {method}." for line in notes(adata))
    assert facts(adata)["mean"].shape == (adata.n_vars,)
    if batch_key is None:
        assert facts(adata)["statistic"].shape == (adata.n_vars,)
        assert isinstance(facts(adata)["statistic_name"], str)
    np.testing.assert_array_equal(adata.layers["counts"].toarray(), counts.toarray())
    np.testing.assert_array_equal(adata.X.toarray(), x.toarray())
    assert "hvg" not in adata.uns


@pytest.mark.parametrize("method", pp.METHODS)
def test_the_genes_that_differ_between_types_come_first(adata, method):
    """Every tenth gene differs; by chance 4 of the best 40 would."""
    pp.select_genes(adata, method=method, n_top_genes=40)
    informative = {f"gene{n}" for n in range(0, 400, 10)}
    assert len(chosen(adata) & informative) >= 15


SCANPYS = {
    "seurat": {"flavor": "seurat"},
    "cell_ranger": {"flavor": "cell_ranger"},
    "seurat_v3": {"flavor": "seurat_v3", "layer": "counts"},
    "pearson_residuals": {"flavor": "pearson_residuals", "layer": "counts"},
}
SCORES = {
    "seurat": "dispersions_norm",
    "cell_ranger": "dispersions_norm",
    "seurat_v3": "variances_norm",
    "pearson_residuals": "residual_variances",
}


@pytest.mark.parametrize("method", SCANPYS)
def test_scanpys_flavors_are_scanpys(adata, method):
    pp.select_genes(adata, method=method, n_top_genes=50)
    function = (sc.experimental.pp if method == "pearson_residuals" else sc.pp).highly_variable_genes
    table = function(adata, n_top_genes=50, inplace=False, **SCANPYS[method])
    assert chosen(adata) == set(table.index[table["highly_variable"]])
    theirs = table[SCORES[method]].to_numpy(dtype=float)
    np.testing.assert_allclose(
        adata.var["scrae_score"], np.where(np.isnan(theirs), -np.inf, theirs), rtol=2e-5, atol=1e-6
    )


def test_seurat_v3_over_batches_is_scanpys(adata):
    # Genes of different means in each batch: where means are tied, the loess curve depends on their last bits, and
    # scanpy 1.12 adds up the means of batches in another way than the mean of all cells.
    for batch in ("x", "y"):
        sums = np.asarray(
            adata.layers["counts"][(adata.obs["batch"] == batch).to_numpy()].sum(axis=0)
        ).ravel()
        adata = adata[:, np.sort(np.unique(sums, return_index=True)[1])].copy()
    assert adata.n_vars > 150
    pp.select_genes(adata, method="seurat_v3", n_top_genes=50, batch_key="batch")
    table = sc.pp.highly_variable_genes(
        adata, flavor="seurat_v3", layer="counts", n_top_genes=50, batch_key="batch", inplace=False
    )
    assert chosen(adata) == set(table.index[table["highly_variable"]])


@pytest.mark.parametrize("method", ["cell_ranger", "m3drop", "nbumi"])
def test_a_batch_that_is_too_small_is_named(adata, method):
    adata.obs["batch"] = ["tiny"] + ["other"] * (adata.n_obs - 1)
    with pytest.raises(
        ScraeError,
        match=rf"{method}: the batch obs\['batch'\] == 'tiny', number of cells 1, is too small or too sparse; leave",
    ):
        pp.select_genes(adata, method=method, n_top_genes=50, batch_key="batch")


def test_the_mean_over_batches_is_that_of_all_cells(adata):
    pp.select_genes(adata, method="deviance", n_top_genes=50, batch_key="batch")
    np.testing.assert_allclose(facts(adata)["mean"], adata.layers["counts"].toarray().mean(axis=0))


OURS = {
    "m3drop": lambda a: gene_selection.m3drop(a.layers["counts"], n_top_genes=50),
    "nbumi": lambda a: gene_selection.nbumi(a.layers["counts"], n_top_genes=50),
    "nbumi_high_variance": lambda a: gene_selection.nbumi(
        a.layers["counts"], variant="high_variance", n_top_genes=50
    ),
    "deviance": lambda a: gene_selection.deviance(a.layers["counts"], n_top_genes=50),
    "scmarker": lambda a: gene_selection.scmarker(a.X, n_top_genes=50),
}


@pytest.mark.parametrize("method", OURS)
def test_our_methods_get_the_values_that_they_want(adata, method):
    pp.select_genes(adata, method=method, n_top_genes=50)
    expected = OURS[method](adata)
    np.testing.assert_array_equal(adata.var["scrae_rank"], expected.rank)
    np.testing.assert_array_equal(adata.var["scrae_score"], expected.score)
    np.testing.assert_array_equal(facts(adata)["statistic"], expected.fit.statistic)


def test_the_fit_is_kept_for_a_plot_and_survives_a_file(adata, tmp_path):
    pp.select_genes(adata, method="m3drop", n_top_genes=50)
    fit = gene_selection.m3drop(adata.layers["counts"], n_top_genes=50).fit
    assert facts(adata)["K"] == fit.parameters.K
    np.testing.assert_array_equal(facts(adata)["expected"], fit.expected)
    assert facts(adata)["statistic_name"] == fit.statistic_name
    adata.write_h5ad(tmp_path / "a.h5ad")
    again = facts(anndata.read_h5ad(tmp_path / "a.h5ad"))
    assert again["K"] == fit.parameters.K
    np.testing.assert_array_equal(again["mean"], fit.mean)


@pytest.mark.parametrize("method", ["m3drop", "nbumi"])
def test_a_false_discovery_rate_instead_of_a_number(adata, method):
    pp.select_genes(adata, method=method, fdr=0.01)
    expected = getattr(gene_selection, method)(adata.layers["counts"], alpha=0.01, correction="fdr")
    np.testing.assert_array_equal(adata.var["scrae_selected"], expected.selected)
    assert 0 < expected.selected.sum() < adata.n_vars
    assert facts(adata)["fdr"] == 0.01
    assert facts(adata)["n_top_genes"] is None
    np.testing.assert_array_equal(facts(adata)["p_value"], expected.p_value)


def test_scmarkers_own_set(adata):
    pp.select_genes(adata, method="scmarker", n_top_genes=None)
    np.testing.assert_array_equal(adata.var["scrae_selected"], gene_selection.scmarker(adata.X).selected)


@pytest.mark.parametrize("method", pp.METHODS)
def test_fewer_genes_than_requested(adata, method):
    pp.select_genes(adata, method=method, n_top_genes=2000)
    assert adata.var["scrae_selected"].all()
    assert any("2000 genes requested" in line for line in notes(adata))


def test_selecting_again_says_only_the_last(adata):
    pp.select_genes(adata, method="deviance", n_top_genes=2000)
    pp.select_genes(adata, method="m3drop", n_top_genes=10)
    assert [line for line in notes(adata) if line.startswith("Gene")] == [
        f"Gene selection: 10 of {adata.n_vars} genes by m3drop."
    ]
    assert facts(adata)["method"] == "m3drop"


@pytest.mark.parametrize("method", ["seurat_v3", "pearson_residuals", "deviance"])
def test_genes_and_cells_without_counts_come_last(method):
    counts = two_types().X.toarray()
    counts[:, [3, 99]] = 0
    counts[[5, 6, 7]] = 0
    adata = adata_of(counts)
    pp.normalize(adata)
    pp.select_genes(adata, method=method, n_top_genes=2000)
    assert set(adata.var["scrae_rank"][["gene3", "gene99"]]) == {398, 399}
    assert not adata.var["scrae_selected"][["gene3", "gene99"]].any()
    assert adata.var["scrae_selected"].sum() == 398
    without = adata_of(np.delete(np.delete(counts, [3, 99], axis=1), [5, 6, 7], axis=0))
    pp.normalize(without)
    pp.select_genes(without, method=method, n_top_genes=2000)
    kept = np.delete(np.arange(400), [3, 99])
    np.testing.assert_allclose(adata.var["scrae_score"].iloc[kept], without.var["scrae_score"], rtol=1e-6)


def test_ties_go_to_the_first_gene():
    block = two_types(n_cells=100, n_genes=50).X.toarray()
    adata = adata_of(np.hstack([block, block]))
    pp.select_genes(adata, method="deviance", n_top_genes=11)
    rank = adata.var["scrae_rank"].to_numpy()
    assert (rank[:50] < rank[50:]).all()
    assert adata.var["scrae_selected"].sum() == 11


def test_a_wider_span_where_the_loess_curve_fails():
    rng = np.random.default_rng(2)
    adata = adata_of((rng.random((30, 200)) < 0.1).astype(int))
    pp.normalize(adata)
    with pytest.warns(
        ScraeWarning, match=r"the loess curve of seurat_v3 failed at span 0.3 \(.+\), so span (0.\d+|1.0) was"
    ):
        pp.select_genes(adata, method="seurat_v3", n_top_genes=20)
    assert any("so span " in line for line in notes(adata))
    assert adata.var["scrae_selected"].sum() == 20
    assert not adata.var["scrae_score"].isna().any()


def test_deviance_where_no_span_helps():
    rng = np.random.default_rng(4)
    adata = adata_of(np.vstack([np.ones(50, dtype=int), rng.poisson(0.05, (4, 50))]))
    with pytest.warns(
        ScraeWarning, match=r"seurat_v3 failed at span 0.3 \(.+\), so deviance was used instead"
    ):
        pp.select_genes(adata, method="seurat_v3", n_top_genes=20)
    expected = gene_selection.deviance(adata.layers["counts"], n_top_genes=20)
    np.testing.assert_array_equal(adata.var["scrae_rank"], expected.rank)
    assert facts(adata)["statistic_name"] == "binomial deviance"


def test_cell_ranger_where_too_many_genes_are_alike():
    adata = adata_of(np.tile(np.arange(1, 4), (10, 4)) + np.eye(10, 12, dtype=int))
    pp.normalize(adata)
    with pytest.raises(ScraeError, match="cell_ranger cannot sort these genes into 20 bins of like mean"):
        pp.select_genes(adata, method="cell_ranger", n_top_genes=5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "hvg"}, "Unknown gene selection 'hvg'; choose one of seurat_v3, seurat, "),
        (
            {"method": "M3Drop"},
            "Unknown gene selection 'M3Drop'; choose one of seurat_v3, seurat, cell_ranger, pearson_residuals, "
            "deviance, m3drop, nbumi, nbumi_high_variance, scmarker; did you mean 'm3drop'?",
        ),
        ({"n_top_genes": 0}, "n_top_genes must be 1 or more, found 0"),
        ({"n_top_genes": None}, "seurat_v3 has no threshold of its own; give n_top_genes"),
        (
            {"fdr": 0.05},
            "seurat_v3 has no significance test, so fdr does not apply; give n_top_genes, or use m3drop or nbumi",
        ),
        ({"method": "m3drop", "fdr": 5.0}, "fdr is a rate between 0 and 1, found 5.0; for 5 % say 0.05"),
        ({"batch_key": "donor"}, "batch_key: expected a column of obs, found no 'donor' among 'batch', "),
        (
            {"method": "nbumi", "fdr": 0.1, "batch_key": "batch"},
            "Batches are combined by rank; give n_top_genes",
        ),
    ],
)
def test_wrong_options_are_refused(adata, options, message):
    with pytest.raises(ScraeError) as caught:
        pp.select_genes(adata, **options)
    assert str(caught.value).startswith(message)
    assert "scrae_rank" not in adata.var


def test_a_batch_that_is_missing(adata):
    adata.obs["batch"] = adata.obs["batch"].where(np.arange(adata.n_obs) != 4)
    with pytest.raises(ScraeError, match=r"obs\['batch'\] has missing values; give every cell a batch"):
        pp.select_genes(adata, batch_key="batch")


@pytest.mark.parametrize("method", ["seurat", "cell_ranger", "scmarker"])
def test_normalized_values_are_asked_for(method):
    adata = two_types(n_cells=40)
    with pytest.raises(
        ScraeError, match=f"{method} needs normalized values in X, found none; call scrae.pp.normalize"
    ):
        pp.select_genes(adata, method=method)


def test_the_methods_of_the_settings_are_these():
    from typing import get_args

    from scrae.config import GeneSelection

    assert set(get_args(GeneSelection)) == set(pp.METHODS)


def test_unchecked_anndata_is_refused():
    with pytest.raises(ScraeError, match="Expected checked counts"):
        pp.select_genes(AnnData(np.eye(3)))


@pytest.mark.parametrize("n_varying", [0, 1, 3])
def test_seurat_v3_with_too_few_genes_that_vary_takes_deviance(n_varying: int):
    """scikit-misc's loess would crash the process: a span of 0.3 of three genes holds none."""
    counts = np.full((20, 6), 2)
    counts[:, :n_varying] += np.random.default_rng(0).poisson(2.0, (20, n_varying))
    adata = adata_of(counts)
    pp.filter(adata, min_cells=1)
    pp.normalize(adata)
    with pytest.warns(
        ScraeWarning, match=rf"failed at span 0.3 \({n_varying} genes vary\), so deviance was used instead"
    ):
        pp.select_genes(adata, method="seurat_v3", n_top_genes=2)
    assert adata.var["scrae_selected"].sum() == 2
