"""scikit-learn's own checks, and what a pipeline and a grid search need."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import scrae.sklearn
from scrae import SCRAE, CountData, ModelConfig, ScraeError, TrainConfig, fit
from scrae.sklearn import SCRAEClusterer, SCRAETransformer

SMALL = {"n_latent": 2, "max_epochs": 1}
LAST_BITS = {
    "check_methods_sample_order_invariance": "codes are float32, and a product's last bits depend on where a row "
    "stands: with ten latent dimensions some differ by 2e-7, and 1e-7 is allowed",
}
NEGATIVE = {
    "check_clustering": "it feeds negative values whatever the tag positive_only says; they are no counts",
}


@pytest.fixture(scope="module")
def counts() -> np.ndarray:
    """90 cells of three kinds over 24 genes, in turn."""
    rates = np.full((3, 24), 0.5)
    for kind in range(3):
        rates[kind, 8 * kind : 8 * kind + 8] = 8
    return np.random.default_rng(4).poisson(rates[np.arange(90) % 3])


@pytest.mark.filterwarnings("ignore:Can't check dok sparse matrix:UserWarning")  # scikit-learn's own
@parametrize_with_checks(
    [SCRAETransformer(**SMALL), SCRAEClusterer(2, **SMALL)],
    expected_failed_checks=lambda estimator: NEGATIVE if isinstance(estimator, SCRAEClusterer) else LAST_BITS,
)
def test_scikit_learn_s_checks(estimator: Any, check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def rounded(x: Any, **options: Any) -> CountData:  # the checks pass positive fractions
        return CountData(x.rint() if sparse.issparse(x) else np.rint(x), **options)

    monkeypatch.setattr(scrae.sklearn, "CountData", rounded)
    check(estimator)


def test_the_transformer_is_the_model_and_nothing_else(counts: np.ndarray) -> None:
    codes = SCRAETransformer(3, max_epochs=2, prior_weight=0.5, random_state=7).fit_transform(counts)
    data, config = CountData(counts), TrainConfig(max_epochs=2, prior_weight=0.5)
    model = SCRAE.for_data(data, ModelConfig(n_latent=3), seed=7)
    fit(model, data, config, seed=7)
    assert np.array_equal(codes, model.encode(data))
    for same in (
        sparse.csr_matrix(counts),
        sparse.csc_array(counts.astype(np.float32)),
        pd.DataFrame(counts),
    ):
        again = SCRAETransformer(3, max_epochs=2, prior_weight=0.5, random_state=7)
        same = same.rename(columns=str) if isinstance(same, pd.DataFrame) else same
        assert np.array_equal(again.fit_transform(same), codes)
    assert list(again.get_feature_names_out()) == [f"scraetransformer{i}" for i in range(3)]
    assert list(again.feature_names_in_) == [str(i) for i in range(24)]


def test_the_score_is_the_likelihood_of_a_cell(counts: np.ndarray) -> None:
    import torch

    from scrae.core.distributions import nb_log_prob

    fitted = SCRAETransformer(**SMALL).fit(counts[:60])
    held_out, model = counts[60:], fitted.model_
    with torch.inference_mode():
        share, _ = model.decoder(torch.from_numpy(fitted.transform(held_out)))
        mu = share.softmax(1) * torch.from_numpy(held_out).sum(dim=1, keepdim=True)
        each = nb_log_prob(torch.from_numpy(held_out), mu, model.decoder.log_theta.exp())
    assert fitted.score(held_out) == pytest.approx(float(each.sum(dim=1).mean()), rel=1e-5)


def test_seeds(counts: np.ndarray, global_randomness_untouched: None) -> None:
    def codes(random_state: Any) -> np.ndarray:
        return SCRAETransformer(**SMALL, random_state=random_state).fit_transform(counts)

    assert np.array_equal(codes(np.int64(3)), codes(3))
    assert np.array_equal(codes(np.random.default_rng(3)), codes(np.random.default_rng(3)))
    assert np.array_equal(codes(np.random.RandomState(3)), codes(np.random.RandomState(3)))
    assert not np.array_equal(codes(None), codes(None))


def test_what_is_not_counts(counts: np.ndarray) -> None:
    for bad, message in (
        (counts + 0.25, r"expected whole numbers, found .*25; pass raw counts, not normalized values"),
        (np.log1p(counts), "expected whole numbers, found"),
        (sparse.csr_matrix(counts * 0.7), "expected whole numbers, found"),
        (-counts, "Negative values"),
        (counts * np.nan, "contains NaN"),
        (counts * 1e15, "up to"),
    ):
        for estimator in (SCRAETransformer(**SMALL), SCRAEClusterer(2, **SMALL)):
            with pytest.raises(ValueError, match=message):
                estimator.fit(bad)


def test_an_anndata_is_refused_with_what_to_give(counts: np.ndarray) -> None:
    fitted = SCRAETransformer(**SMALL).fit(counts)
    for use in (
        SCRAETransformer(**SMALL).fit,
        SCRAEClusterer(2, **SMALL).fit,
        fitted.transform,
        fitted.score,
    ):
        with pytest.raises(ScraeError) as error:
            use(AnnData(counts.astype(np.float32)))
        message = "X: expected an array of raw counts, found an AnnData; give adata.layers['counts']"
        assert str(error.value) == message


def test_parameters_are_checked_when_they_are_used(counts: np.ndarray) -> None:
    with pytest.raises(ScraeError, match="n_latent: expected a whole number from 1 to 65536, found 0"):
        SCRAETransformer(0).fit(counts)
    with pytest.raises(
        ScraeError, match="random_state: expected a seed from 0 to 4294967295 or a generator, found 'x'"
    ):
        SCRAETransformer(random_state="x").fit(counts)


def test_the_clusterer_finds_plain_kinds_and_names_new_cells(counts: np.ndarray) -> None:
    clusterer = SCRAEClusterer(3, n_latent=3, max_epochs=20).fit(counts[:75])
    table = pd.crosstab(clusterer.labels_, np.arange(75) % 3)
    assert table.gt(0).sum().sum() == 3
    assert (clusterer.n_clusters_, clusterer.codes_.shape) == (3, (75, 3))
    of_kind = table.idxmax(axis=0).to_numpy()
    assert np.array_equal(clusterer.predict(counts[75:]), of_kind[np.arange(15) % 3])
    assert np.array_equal(clone(clusterer).fit_predict(counts[:75]), clusterer.labels_)


def test_more_clusters_than_cells(counts: np.ndarray) -> None:
    with pytest.raises(ScraeError, match=r"at most as many clusters as cells \(10\), found 11"):
        SCRAEClusterer(11, **SMALL).fit(counts[:10])


def test_pipeline_and_grid_search(counts: np.ndarray) -> None:
    path = make_pipeline(SCRAETransformer(3, max_epochs=20), KMeans(3, random_state=0, n_init=3))
    assert pd.crosstab(path.fit_predict(counts), np.arange(90) % 3).gt(0).sum().sum() == 3
    grid = GridSearchCV(SCRAETransformer(2), {"max_epochs": np.array([1, 15])}, cv=2).fit(counts)
    assert grid.best_params_ == {"max_epochs": 15}
    worse, better = grid.cv_results_["mean_test_score"]
    assert worse < better < 0
