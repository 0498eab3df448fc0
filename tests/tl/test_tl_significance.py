"""Which clusters are populations of their own, on AnnData."""

from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData, read_h5ad
from scipy import sparse

from scrae import ScraeError, tl
from scrae.report import assess_clusters, summarize_test

TYPES = np.repeat([0, 0, 1], 90)  # the first kind is cut in two
N_GENES = 60


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """As few draws from the null model as the level needs: 20 times the number of clusters over those below."""
    monkeypatch.setattr("scrae.tl._significance._LEAST_DRAWS", 0)


def made(seed: int = 0) -> AnnData:
    """Two kinds of cells in three clusters."""
    rng = np.random.default_rng(seed)
    log_rate = rng.normal(0.5, 1, N_GENES) + np.outer(TYPES, rng.normal(0, 1.5, N_GENES))
    counts = sparse.csr_matrix(rng.poisson(np.exp(log_rate) * rng.gamma(4, 0.25, log_rate.shape)))
    clusters = np.repeat([0, 1, 2], 90)
    z = (np.array([[0.0, 0], [3, 0], [30, 0]])[clusters] + rng.normal(size=(270, 2))).astype(np.float32)
    adata = AnnData(counts, layers={"counts": counts}, obsm={"X_scrae": z})
    adata.obs["donor"] = np.array(["a", "b"])[np.arange(270) % 2]
    tl.cluster(adata, n_clusters=3)
    adata.obs["scrae"] = adata.obs["scrae"].cat.rename_categories(["x", "y", "z"])
    adata.obs["scrae"] = adata.obs["scrae"].cat.set_categories(["x", "y", "z"])
    adata.obs.loc[:, "scrae"] = np.array(["x", "y", "z"])[clusters]
    return adata


@pytest.mark.usefixtures("global_randomness_untouched")
def test_two_kinds_are_real_and_the_halves_of_one_are_not(tmp_path):
    adata = made()
    tl.significance(adata)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    found = read_h5ad(tmp_path / "cells.h5ad").uns["scrae"]["significance"]
    assert list(found["names"]) == ["x", "y", "z"]
    assert list(found["verdict"]) == ["not supported", "real"]
    assert list(found["cluster_verdict"]) == ["not supported", "not supported", "real"]
    low, root = found["p_adjusted"]
    assert root == found["p"][1] == pytest.approx(1 / 21)
    assert low == min(1, 1.5 * found["p"][0])
    assert low > 0.05
    assert found["auc"][1] > 0.99
    assert list(found["gap"])[1] == "deep"
    assert found["density_limits"].shape == (2, 2)
    assert found["density"][1] < found["density_limits"][1, 1] < 0.3
    assert found["n_cells"].tolist() == [180, 270]
    assert (found["split_p"] > 0.05).all()


def test_below_a_join_that_is_not_significant_nothing_is_tested():
    adata = made()
    rng = np.random.default_rng(1)
    adata.layers["counts"] = sparse.csr_matrix(rng.poisson(2.0, adata.shape))
    tl.significance(adata)
    found = adata.uns["scrae"]["significance"]
    assert list(found["verdict"]) == ["not tested", "not supported"]
    assert np.isnan(found["p"][0])
    assert set(found["cluster_verdict"]) == {"not supported"}


def test_a_cluster_of_two_kinds_is_to_be_divided():
    adata = made()
    adata.obs["scrae"] = adata.obs["scrae"].astype(str).map({"x": "0", "y": "1", "z": "0"}).astype("category")
    tl.significance(adata)
    found = adata.uns["scrae"]["significance"]
    assert found["split_p"][0] == pytest.approx(2 / 41)
    assert found["split_p"][1] > 0.05


@pytest.mark.parametrize(("cells", "divided"), [(slice(0, 180), False), (slice(0, 270), True)])
def test_a_single_cluster_is_tested_too(cells, divided, tmp_path):
    adata = made()[cells].copy()
    tl.cluster(adata, n_clusters=1)
    tl.significance(adata)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    found = read_h5ad(tmp_path / "cells.h5ad").uns["scrae"]["significance"]
    assert list(found["cluster_verdict"]) == ["alone"]
    assert (found["split_p"][0] <= 0.05) == divided
    assert len(found["p"]) == len(found["density_limits"]) == 0
    number = "more than one" if divided else "no second"
    assert summarize_test(found) == f"There is one cluster, and the test finds {number} population in it."
    words = assess_clusters(found)["0"]
    assert words == "the only cluster" + ("; holds more than one population: divide it" if divided else "")


def test_two_samples_have_to_agree():
    adata = made()
    tl.significance(adata, sample_key="donor")
    assert list(adata.uns["scrae"]["significance"]["verdict"]) == ["not supported", "real"]
    assert adata.uns["scrae"]["significance"]["p"][1] == pytest.approx(1 / 21)
    adata.obs["donor"] = np.where(TYPES == 1, "a", "b")  # all of the difference is one between samples
    tl.significance(adata, sample_key="donor")
    assert adata.uns["scrae"]["significance"]["verdict"][1] == "not supported"
    adata.obs["donor"] = "a"
    tl.significance(adata, sample_key="donor")
    assert adata.uns["scrae"]["significance"]["p"][1] == 1


def test_errors_say_what_to_do():
    adata = made()
    with pytest.raises(ScraeError, match="expected alpha between 0 and 1, found 5"):
        tl.significance(adata, alpha=5)
    with pytest.raises(ScraeError, match=r"column 'dnor' in obs, found .*; did you mean 'donor'\?"):
        tl.significance(adata, sample_key="dnor")
    del adata.layers["counts"]
    with pytest.raises(ScraeError, match=r"expected raw counts in layers\['counts'\], found no layer"):
        tl.significance(adata)
