"""Codes, clusters, scores and pictures on AnnData."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad
from scipy import sparse

from scrae import ClusterConfig, ModelConfig, ScraeError, ScraeWarning, Settings, TrainConfig, tl
from scrae.cluster.graph import neighbor_graph as graph_of
from scrae.config import from_dict
from scrae.core.alignment import align_batches
from scrae.core.input_pca import input_components

MODEL = ModelConfig(
    n_latent=3, encoder_layers=(16,), decoder_layers=(16,), critic_layers=(8,), generator_layers=(8,)
)
TRAIN = TrainConfig(max_epochs=2, batch_size=16, patience=None, validation_fraction=0.0)


@pytest.fixture
def adata() -> AnnData:
    """60 cells of two kinds over 12 genes, of which ten are selected."""
    rng = np.random.default_rng(5)
    rates = np.where(
        np.arange(60)[:, None] < 40,
        np.r_[np.full(6, 9.0), np.full(6, 0.5)],
        np.r_[np.full(6, 0.5), np.full(6, 9.0)],
    )
    counts = sparse.csr_matrix(rng.poisson(rates).astype(np.int32))
    made = AnnData(counts.astype(np.float32), layers={"counts": counts})
    made.var_names = [f"g{i}" for i in range(12)]
    made.obs_names = [f"c{i}" for i in range(60)]
    made.var["scrae_selected"] = [True] * 10 + [False] * 2
    made.obs["kind"] = pd.Categorical(["a"] * 40 + ["b"] * 20)
    return made


def test_count_data_takes_the_selected_genes(adata: AnnData) -> None:
    data = tl.count_data(adata)
    assert data.genes == tuple(f"g{i}" for i in range(10))
    assert np.array_equal(data.totals.numpy(), adata.layers["counts"][:, :10].sum(axis=1).A1)


def test_count_data_needs_counts_and_a_selection(adata: AnnData) -> None:
    del adata.var["scrae_selected"]
    with pytest.raises(ScraeError, match=r"found none; use scrae\.pp\.select_genes"):
        tl.count_data(adata)
    del adata.layers["counts"]
    with pytest.raises(ScraeError, match=r"found none; use scrae\.io\.use_counts"):
        tl.count_data(adata)


def test_genes_are_aligned_by_name(adata: AnnData) -> None:
    genes = ("g7", "g0", "g11")
    data = tl.count_data(adata, genes=genes)
    dense = data.minibatch(np_rows(60))
    expected = adata.layers["counts"].toarray()[:, [7, 0, 11]]
    assert np.array_equal(dense.dense(dense.nonzeros.value).numpy(), expected)


def test_components_of_the_input_stand_beside_the_codes_and_shape_the_clusters(adata: AnnData) -> None:
    model = tl.train(adata, MODEL, TRAIN, seed=3)
    found = adata.obsm["X_scrae_input"]
    assert found.shape == (60, 9)
    expected = input_components(model, tl.count_data(adata), seed=3)
    np.testing.assert_array_equal(found, expected)
    tl.embed(adata, model, key_added="other")
    np.testing.assert_allclose(np.abs(adata.obsm["other_input"]), np.abs(expected), atol=1e-4)
    graph = tl.neighbors(adata)
    assert graph.joined.nnz > tl.neighbors(adata, input_rep=None).joined.nnz
    joined = graph_of(adata.obsm["X_scrae"], expected).joined
    np.testing.assert_array_equal(graph.joined.toarray(), joined.toarray())


def test_with_batches_the_components_are_aligned(adata: AnnData) -> None:
    adata.obs["donor"] = ["x", "y"] * 30
    model = tl.train(adata, MODEL, TRAIN, seed=3, batch_key="donor")
    components = input_components(model, tl.count_data(adata), seed=3)
    expected = align_batches(components, np.arange(60) % 2, seed=3)
    np.testing.assert_array_equal(adata.obsm["X_scrae_input"], expected)
    tl.embed(adata, model)
    assert "X_scrae_input" not in adata.obsm  # nor what stood there: the batch of new cells is not known


def test_a_second_embedding_leaves_the_input_of_the_first_one(adata: AnnData) -> None:
    tl.train(adata, MODEL, TRAIN, seed=3)
    first = adata.obsm["X_scrae_input"].copy()
    adata.var["scrae_selected"] = [False] * 2 + [True] * 10
    tl.train(adata, MODEL, TRAIN, key_added="X_other")
    assert np.array_equal(adata.obsm["X_scrae_input"], first)
    assert adata.obsm["X_other_input"].shape == first.shape
    assert not np.array_equal(adata.obsm["X_other_input"], first)
    tl.train(adata, MODEL, TRAIN, key_added="X_plain", write_input=False)
    assert set(adata.obsm) == {"X_scrae", "X_scrae_input", "X_other", "X_other_input", "X_plain"}


def test_the_second_representation_is_that_of_the_first_or_named(adata: AnnData) -> None:
    """Codes that tear a group in two; the second representation holds it together."""
    rng = np.random.default_rng(3)
    part = np.repeat([0, 1, 2], [25, 25, 10])
    torn = np.array([[0.0, 0.0], [60.0, 0.0], [90.0, 0.0]])[part] + rng.normal(size=(60, 2))
    adata.obsm["X_mine"] = torn
    adata.obsm["X_scrae_input"] = np.where(part == 2, 90.0, 0.0)[:, None] + rng.normal(size=(60, 2))
    whole, cut = [50, 10], [35, 25]
    for keys, sizes in (
        ({}, cut),  # not the components of another model
        ({"input_rep": "X_scrae_input"}, whole),
        ({"input_rep": None}, cut),
    ):
        tl.cluster(adata, n_clusters=2, use_rep="X_mine", **keys)
        assert sorted(adata.obs["scrae"].value_counts(), reverse=True) == sizes
        assert adata.uns["scrae"]["clusters"]["input_rep"] == (keys.get("input_rep") or "")
    with pytest.raises(
        ScraeError, match=r"expected codes in obsm\['X_absent'\], found X_mine, X_scrae_input"
    ):
        tl.cluster(adata, use_rep="X_mine", input_rep="X_absent")


def test_a_name_of_version_0_1_still_works_and_warns(adata: AnnData) -> None:
    rng = np.random.default_rng(3)
    adata.obsm["X_scrae"], adata.obsm["X_scrae_input"] = rng.normal(size=(2, 60, 3))
    for old, new in (
        ({}, {}),
        ({"beside": None}, {"input_rep": None}),
        ({"beside": "X"}, {"input_rep": None}),
    ):
        with pytest.warns(FutureWarning, match=r"use scrae\.tl\.neighbors, with input_rep instead of beside"):
            found = tl.neighbours(adata, **old)
        assert (found.joined != tl.neighbors(adata, **new).joined).nnz == 0


def test_missing_genes_count_as_zero_and_are_said(adata: AnnData) -> None:
    with pytest.warns(
        ScraeWarning, match="1 of the model's 3 genes are missing in the data and count as zero"
    ):
        data = tl.count_data(adata, genes=("g7", "elsewhere", "g0"))
    batch = data.minibatch(np_rows(60))
    dense = batch.dense(batch.nonzeros.value).numpy()
    assert (dense[:, 1] == 0).all()
    assert np.array_equal(dense[:, [0, 2]], adata.layers["counts"].toarray()[:, [7, 0]])
    assert not adata.uns  # a getter


def test_missing_genes_are_noted_where_cells_are_embedded(adata: AnnData) -> None:
    model = tl.train(adata, MODEL, TRAIN)
    view = adata[:, adata.var_names != "g3"]
    for function, write in ((tl.count_data, False), (tl.embed, True)):
        cells = view.copy() if write else view
        with pytest.warns(ScraeWarning, match="1 of the model's 10 genes are missing"):
            function(cells, **({"model": model} if write else {"genes": model.genes}))
        noted = [note for note in cells.uns["scrae"].get("notes", []) if note.startswith("1 of the model's")]
        assert len(noted) == write
        assert cells.is_view != write


def test_a_device_that_is_missing_is_refused_in_one_line(
    adata: AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ScraeError, match=r"^device: expected an available device, found 'cuda' and 0 CUDA"):
        tl.train(adata, MODEL, TRAIN, device="cuda")
    assert tl.train(adata, MODEL, TRAIN).library_mean.device.type == "cpu"  # auto


def test_too_small_an_overlap_is_an_error_that_shows_both_kinds_of_names(adata: AnnData) -> None:
    with pytest.raises(
        ScraeError, match=r"at least 50% of the model's 4 genes, found 25% \(the model has e\.g\. ENS1"
    ):
        tl.count_data(adata, genes=("ENS1", "ENS2", "ENS3", "g1"))
    adata.var_names = ["g0"] * 2 + list(adata.var_names[2:])
    with pytest.raises(ScraeError, match="expected unique gene names"):
        tl.count_data(adata, genes=("g3", "g4"))


def test_train_writes_its_slots_and_embed_repeats_the_codes(adata: AnnData) -> None:
    model = tl.train(adata, MODEL, TRAIN, seed=3)
    codes = adata.obsm["X_scrae"].copy()
    assert codes.shape == (60, 3)
    assert codes.dtype == np.float32
    facts = adata.uns["scrae"]
    assert (facts["seed"], facts["train"]["epochs"]) == (3, 2)
    assert len(facts["history"]["reconstruction"]) == 2
    shuffled = adata[:, ::-1].copy()
    tl.embed(shuffled, model)
    assert np.array_equal(shuffled.obsm["X_scrae"], codes)


def test_settings_are_read_back_from_the_file(adata: AnnData, tmp_path: Path) -> None:
    tl.train(adata, MODEL, TRAIN, seed=3)
    adata.write_h5ad(tmp_path / "a.h5ad")
    text = read_h5ad(tmp_path / "a.h5ad").uns["scrae"]["settings"]
    assert from_dict(Settings, json.loads(text)) == Settings(seed=3, model=MODEL, train=TRAIN)


def test_cells_without_counts_in_the_selected_genes_are_kept_and_said(adata: AnnData) -> None:
    counts = adata.layers["counts"].tolil()
    counts[0, :10] = 0
    adata.layers["counts"] = sparse.csr_matrix(counts)
    tl.train(adata, MODEL, TRAIN, seed=3)
    assert np.isfinite(adata.obsm["X_scrae"]).all()
    assert "1 cells have no counts in the selected genes" in adata.uns["scrae"]["notes"][-1]


def test_clusters_are_named_by_size(adata: AnnData) -> None:
    adata.obsm["X_scrae"] = np.where(np.arange(60)[:, None] < 20, 5.0, -5.0) + np.zeros((60, 3))
    tl.cluster(adata, n_clusters=2, method="kmeans")
    assert list(adata.obs["scrae"].cat.categories) == ["0", "1"]
    assert list(adata.obs["scrae"]) == ["1"] * 20 + ["0"] * 40
    assert adata.uns["scrae"]["clusters"]["n_clusters"] == 2


def test_every_method_finds_plain_groups(adata: AnnData) -> None:
    rng = np.random.default_rng(2)
    adata.obsm["X_scrae"] = np.eye(3)[np.arange(60) % 3] * 9 + rng.normal(size=(60, 3))
    expected = [str(i % 3) for i in range(60)]
    tl.cluster(adata, n_clusters=3)
    assert pd.crosstab(adata.obs["scrae"], expected).gt(0).sum().sum() == 3
    assert adata.uns["scrae"]["clusters"]["method"] == "smoothed"
    tl.cluster(adata, n_clusters=3, method="gmm")
    assert pd.crosstab(adata.obs["scrae"], expected).gt(0).sum().sum() == 3
    tl.cluster(adata, method="leiden", resolution=1.0)
    assert adata.uns["scrae"]["clusters"]["resolution"] == 1.0
    assert pd.crosstab(adata.obs["scrae"], expected).gt(0).sum().sum() == adata.obs["scrae"].nunique()
    tl.cluster(adata, method="leiden", resolution=0.0)
    assert adata.uns["scrae"]["clusters"]["n_clusters"] == 3  # groups without edges between them
    tl.cluster(adata, n_clusters=3, method="leiden")
    assert pd.crosstab(adata.obs["scrae"], expected).gt(0).sum().sum() == 3
    assert adata.uns["scrae"]["clusters"]["resolution"] > 0
    tl.cluster(adata, n_clusters=3, method="kmeans", key_added="k")
    assert pd.crosstab(adata.obs["k"], adata.obs["scrae"]).gt(0).sum().sum() == 3
    with pytest.raises(
        ScraeError, match="expected one of 'smoothed', 'leiden', 'kmeans', 'gmm', found 'ward'"
    ):
        ClusterConfig(method="ward")


def test_of_many_cells_a_sample_is_clustered_and_the_others_follow(
    adata: AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(2)
    group = np.repeat([0, 1, 2], [15, 20, 25])
    adata.obsm["X_scrae"] = np.eye(3)[group] * 99 + rng.normal(size=(60, 3))
    tl.cluster(adata, n_clusters=3, key_added="exact")
    assert "n_sampled" not in adata.uns["exact"]["clusters"]
    monkeypatch.setattr("scrae.tl._codes.MAX_CELLS", 40)
    for method in ("smoothed", "kmeans"):
        tl.cluster(adata, n_clusters=3, method=method)
        assert list(adata.obs["scrae"]) == list(adata.obs["exact"]) == list((2 - group).astype(str))
    assert adata.uns["scrae"]["clusters"]["n_sampled"] == 40
    said = [line for line in adata.uns["scrae"]["notes"] if line.startswith("Clusters were computed")]
    assert said == [
        "Clusters were computed on a random sample of 40 of 60 cells; "
        "each other cell got the majority cluster of its nearest neighbors in the sample."
    ]


def test_leiden_names_clusters_by_size_too(adata: AnnData) -> None:
    rng = np.random.default_rng(2)
    group = np.repeat([0, 1, 2], [10, 20, 30])
    adata.obsm["X_scrae"] = np.eye(3)[group] * 9 + rng.normal(size=(60, 3))
    tl.cluster(adata, n_clusters=3, method="leiden")
    assert list(adata.obs["scrae"]) == ["2"] * 10 + ["1"] * 20 + ["0"] * 30


def test_a_number_that_leiden_cannot_give_is_said(adata: AnnData) -> None:
    adata.obsm["X_scrae"] = np.where(np.arange(60)[:, None] < 20, 50.0, -50.0) + np.zeros((60, 3))
    adata.obsm["X_scrae"] += np.random.default_rng(0).normal(size=(60, 3))
    tl.cluster(adata, n_clusters=1, method="leiden")
    assert adata.uns["scrae"]["clusters"]["n_clusters"] == 2
    assert (
        adata.uns["scrae"]["notes"][-1]
        == "1 clusters were requested; Leiden gives 2 at the nearest resolution."
    )


def test_the_number_of_clusters_is_found_where_it_is_plain(adata: AnnData) -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(3) * 20
    adata.obsm["X_scrae"] = centres[np.arange(60) % 3] + rng.normal(size=(60, 3))
    tl.cluster(adata)
    facts = adata.uns["scrae"]["clusters"]
    assert facts["n_clusters"] == 3
    assert facts["runs"].tolist() == [3, 3, 3]


def test_score_reads_the_labels_that_are_there(adata: AnnData) -> None:
    adata.obs["scrae"] = pd.Categorical(["0"] * 40 + ["1"] * 20)
    adata.obs.loc["c0", "kind"] = np.nan
    scores = tl.score(adata, "kind")
    assert scores == {"nmi": 1.0, "ari": 1.0, "ami": 1.0, "homogeneity": 1.0, "completeness": 1.0}
    assert adata.uns["scrae"]["scores"]["label_key"] == "kind"
    adata.obs["mine"] = "all"
    assert tl.score(adata, "kind", cluster_key="mine")["ari"] == 0.0
    assert (adata.uns["mine"]["scores"]["ari"], adata.uns["scrae"]["scores"]["ari"]) == (0.0, 1.0)
    with pytest.raises(ScraeError, match=r"'Kind' in obs, found kind, scrae, mine; did you mean 'kind'\?$"):
        tl.score(adata, "Kind")


def test_project_makes_three_pictures_and_leaves_the_codes(
    adata: AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    adata.obsm["X_scrae"] = rng.normal(size=(60, 3)).astype(np.float32)
    before = adata.obsm["X_scrae"].copy()
    tl.project(adata, tsne=True)
    for name in ("X_pca_scrae", "X_tsne", "X_umap"):
        assert adata.obsm[name].shape == (60, 2)
        assert np.isfinite(adata.obsm[name]).all()
    assert np.array_equal(adata.obsm["X_scrae"], before)
    monkeypatch.setattr("scrae.tl._project._TSNE_CELLS", 30)
    monkeypatch.setattr("scrae.tl._codes.MAX_CELLS", 45)
    tl.project(adata, tsne=True)
    shown = [np.isfinite(adata.obsm[f"X_{name}"]).all(axis=1) for name in ("pca_scrae", "umap", "tsne")]
    assert [mask.sum() for mask in shown] == [60, 45, 30]
    assert (shown[1] | ~shown[2]).all()
    assert adata.uns["scrae"]["notes"][-2:] == [
        "t-SNE shows 30 of 60 cells, sampled at random.",
        "UMAP shows 45 of 60 cells, sampled at random.",
    ]
    with pytest.raises(ScraeError, match=r"expected codes in obsm\['X_other'\]"):
        tl.project(adata, use_rep="X_other")


def test_projections_of_one_dimension_and_of_a_line(adata: AnnData) -> None:
    rng = np.random.default_rng(1)
    for z in (rng.normal(size=(60, 1)), rng.normal(size=(60, 3)) * [3.0, 0.0, 0.0]):
        adata.obsm["X_scrae"] = z.astype(np.float32)
        tl.project(adata, tsne=True)
        assert np.isfinite(adata.obsm["X_umap"]).all()
        assert np.isfinite(adata.obsm["X_tsne"]).all()
    tl.project(adata)
    assert "X_tsne" not in adata.obsm  # it may show other codes


def np_rows(n: int):
    import torch

    return torch.arange(n)
