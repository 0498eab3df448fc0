"""Stability of clusters and agreement of models, on AnnData."""

from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

from scrae import ModelConfig, ScraeError, TrainConfig, tl

TYPES = np.repeat([0, 1, 2], [80, 60, 40])


def codes(seed: int = 0, spread: float = 1.0) -> np.ndarray:
    """Three round groups far from each other."""
    centres = 12 * np.eye(3)
    return (centres[TYPES] + spread * np.random.default_rng(seed).normal(size=(180, 3))).astype(np.float32)


def embedded(z: np.ndarray) -> AnnData:
    return AnnData(z, obsm={"X_scrae": z})


@pytest.mark.parametrize("method", ["smoothed", "leiden", "kmeans", "gmm"])
def test_plain_groups_are_stable(method):
    adata = embedded(codes())
    tl.cluster(adata, n_clusters=3, method=method)
    tl.stability(adata, repeats=3)
    found = adata.uns["scrae"]["stability"]
    assert (found["repeats"], found["share"], found["n_cells"]) == (3, 0.8, 180)
    assert found["ari"].tolist() == [1, 1, 1]
    assert found["jaccard"].tolist() == [1, 1, 1]


def test_a_group_that_is_cut_in_two_is_not_stable():
    adata = embedded(codes())
    tl.cluster(adata, n_clusters=4, method="kmeans")
    tl.stability(adata)
    whole = {k for k in range(4) if (adata.obs["scrae"] == str(k)).sum() in (40, 60, 80)}
    assert len(whole) == 2
    jaccard = adata.uns["scrae"]["stability"]["jaccard"]
    assert max(jaccard[k] for k in range(4) if k not in whole) < min(jaccard[k] for k in whole)


@pytest.mark.usefixtures("global_randomness_untouched")
def test_the_graph_can_be_given_and_the_seed_decides():
    adata = embedded(np.random.default_rng(3).normal(size=(150, 3)).astype(np.float32))
    tl.cluster(adata, n_clusters=5)
    tl.stability(adata, repeats=3, seed=2)
    made = adata.uns["scrae"]["stability"]
    graph = tl.neighbors(adata)
    tl.stability(adata, repeats=3, seed=2, graph=graph)
    again = adata.uns["scrae"]["stability"]
    assert made["ari"].tolist() == again["ari"].tolist()
    assert made["jaccard"].tolist() == again["jaccard"].tolist()
    assert made["ari"].max() < 1
    tl.stability(adata, repeats=3, seed=4, graph=graph)
    assert adata.uns["scrae"]["stability"]["ari"].tolist() != made["ari"].tolist()


def test_of_many_cells_some_are_looked_at(monkeypatch):
    monkeypatch.setattr("scrae.tl._stability._MAX_CELLS", 90)
    adata = embedded(codes())
    tl.cluster(adata, n_clusters=3)
    tl.stability(adata, repeats=2)
    found = adata.uns["scrae"]["stability"]
    assert found["n_cells"] == 90
    assert found["ari"].tolist() == [1, 1]


@pytest.mark.parametrize("most", [90, 1000])
def test_neighbors_in_the_input_count_in_all_that_is_clustered_again(monkeypatch, most: int):
    """Codes that tear a group in two, and put one part nearer to the other group; in the input it is whole."""
    monkeypatch.setattr("scrae.tl._stability._MAX_CELLS", most)
    rng = np.random.default_rng(3)
    part = np.repeat([0, 1, 2], [70, 70, 40])
    torn = np.array([[0.0, 0.0], [60.0, 0.0], [90.0, 0.0]])[part] + rng.normal(size=(180, 2))
    adata = embedded(torn.astype(np.float32))
    adata.obsm["X_scrae_input"] = np.where(part == 2, 90.0, 0.0)[:, None] + rng.normal(size=(180, 2))
    tl.cluster(adata, n_clusters=2)
    assert adata.obs["scrae"].value_counts().tolist() == [140, 40]
    tl.stability(adata, repeats=2)
    tl.agreement(adata, {1: torn[:, ::-1].astype(np.float32)})
    assert adata.uns["scrae"]["stability"]["ari"].tolist() == [1, 1]
    assert adata.uns["scrae"]["agreement"]["ari"].tolist() == [[1, 1], [1, 1]]


def test_few_cells_and_few_codes_pass():
    few = embedded(codes()[[0, 1, 90, 170]])
    assert tl.neighbors(few) is None
    tl.cluster(few, n_clusters=3)
    tl.stability(few)
    assert len(few.uns["scrae"]["stability"]["jaccard"]) == 3
    alike = embedded(np.ones((30, 2), dtype=np.float32))
    tl.cluster(alike, n_clusters=1)
    tl.stability(alike, repeats=2)
    assert alike.uns["scrae"]["stability"]["jaccard"].tolist() == [1]


