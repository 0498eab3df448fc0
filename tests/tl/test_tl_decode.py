"""Denoised and generated counts against closed forms."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from helpers.inputs import dense_input
from scipy import sparse, stats

from scrae import SCRAE, ModelConfig, ScraeError, ScraeWarning, TrainConfig, tl
from scrae.core.mixture import Density, Mixture

GENES = [f"g{i}" for i in range(8)]
SMALL = {"n_latent": 2, "encoder_layers": (6,), "decoder_layers": (6,)}


@pytest.fixture
def adata() -> AnnData:
    """70 cells of unequal depth over 8 modeled genes and one other."""
    rng = np.random.default_rng(8)
    rates = rng.gamma(2, 2, size=9) * rng.lognormal(0, 0.7, size=(70, 1))
    counts = sparse.csr_matrix(rng.poisson(rates).astype(np.int32))
    made = AnnData(counts.astype(np.float32), layers={"counts": counts})
    made.var_names = [*GENES, "other"]
    made.obs_names = [f"c{i}" for i in range(70)]
    made.var["scrae_selected"] = [True] * 8 + [False]
    made.obs["kind"] = pd.Categorical(["a", "b"] * 35)
    return made


def model_of(adata: AnnData, **settings: object) -> SCRAE:
    config = ModelConfig(**(SMALL | settings))
    return tl.train(adata, config, TrainConfig(max_epochs=2, patience=None, validation_fraction=0.0))


def by_hand(model: SCRAE, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares and logits of zero inflation of one hidden layer, in NumPy."""
    w = {name: value.double().numpy() for name, value in model.decoder.state_dict().items()}
    h = z @ w["body.layers.0.weight"] + w["body.layers.0.bias"]
    h = np.where(h > 0, h, model.config.leak * h)
    e = np.exp(h @ w["share.weight"] + w["share.bias"])
    zero = (
        h @ w["zero.weight"] + w["zero.bias"]
        if model.decoder.zero is not None
        else np.full(len(GENES), -np.inf)
    )
    return e / e.sum(axis=1, keepdims=True), zero


