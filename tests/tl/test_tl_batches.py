"""Cells of several batches: what the model is told, and what its codes forget."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from reference.cells import cells
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from scrae import SCRAE, ModelConfig, ScraeError, TrainConfig, tl
from scrae.io.batches import batch_codes, batches_of

N, GENES = 60, [f"g{i}" for i in range(8)]
SMALL = {"n_latent": 2, "encoder_layers": (6,), "decoder_layers": (6,)}


@pytest.fixture
def adata() -> AnnData:
    """60 cells of three donors over 8 modeled genes."""
    rng = np.random.default_rng(8)
    counts = sparse.csr_matrix(rng.poisson(rng.gamma(2, 2, size=8), size=(N, 8)).astype(np.int32))
    made = AnnData(counts.astype(np.float32), layers={"counts": counts})
    made.var_names = GENES
    made.var["scrae_selected"] = True
    made.obs["donor"] = pd.Categorical(
        np.take(["d10", "d9", "d1"], np.arange(N) % 3), ["d9", "d10", "d1", "none"]
    )
    made.obs["depth"] = 1.5
    return made


def trained(adata: AnnData, batch_key: str | None = "donor", **settings: object) -> SCRAE:
    config = TrainConfig(max_epochs=2, patience=None, validation_fraction=0.0)
    return tl.train(adata, ModelConfig(**(SMALL | settings)), config, batch_key=batch_key)


class TestColumn:
    def test_names_are_those_in_use_in_their_order(self, adata: AnnData) -> None:
        batches = batches_of(adata, "donor")
        assert list(batches.categories) == ["d1", "d10", "d9"]
        assert list(batches[:4]) == ["d10", "d9", "d1", "d10"]
        adata.obs["number"] = np.arange(N) % 2
        assert list(batches_of(adata, "number")[:3]) == ["0", "1", "0"]

    def test_places_are_those_of_the_model_s_names(self, adata: AnnData) -> None:
        found = batch_codes(batches_of(adata, "donor"), ("d9", "elsewhere", "d1", "d10"), "donor")
        assert found[:4].tolist() == [3, 0, 2, 3]

    def test_a_wrong_name_is_refused_with_a_near_one(self, adata: AnnData) -> None:
        with pytest.raises(ScraeError) as error:
            trained(adata, "doner")
        assert str(error.value) == (
            "batch_key: expected a column of obs, found no 'doner'; there is 'donor', 'depth'; did you mean 'donor'?"
        )

    def test_cells_without_a_batch_are_refused(self, adata: AnnData) -> None:
        adata.obs.loc[adata.obs_names[:4], "donor"] = np.nan
        with pytest.raises(
            ScraeError, match=r"found 4 of 60 cells without one in obs\['donor'\]; fill them or"
        ):
            trained(adata)

    def test_one_batch_is_refused(self, adata: AnnData) -> None:
        adata.obs["donor"] = "d1"
        with pytest.raises(
            ScraeError, match=r"two batches in obs\['donor'\], found only 'd1'; leave batch_key"
        ):
            trained(adata)


class TestTrain:
    def test_the_model_knows_the_batches_and_the_slots_say_so(self, adata: AnnData) -> None:
        model = trained(adata, library="inferred")
        assert model.batch_names == ("d1", "d10", "d9")
        assert model.decoder.body.layers[0].weight.shape == (2 + 3, 6)
        assert adata.uns["scrae"]["train"]["batch_key"] == "donor"
        totals = np.log(adata.layers["counts"].sum(axis=1).A1)
        means = [totals[(adata.obs["donor"] == name).to_numpy()].mean() for name in model.batch_names]
        np.testing.assert_allclose(model.library_mean, means, rtol=1e-5)
        trained(adata, None)
        assert adata.uns["scrae"]["train"]["batch_key"] == ""

    def test_several_columns_are_joined(self, adata: AnnData) -> None:
        adata.obs["kit"] = np.where(np.arange(N) % 2, "v3", "v2")
        model = trained(adata, "donor,kit")
        assert model.batch_names == ("d1, v2", "d1, v3", "d10, v2", "d10, v3", "d9, v2", "d9, v3")
        assert list(adata.obs["donor,kit"][:4]) == ["d10, v2", "d9, v3", "d1, v2", "d10, v3"]
        codes = adata.obsm["X_scrae"].copy()
        adata.obs["both"] = adata.obs["donor,kit"]
        trained(adata, "both")
        assert np.array_equal(adata.obsm["X_scrae"], codes)
        with pytest.raises(ScraeError, match="found no 'doner'; there is"):
            trained(adata, "kit,doner")

    def test_new_cells_need_no_batch(self, adata: AnnData) -> None:
        model = trained(adata)
        codes = adata.obsm["X_scrae"].copy()
        del adata.obs["donor"]
        tl.embed(adata, model)
        assert np.array_equal(adata.obsm["X_scrae"], codes)


class TestDecode:
    def test_denoised_as_if_from_one_batch(self, adata: AnnData) -> None:
        model = trained(adata)
        parts = {name: tl.denoise(adata, model, batch=name, library=100.0) for name in model.batch_names}
        own = tl.denoise(adata, model, batch_key="donor", library=100.0)
        for name, part in parts.items():
            cells = (adata.obs["donor"] == name).to_numpy()
            np.testing.assert_array_equal(part.X[cells], own.X[cells])
            assert not np.allclose(part.X[~cells], own.X[~cells], rtol=1e-3)
        assert "per cell, as if all were of batch 'd9'. They" in parts["d9"].uns["scrae"]["notes"][0]
        w = {name: value.double().numpy() for name, value in model.decoder.state_dict().items()}
        z = np.hstack([adata.obsm["X_scrae"], np.tile([0, 1, 0], (N, 1))])
        h = z @ w["body.layers.0.weight"] + w["body.layers.0.bias"]
        e = np.exp(np.where(h > 0, h, 0.2 * h) @ w["share.weight"] + w["share.bias"])
        np.testing.assert_allclose(parts["d10"].X, 100 * e / e.sum(axis=1, keepdims=True), rtol=1e-4)

    def test_the_inferred_library_is_that_of_the_batch(self, adata: AnnData) -> None:
        model = trained(adata, library="inferred")
        first, second = (
            tl.denoise(adata, model, batch=name, library=None).X.sum(axis=1) for name in ("d1", "d9")
        )
        ratio = np.exp(float(model.library_mean[2] - model.library_mean[0]))
        np.testing.assert_allclose(second / first, ratio, rtol=1e-4)

    def test_which_batch_has_to_be_said(self, adata: AnnData) -> None:
        model = trained(adata)
        known = r"\(the model's batches are 'd1', 'd10', 'd9'\), found"
        with pytest.raises(ScraeError, match=f"^denoise: expected batch or batch_key {known} None$"):
            tl.denoise(adata, model)
        with pytest.raises(ScraeError, match=f"{known} 'd2'$"):
            tl.denoise(adata, model, batch="d2")
        with pytest.raises(ScraeError, match=f"{known} both$"):
            tl.denoise(adata, model, batch="d1", batch_key="donor")
        with pytest.raises(ScraeError, match=f"^generate: expected batch {known} None$"):
            tl.generate(model, 3)
        with pytest.raises(
            ScraeError, match="expected no batch for a model that was trained without batch_key"
        ):
            tl.denoise(adata, trained(adata, None), batch="d1")

    def test_cells_of_an_unknown_batch(self, adata: AnnData) -> None:
        model = trained(adata)
        adata.obs["donor"] = adata.obs["donor"].cat.rename_categories({"d9": "new"})
        with pytest.raises(ScraeError) as error:
            tl.denoise(adata, model, batch_key="donor")
        assert str(error.value) == (
            "batch_key: expected batches that the model knows ('d1', 'd10', 'd9'), found 'new' in obs['donor']; name a "
            "known batch to decode these cells as if from it, or train with them"
        )

    def test_generated_cells_are_of_the_batch(self, adata: AnnData) -> None:
        model = trained(adata, likelihood="nb")
        model.library_mean.copy_(model.library_mean.new_tensor([2.0, 5.0, 8.0]))
        model.library_var.fill_(1e-4)
        model.decoder.log_theta.data.fill_(9.0)
        for name, log_total in zip(model.batch_names, (2.0, 5.0, 8.0), strict=True):
            made = tl.generate(model, 200, source="prior", batch=name, seed=1)
            assert np.log(made.X.sum(axis=1).mean()) == pytest.approx(log_total, abs=0.1)
        shares = [
            (made.X.sum(axis=0).A1 / made.X.sum())
            for made in (
                tl.generate(model, 2000, source="prior", batch=name, seed=1) for name in ("d10", "d9")
            )
        ]
        assert np.abs(shares[0] - shares[1]).max() > 0.02


def test_codes_forget_a_batch_that_shifts_every_gene() -> None:
    """Three types in two batches, whose second multiplies each gene by a factor of its own."""
    n, n_genes = 300, 30
    batch, kind = np.repeat([0, 1], n // 2), np.arange(n) % 3
    counts = cells(n, n_genes, depth=300.0, seed=3)
    factor = np.exp(np.random.default_rng(5).normal(0, 1.5, size=n_genes))
    counts[batch == 1] = np.random.default_rng(6).poisson(counts[batch == 1] * factor)
    adata = AnnData(counts.astype(np.float32), layers={"counts": sparse.csr_matrix(counts)})
    adata.var["scrae_selected"] = True
    adata.obs["batch"] = pd.Categorical(np.take(["a", "b"], batch))
    model = ModelConfig(
        n_latent=4, encoder_layers=(32,), decoder_layers=(32,), generator_layers=(16,), critic_layers=(32,)
    )
    config = TrainConfig(
        batch_size=60,
        max_epochs=60,
        n_critic=2,
        adversarial_learning_rate=3e-3,
        patience=None,
        validation_fraction=0.0,
    )
    mixed = {}  # share of the nearest ten cells that are of the other batch, for each seed; half would be all forgotten
    for key in (None, "batch"):
        mixed[key] = []
        for seed in range(3):
            tl.train(adata, model, config, batch_key=key, seed=seed)
            near = NearestNeighbors(n_neighbors=10).fit(adata.obsm["X_scrae"]).kneighbors()[1]
            mixed[key].append((batch[near] != batch[:, None]).mean())
            assert (kind[near] == kind[:, None]).mean() > 0.95
    assert np.mean(mixed[None]) < 0.05
    assert np.min(mixed["batch"]) > 0.15
