"""New cells among known ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from scrae import SCRAE, ModelConfig, ScraeError, ScraeWarning, TrainConfig, tl
from scrae.cluster.transfer import transfer_labels

GENES = [f"g{i}" for i in range(32)]


def cells(kinds: np.ndarray, seed: int) -> AnnData:
    """Each kind has eight genes of its own."""
    rates = np.where(np.arange(32) // 8 == kinds[:, None], 8.0, 0.5)
    counts = sparse.csr_matrix(np.random.default_rng(seed).poisson(rates).astype(np.int32))
    made = AnnData(counts.astype(np.float32), layers={"counts": counts})
    made.var_names, made.obs_names = GENES, [f"{seed}_{i}" for i in range(len(kinds))]
    made.var["scrae_selected"] = True
    made.obs["kind"] = pd.Categorical([f"kind {k}" for k in kinds])
    return made


@pytest.fixture(scope="module")
def trained() -> tuple[AnnData, SCRAE]:
    """Kinds 0, 1 and 2; the model has not seen kind 3."""
    reference = cells(np.arange(480) % 3, 1)
    model = tl.train(reference, ModelConfig(n_latent=4), TrainConfig(max_epochs=40, batch_size=32))
    tl.cluster(reference, n_clusters=3)
    reference.uns["scrae_colors"] = ["#111111", "#222222", "#333333"]
    return reference, model


def test_known_kinds_get_their_clusters_and_an_unknown_one_is_flagged(trained: tuple[AnnData, SCRAE]) -> None:
    reference, model = trained
    before = reference.copy()
    query = cells(np.r_[np.arange(45) % 3, np.full(20, 3)], 2)[:, ::-1].copy()
    tl.map(query, reference, model)
    of_kind = reference.obs.groupby("kind", observed=True)["scrae"].first()
    known = query.obs["kind"] != "kind 3"
    assert list(query.obs["scrae"][known]) == list(of_kind[query.obs["kind"][known]])
    assert (query.obs["scrae_confidence"][known] > 0.9).all()
    assert query.obs["scrae_unseen"][known].mean() < 0.15
    assert query.obs["scrae_unseen"][~known].all()
    assert np.array_equal(query.obs["scrae_unseen"], query.obs["scrae_p"] <= 0.05)
    assert query.uns["scrae"]["map"]["n_compared"] == reference.obs["scrae_held_out"].sum() == 48
    assert query.uns["scrae"]["map"]["n_unseen"] == query.obs["scrae_unseen"].sum()
    assert (
        f"{query.obs['scrae_unseen'].sum()} of 65 cells are unlike the reference"
        in query.uns["scrae"]["notes"][-1]
    )
    again = query.copy()
    tl.embed(again, model)
    assert np.array_equal(query.obsm["X_scrae"], again.obsm["X_scrae"])
    assert list(query.uns["scrae_colors"]) == list(reference.uns["scrae_colors"])
    pd.testing.assert_frame_equal(reference.obs, before.obs)


def test_names_of_cells_can_be_voted_on_and_nameless_ones_do_not_vote(trained: tuple[AnnData, SCRAE]) -> None:
    reference, model = trained[0].copy(), trained[1]
    reference.obs.loc[reference.obs["kind"] == "kind 2", "kind"] = np.nan
    del reference.obs["scrae_held_out"]
    query = cells(np.arange(30) % 3, 3)
    true = query.obs["kind"].copy()
    tl.map(query, reference, model, cluster_key="kind", key_added="mapped", n_neighbors=9)
    assert list(query.obs["mapped"].cat.categories) == ["kind 0", "kind 1", "kind 2"]
    named = true != "kind 2"
    assert (query.obs["mapped"][named].astype(str) == true[named].astype(str)).all()
    assert (query.obs["mapped"][~named] != "kind 2").all()
    assert query.obs["mapped_unseen"][~named].all()  # no cell that votes is like them
    assert set(query.obsm) == {"X_mapped"}
    assert query.uns["scrae"]["map"]["n_neighbors"] == 9


def test_without_held_out_cells_or_counts_the_p_value_is_that_of_the_distance(
    trained: tuple[AnnData, SCRAE],
) -> None:
    reference, model = trained[0].copy(), trained[1]
    del reference.obs["scrae_held_out"], reference.layers["counts"]
    query = cells(np.r_[np.arange(45) % 3, np.full(20, 3)], 2)
    tl.map(query, reference, model)
    labels = reference.obs["scrae"].cat.codes.to_numpy()
    found = transfer_labels(model.encode(tl.count_data(query)), reference.obsm["X_scrae"], labels)
    distance = found.distance[:, None]
    more = (found.reference_distance >= distance).sum(axis=1)
    np.testing.assert_allclose(query.obs["scrae_p"], (1 + more) / 481)
    assert query.uns["scrae"]["map"]["n_compared"] == 480


def test_refined_codes_of_few_molecules_lie_nearer_to_their_kind(trained: tuple[AnnData, SCRAE]) -> None:
    reference, model = trained
    query = cells(np.arange(60) % 3, 5)
    thinned = np.random.default_rng(0).binomial(query.layers["counts"].toarray(), 0.04)
    query.layers["counts"] = sparse.csr_matrix(thinned)
    refined = query.copy()
    tl.map(query, reference, model, cluster_key="kind")
    tl.map(refined, reference, model, cluster_key="kind", refine=True)
    right = [
        (np.asarray(q.obs["scrae"]) == [f"kind {i % 3}" for i in range(60)]).mean() for q in (query, refined)
    ]
    assert right[1] > right[0]
    np.testing.assert_array_equal(query.obs["scrae_p"], refined.obs["scrae_p"])
    again = refined.copy()
    tl.embed(again, model, refine=True)
    np.testing.assert_array_equal(again.obsm["X_scrae"], refined.obsm["X_scrae"])


def test_a_model_with_batches_refines_no_codes() -> None:
    reference = cells(np.arange(60) % 3, 7)
    reference.obs["day"] = pd.Categorical([f"day {i % 2}" for i in range(60)])
    model = tl.train(reference, ModelConfig(n_latent=4), TrainConfig(max_epochs=2), batch_key="day")
    with pytest.raises(
        ScraeError, match=r"expected a model without batches .*, found batches; use refine=False"
    ):
        tl.embed(reference, model, refine=True)


def test_a_cell_without_counts_is_flagged(trained: tuple[AnnData, SCRAE]) -> None:
    query = cells(np.array([0, 1]), 4)
    counts = query.layers["counts"].tolil()
    counts[1] = 0
    query.layers["counts"] = sparse.csr_matrix(counts)
    tl.map(query, *trained)
    assert query.obs["scrae_unseen"].iloc[1]


def test_missing_genes_are_said(trained: tuple[AnnData, SCRAE]) -> None:
    query = cells(np.array([0, 1, 2]), 5)[:, GENES[2:]].copy()
    with pytest.warns(ScraeWarning, match="2 of the model's 32 genes are missing"):
        tl.map(query, *trained)
    with pytest.raises(ScraeError, match="expected at least 99% of the model's 32 genes, found 94%"):
        tl.map(query, *trained, min_overlap=0.99)


def test_what_cannot_be_is_said(trained: tuple[AnnData, SCRAE]) -> None:
    reference, model = trained
    query = cells(np.array([0, 1]), 6)
    with pytest.raises(ScraeError, match="expected new cells, found the reference itself"):
        tl.map(reference, reference, model)
    with pytest.raises(
        ScraeError, match=r"expected a column 'type' in the reference's obs, found kind, scrae"
    ):
        tl.map(query, reference, model, cluster_key="type")
    nameless = reference.copy()
    nameless.obs["type"] = pd.Categorical([np.nan] * 480)
    with pytest.raises(ScraeError, match=r"expected clusters in the reference's obs\['type'\], found none"):
        tl.map(query, nameless, model, cluster_key="type")
    for other in (ModelConfig(n_latent=3), ModelConfig(n_latent=4)):
        with pytest.raises(
            ScraeError, match=r"expected codes of this model .* found others; use scrae\.tl\.embed"
        ):
            tl.map(query, reference, SCRAE.for_data(tl.count_data(reference), other))
    del nameless.obsm["X_scrae"]
    with pytest.raises(ScraeError, match=r"expected codes in obsm\['X_scrae'\], found X_scrae_input"):
        tl.map(query, nameless, model)


def test_a_new_batch_is_aligned_to_the_reference(trained: tuple[AnnData, SCRAE]) -> None:
    reference, model = trained[0].copy(), trained[1]
    before = reference.obsm["X_scrae"].copy()
    kinds = np.arange(150) % 3
    query = cells(kinds, 5)
    rates = np.asarray(query.layers["counts"].todense()) + np.random.default_rng(0).poisson(
        np.where(np.arange(32) % 8 < 4, 9.0, 0.0), size=(150, 32)
    )
    query.layers["counts"] = sparse.csr_matrix(rates.astype(np.int32))
    plain, aligned = query.copy(), query.copy()
    tl.map(plain, reference, model, cluster_key="kind")
    tl.map(aligned, reference, model, cluster_key="kind", align=True)
    assert np.array_equal(reference.obsm["X_scrae"], before)
    apart = [
        np.linalg.norm(
            one.obsm["X_scrae"][kinds == k].mean(axis=0) - before[np.arange(480) % 3 == k].mean(axis=0)
        )
        for one in (plain, aligned)
        for k in range(3)
    ]
    assert max(apart[3:]) < 0.5 * max(apart[:3])
    assert (aligned.obs["scrae"] == query.obs["kind"].to_numpy()).all()
    assert aligned.obs["scrae_distance"].mean() < plain.obs["scrae_distance"].mean()