class TestDenoise:
    def test_means_are_the_decoder_s_for_one_depth(self, adata: AnnData) -> None:
        model = model_of(adata)
        share, _ = by_hand(model, adata.obsm["X_scrae"])
        totals = adata.layers["counts"][:, :8].sum(axis=1).A1
        clean = tl.denoise(adata, model)
        assert clean.X.dtype == np.float32
        np.testing.assert_allclose(
            clean.X, share * np.sort(totals)[34], rtol=1e-4
        )  # torch's median: the lower one
        np.testing.assert_allclose(tl.denoise(adata, model, library=1e4).X, share * 1e4, rtol=1e-4)
        np.testing.assert_allclose(
            tl.denoise(adata, model, library=None).X, share * totals[:, None], rtol=1e-4
        )

    def test_what_comes_along(self, adata: AnnData) -> None:
        model = model_of(adata)
        before = adata.obs.copy()
        clean = tl.denoise(adata, model)
        assert list(clean.var_names) == GENES
        pd.testing.assert_frame_equal(clean.obs, adata.obs)
        assert np.array_equal(clean.obsm["X_scrae"], adata.obsm["X_scrae"])
        clean.obs["kind"], clean.obsm["X_scrae"][:] = "x", 0
        pd.testing.assert_frame_equal(adata.obs, before)
        assert adata.obsm["X_scrae"].any()
        assert "They are not raw counts" in clean.uns["scrae"]["notes"][0]

    def test_chosen_genes_and_parts_of_the_cells_are_parts_of_the_whole(
        self, adata: AnnData, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = model_of(adata)
        whole = tl.denoise(adata, model)
        few = tl.denoise(adata[30:50, ::-1], model, genes=["g5", "g0"])
        assert list(few.var_names) == ["g5", "g0"]
        np.testing.assert_allclose(few.X, whole[30:50, ["g5", "g0"]].X, rtol=1e-5)
        monkeypatch.setattr("scrae.tl._decode._BLOCK", 16)
        np.testing.assert_allclose(tl.denoise(adata, model).X, whole.X, rtol=1e-5)

    def test_an_inferred_library_is_the_encoder_s(self, adata: AnnData) -> None:
        model = model_of(adata, library="inferred")
        data = tl.count_data(adata)
        batch = data.minibatch(torch.arange(70))
        with torch.inference_mode():
            encoded = model.encoder(dense_input(model, batch))
        own = (encoded.library_mean + model.library_mean).exp().numpy()
        np.testing.assert_allclose(tl.denoise(adata, model, library=None).X.sum(axis=1), own, rtol=1e-4)

    def test_what_cannot_be_is_said(self, adata: AnnData) -> None:
        model = model_of(adata)
        with pytest.raises(ScraeError, match=r"8 modeled genes, found 'other'; see model\.genes"):
            tl.denoise(adata, model, genes=["g1", "other"])
        with pytest.raises(ScraeError, match="modeled genes, found none"):
            tl.denoise(adata, model, genes=[])
        for library in (0, -1.0, float("nan"), float("inf")):
            with pytest.raises(ScraeError, match="expected 'median', None or a positive library, found"):
                tl.denoise(adata, model, library=library)
        with pytest.warns(ScraeWarning, match="1 of the model's 8 genes are missing"):
            clean = tl.denoise(adata[:, GENES[1:]].copy(), model)
        assert clean.n_vars == 8
        assert clean.uns["scrae"]["notes"][1].startswith("1 of the model's 8 genes are missing")

    def test_an_error_on_the_way_leaks_no_mode(self, adata: AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
        model = model_of(adata).train()
        for name, act in (
            ("one_hot", lambda: tl.denoise(adata, model)),
            ("sample_prior", lambda: tl.generate(model, 3, source="prior")),
        ):
            with monkeypatch.context() as patch:
                patch.setattr(SCRAE, name, lambda *_: 1 / 0)
                with pytest.raises(ZeroDivisionError):
                    act()
            assert model.training
            assert not torch.is_inference_mode_enabled()


def plain(model: SCRAE, *, library: float, theta: np.ndarray) -> SCRAE:
    """The same model with one code for all cells, one library size and these dispersions."""
    with torch.no_grad():
        if model.latent_generator is not None:
            for parameter in model.latent_generator.parameters():
                parameter.zero_()
            model.latent_generator.code.bias.fill_(0.3)
        model.decoder.log_theta.copy_(torch.from_numpy(np.log(theta)))
        model.library_mean.fill_(np.log(library))
        model.library_var.fill_(0.0)
    return model


class TestGenerate:
    N = 4000
    THETA = np.array([0.3, 0.7, 1.0, 2.0, 3.0, 5.0, 9.0, 20.0])

    @pytest.mark.parametrize("likelihood", ["zinb", "nb"])
    def test_means_variances_and_zeros_are_those_of_the_distribution(
        self, adata: AnnData, likelihood: str
    ) -> None:
        model = plain(model_of(adata, likelihood=likelihood), library=60.0, theta=self.THETA)
        made = tl.generate(model, self.N, source="prior", seed=1)
        np.testing.assert_allclose(made.obsm["X_scrae"], 0.3, rtol=1e-6)
        share, logits = by_hand(model, np.full((1, 2), 0.3))
        mu, keep = 60 * share[0], 1 / (1 + np.exp(np.broadcast_to(logits, (1, 8))[0]))
        x = made.X.toarray().astype(float)
        mean, second = keep * mu, keep * (mu + mu**2 * (1 + 1 / self.THETA))
        error = np.sqrt((second - mean**2) / self.N)
        assert (np.abs(x.mean(axis=0) - mean) < 4 * error).all()
        zero = 1 - keep + keep * (self.THETA / (self.THETA + mu)) ** self.THETA
        assert (np.abs((x == 0).mean(axis=0) - zero) < 4 * np.sqrt(zero * (1 - zero) / self.N)).all()
        one = keep * stats.nbinom.pmf(1, self.THETA, self.THETA / (self.THETA + mu))
        assert (np.abs((x == 1).mean(axis=0) - one) < 4 * np.sqrt(one * (1 - one) / self.N)).all()

    def test_library_sizes_are_log_normal_as_those_of_the_training_cells(self, adata: AnnData) -> None:
        model = plain(model_of(adata, likelihood="nb"), library=1.0, theta=np.full(8, 1e6))
        model.library_mean.fill_(9.0)
        model.library_var.fill_(0.25)
        log_total = np.log(tl.generate(model, 3000, source="prior", seed=5).X.sum(axis=1).A1)
        assert abs(log_total.mean() - 9) < 4 * 0.5 / np.sqrt(3000)
        assert abs(log_total.std() - 0.5) < 4 * 0.5 / np.sqrt(6000)

    def test_the_normal_prior_gives_standard_normal_codes(self, adata: AnnData) -> None:
        z = tl.generate(model_of(adata, prior="normal"), 3000, source="prior", seed=2).obsm["X_scrae"]
        assert stats.kstest(z.ravel(), "norm").pvalue > 0.001

    @pytest.mark.parametrize("likelihood", ["zinb", "nb"])
    def test_cells_of_the_density_have_the_moments_of_its_parts(
        self, adata: AnnData, likelihood: str
    ) -> None:
        model = model_of(adata, likelihood=likelihood)
        single = Mixture(
            weights=np.ones(1), means=np.array([[0.2, -0.4, np.log(50.0)]]), roots=np.zeros((1, 3, 3))
        )
        model.density = Density(mixtures=(single,), theta=self.THETA)
        made = tl.generate(model, self.N, seed=1)
        np.testing.assert_allclose(made.obsm["X_scrae"], [[0.2, -0.4]] * self.N, rtol=1e-6)
        share, logits = by_hand(model, np.array([[0.2, -0.4]]))
        mu, keep = 50 * share[0], 1 / (1 + np.exp(np.broadcast_to(logits, (1, 8))[0]))
        x = made.X.toarray().astype(float)
        mean, second = keep * mu, keep * (mu + mu**2 * (1 + 1 / self.THETA))
        assert (np.abs(x.mean(axis=0) - mean) < 4 * np.sqrt((second - mean**2) / self.N)).all()

    def test_what_it_returns(self, adata: AnnData, global_randomness_untouched: None) -> None:
        model = model_of(adata)
        made = tl.generate(model, 30, seed=3)
        assert (made.shape, made.obs_names[0], list(made.var_names)) == ((30, 8), "generated_0", GENES)
        counts = made.layers["counts"]
        assert (counts.format, counts.dtype) == ("csr", np.int32)
        assert (counts != made.X).nnz == 0
        assert made.uns["scrae"]["seed"] == 3
        assert tl.count_data(made).genes == tuple(GENES)  # it goes through the same path
        again, other = tl.generate(model, 30, seed=3), tl.generate(model, 30, seed=4)
        assert (again.X != made.X).nnz == 0
        assert (other.X != made.X).nnz > 0

    def test_many_blocks(self, adata: AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("scrae.tl._decode._BLOCK", 7)
        made = tl.generate(model_of(adata), 20)
        assert made.shape == (20, 8)
        assert len(np.unique(made.obsm["X_scrae"], axis=0)) == 20

    def test_what_cannot_be_is_said(self, adata: AnnData) -> None:
        plain = model_of(adata, prior="none")
        with pytest.raises(ScraeError, match="found prior='none', a plain autoencoder; use source='density'"):
            tl.generate(plain, 5, source="prior")
        assert tl.generate(plain, 5).n_obs == 5
        plain.density = None
        with pytest.raises(ScraeError, match="expected a model with a density of its codes, found none"):
            tl.generate(plain, 5)
        with pytest.raises(ScraeError, match="expected at least 1 cell, found 0"):
            tl.generate(model_of(adata), 0)