def test_models_with_other_seeds():
    rng = np.random.default_rng(0)
    counts = sparse.csr_matrix(
        rng.poisson(np.where(np.arange(60)[:, None] % 2, 1.0, 5.0), (60, 12)).astype(np.int32)
    )
    adata = AnnData(counts.astype(np.float32), layers={"counts": counts})
    adata.var["scrae_selected"] = True
    model = ModelConfig(n_latent=2, encoder_layers=(8,), decoder_layers=(8,))
    train = TrainConfig(max_epochs=2, batch_size=32, patience=None, validation_fraction=0.0)
    codes = tl.train_again(adata, model, train, seed=4, times=2)
    assert list(codes) == [5, 6]
    assert "X_scrae_again" not in adata.obsm
    assert not adata.obsm  # nor any other slot
    tl.train(adata, model, train, seed=6)
    assert np.array_equal(adata.obsm["X_scrae"], codes[6])
    assert not np.array_equal(codes[5], codes[6])


def test_models_agree_on_plain_groups_and_not_on_noise():
    adata, other = embedded(codes()), codes(seed=5)[:, ::-1].copy()
    noise = np.random.default_rng(1).normal(size=(180, 3)).astype(np.float32)
    tl.cluster(adata, n_clusters=3)
    tl.agreement(adata, {1: other, 2: noise})
    found = adata.uns["scrae"]["agreement"]
    assert found["seeds"].tolist() == [0, 1, 2]
    assert "n_clusters" not in found
    again = embedded(noise)
    tl.cluster(again, n_clusters=3, seed=2)
    expected = adjusted_rand_score(adata.obs["scrae"], again.obs["scrae"])
    np.testing.assert_allclose(found["ari"], [[1, 1, expected], [1, 1, expected], [expected, expected, 1]])
    assert found["jaccard"].max() < 0.75


def test_models_choose_for_themselves_but_are_compared_at_one_number():
    split = codes()
    split[:40] -= 12
    adata = embedded(codes())
    tl.cluster(adata)
    tl.agreement(adata, {7: split})
    found = adata.uns["scrae"]["agreement"]
    assert found["n_clusters"].tolist() == [3, 4]
    alone = embedded(split)
    tl.cluster(alone, n_clusters=3, seed=7)
    assert found["ari"][0, 1] == adjusted_rand_score(adata.obs["scrae"], alone.obs["scrae"])


def test_without_clusters():
    with pytest.raises(ScraeError) as error:
        tl.stability(embedded(codes()))
    expected = "expected clusters in obs['scrae'] and uns['scrae'], found none; use scrae.tl.cluster(adata)"
    assert str(error.value) == expected
    with pytest.raises(ScraeError, match="expected clusters in obs"):
        tl.agreement(embedded(codes()), {})


def test_each_column_of_clusters_has_its_own_facts():
    """Read from the last clustering, the stability of the first one would be that of another number."""
    adata = embedded(codes())
    tl.cluster(adata, n_clusters=3, key_added="k3", method="kmeans")
    tl.cluster(adata, n_clusters=7)
    tl.stability(adata, cluster_key="k3", repeats=3)
    tl.agreement(adata, {1: codes(seed=5)}, cluster_key="k3")
    assert adata.uns["k3"]["clusters"]["n_clusters"] == 3
    assert adata.uns["k3"]["stability"]["ari"].tolist() == [1, 1, 1]
    assert adata.uns["k3"]["stability"]["jaccard"].tolist() == [1, 1, 1]
    assert adata.uns["k3"]["agreement"]["ari"].tolist() == [[1, 1], [1, 1]]
    assert set(adata.uns["scrae"]) == {"clusters"}
    assert adata.uns["scrae"]["clusters"]["n_clusters"] == 7
    adata.obs["theirs"] = adata.obs["k3"]
    with pytest.raises(ScraeError, match=r"cluster\(adata, key_added='theirs'\)"):
        tl.stability(adata, cluster_key="theirs")


def test_stability_is_of_the_representation_that_was_clustered():
    noise = np.random.default_rng(1).normal(size=(180, 3)).astype(np.float32)
    adata = embedded(noise)
    adata.obsm["X_mine"] = codes()
    tl.cluster(adata, n_clusters=3, use_rep="X_mine")
    tl.stability(adata, repeats=2)
    assert adata.uns["scrae"]["stability"]["ari"].tolist() == [1, 1]
    del adata.uns["scrae"]["clusters"]["input_rep"]  # as version 0.1.0 left it
    tl.stability(adata, repeats=2)
    assert adata.uns["scrae"]["stability"]["ari"].tolist() == [1, 1]
