from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers.inputs import dense_input
from helpers.small_fits import model_config
from reference import networks as slow
from reference import zinb
from reference.cells import cells
from torch import Generator

from scrae.config import ModelConfig
from scrae.core.data import CountData
from scrae.core.model import SCRAE
from scrae.errors import ScraeError

COUNTS = np.vstack([cells(30, 12, seed=1), np.zeros((1, 12), dtype=np.int64)])  # the last cell is empty
ALL = torch.arange(len(COUNTS))


def config(**changes: Any) -> ModelConfig:
    sizes: dict[str, Any] = {
        "n_latent": 3,
        "encoder_layers": (8, 6),
        "decoder_layers": (7,),
        "generator_layers": (5,),
        "critic_layers": (5,),
    }
    return model_config(**sizes | changes)


def model_and_data(**changes: Any) -> tuple[SCRAE, CountData]:
    data = CountData(COUNTS, [f"g{i}" for i in range(12)])
    return SCRAE.for_data(data, config(**changes), seed=2), data


def test_the_model_remembers_what_it_needs_of_its_cells():
    model, _ = model_and_data()
    totals = COUNTS.sum(axis=1)
    log_library = np.log(np.maximum(totals, 1))
    assert float(model.target_total) == np.median(totals)
    assert float(model.library_mean) == pytest.approx(log_library.mean(), rel=1e-6)
    assert float(model.library_var) == pytest.approx(log_library.var(), rel=1e-6)
    expression = np.log1p(COUNTS * np.median(totals) / np.maximum(totals, 1)[:, None])
    np.testing.assert_allclose(model.gene_scale, expression.std(axis=0), rtol=1e-5)


def test_equal_totals_and_constant_genes_leave_no_zero_to_divide_by():
    model = SCRAE.for_data(CountData(np.array([[3, 1, 0], [1, 3, 0]])), config())
    assert float(model.library_var) == pytest.approx(1e-4)
    assert float(model.gene_scale[2]) == 1.0


def test_the_encoder_reads_scaled_log_expression():
    model, data = model_and_data()
    totals = COUNTS.sum(axis=1)
    expression = np.log1p(COUNTS * np.median(totals) / np.maximum(totals, 1)[:, None])
    expected = np.minimum(expression / expression.std(axis=0), 10)
    found = dense_input(model, data.minibatch(ALL))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_very_high_scaled_expression_is_cut():
    counts = np.zeros((500, 2), dtype=int)
    counts[:, 0], counts[7, 1] = 5, 4
    data = CountData(counts)
    assert float(dense_input(SCRAE.for_data(data, config()), data.minibatch(torch.tensor([7])))[0, 1]) == 10.0


@pytest.mark.parametrize("layers", [(8,), ()])
def test_the_first_layer_starts_centred(layers: tuple[int, ...]):
    model, data = model_and_data(encoder_layers=layers)
    x = dense_input(model, data.minibatch(ALL))
    first = model.encoder.body.layers[0] if layers else model.encoder.code
    np.testing.assert_allclose(first(x).mean(dim=0).detach(), 0, atol=1e-5)


@pytest.mark.parametrize("likelihood", ["zinb", "nb"])
@pytest.mark.parametrize("library", ["inferred", "observed"])
@pytest.mark.parametrize("training", [False, True])
def test_losses_equal_the_numpy_twin(likelihood: str, library: str, training: bool):
    model, data = model_and_data(likelihood=likelihood, library=library)
    batch = data.minibatch(ALL)
    model.train(training)
    found = model.autoencoder_losses(batch, Generator().manual_seed(6))

    encoder, decoder = slow.weights_of(model.encoder), slow.weights_of(model.decoder)
    z, mean, log_var = slow.encode(dense_input(model, batch).double().numpy(), encoder, 0.2)
    np.testing.assert_allclose(found.z.detach(), z, rtol=1e-4, atol=1e-5)
    centre, spread = float(model.library_mean), float(model.library_var)
    mean = mean + centre  # the head says how far a cell is from the average cell
    noise = torch.empty(len(COUNTS)).normal_(generator=Generator().manual_seed(6)).numpy()
    if library == "observed":
        log_library, kl = np.log(np.maximum(COUNTS.sum(axis=1), 1)), np.zeros(len(COUNTS))
    else:
        log_library = mean + np.exp(log_var / 2) * noise * training
        kl = 0.5 * (np.log(spread) - log_var + (np.exp(log_var) + (mean - centre) ** 2) / spread - 1)
    np.testing.assert_allclose(found.library.detach(), kl, rtol=1e-4, atol=1e-5)
    share, logits, theta = slow.decode(z, decoder, 0.2)
    expected = zinb.cell_nll(COUNTS, np.exp(log_library)[:, None] * share, theta, logits)
    np.testing.assert_allclose(found.reconstruction.detach(), expected, rtol=1e-4)


def test_inferred_library_draws_in_training_only():
    model, data = model_and_data(library="inferred")
    batch, rng = data.minibatch(ALL), Generator().manual_seed(1)
    model.train()
    first, second = (model.autoencoder_losses(batch, rng).reconstruction for _ in range(2))
    assert not torch.equal(first, second)
    model.eval()
    before = rng.get_state()
    first, second = (model.autoencoder_losses(batch, rng).reconstruction for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(rng.get_state(), before)


def test_observed_library_draws_nothing():
    model, data = model_and_data(library="observed")
    rng = Generator().manual_seed(1)
    before = rng.get_state()
    losses = model.train().autoencoder_losses(data.minibatch(ALL), rng)
    assert torch.equal(rng.get_state(), before)
    assert not losses.library.any()


def test_an_empty_cell_is_finite_everywhere():
    for library in ("inferred", "observed"):
        model, data = model_and_data(library=library)
        losses = model.train().autoencoder_losses(data.minibatch(ALL[-2:]), Generator().manual_seed(0))
        losses.reconstruction.sum().backward()
        assert torch.isfinite(losses.reconstruction).all()
        assert torch.isfinite(losses.library).all()
        gradients = [
            p.grad for p in (*model.encoder.parameters(), *model.decoder.parameters()) if p.grad is not None
        ]
        assert gradients
        assert all(torch.isfinite(gradient).all() for gradient in gradients)
        assert np.isfinite(model.encode(data)).all()


def test_encode_is_the_code_head_cell_by_cell():
    model, data = model_and_data(dropout=0.5)
    model.train()
    codes = model.encode(data)
    assert model.training  # as it was found
    assert (codes.dtype, codes.shape) == (np.dtype(np.float32), (len(COUNTS), 3))
    np.testing.assert_array_equal(model.encode(data), codes)
    np.testing.assert_allclose(model.encode(data, batch_size=4), codes, rtol=1e-5, atol=1e-6)
    expected, _, _ = slow.encode(
        dense_input(model, data.minibatch(ALL)).double().numpy(), slow.weights_of(model.encoder), 0.2
    )
    np.testing.assert_allclose(codes, expected, rtol=1e-4, atol=1e-5)
    model.eval()
    model.encode(data)
    assert not model.training


def test_encode_wants_the_model_s_genes_in_order():
    model, data = model_and_data()
    with pytest.raises(ScraeError) as error:
        model.encode(CountData(COUNTS[:, ::-1].copy(), data.genes[::-1]))
    assert str(error.value) == (
        "SCRAE.encode: expected the model's 12 genes in its order, found 12 others; "
        "align them by name first (scrae.tl.count_data(adata, genes=model.genes))"
    )


def test_held_out_loss_is_the_mean_over_the_given_cells():
    model, data = model_and_data(dropout=0.3)
    rows = torch.tensor([5, 30, 2])
    each = model.eval().autoencoder_losses(data.minibatch(rows)).reconstruction.detach()
    model.train()
    assert model.held_out_loss(data, rows) == pytest.approx(float(each.double().mean()), rel=1e-6)
    assert model.held_out_loss(data, rows, batch_size=1) == pytest.approx(
        float(each.double().mean()), rel=1e-6
    )
    assert model.training


def test_a_learned_prior_is_the_generator_of_normal_noise():
    model, _ = model_and_data(prior="learned", n_noise=2)
    found = model.sample_prior(6, Generator().manual_seed(3))
    noise = torch.empty(6, 2).normal_(generator=Generator().manual_seed(3)).numpy()
    expected = slow.generate(noise, slow.weights_of(model.latent_generator), 0.2)
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-4, atol=1e-5)


def test_the_normal_prior_is_noise_itself():
    model, _ = model_and_data(prior="normal")
    assert model.latent_generator is None
    draws = model.sample_prior(20_000, Generator().manual_seed(3))
    assert draws.shape == (20_000, 3)
    np.testing.assert_allclose(draws.mean(dim=0), 0, atol=0.03)
    np.testing.assert_allclose(np.cov(draws.T.numpy()), np.eye(3), atol=0.04)


def test_without_a_prior_there_is_neither_critic_nor_draw():
    model, _ = model_and_data(prior="none")
    assert (model.critic, model.latent_generator) == (None, None)
    with pytest.raises(ScraeError) as error:
        model.sample_prior(3)
    assert str(error.value) == "SCRAE.sample_prior: expected a model with a prior, found prior='none'"


@pytest.mark.usefixtures("global_randomness_untouched")
def test_the_seed_alone_makes_the_weights():
    def weights(seed: int, **changes: Any) -> dict[str, torch.Tensor]:
        return SCRAE.for_data(CountData(COUNTS), config(**changes), seed=seed).state_dict()

    first, again, other = weights(7), weights(7), weights(8)
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["encoder.code.weight"], other["encoder.code.weight"])
    assert not torch.equal(first["decoder.log_theta"], other["decoder.log_theta"])
    plain = weights(7, prior="none")  # the autoencoder does not depend on the prior
    assert all(torch.equal(first[name], plain[name]) for name in plain)


@pytest.mark.usefixtures("global_randomness_untouched")
def test_encoding_and_losses_draw_nothing_global():
    model, data = model_and_data(dropout=0.5)
    model.encode(data)
    model.train().autoencoder_losses(data.minibatch(ALL), Generator().manual_seed(0))
    model.sample_prior(4, Generator().manual_seed(0))
    model.held_out_loss(data, ALL)


def test_each_batch_has_its_own_prior_of_the_library_size():
    codes = np.arange(len(COUNTS)) % 2
    data = CountData(COUNTS, batch_names=("a", "b"), batch_codes=codes)
    model = SCRAE.for_data(data, config())
    log_library = np.log(np.maximum(COUNTS.sum(axis=1), 1))
    for code in range(2):
        part = log_library[codes == code]
        assert float(model.library_mean[code]) == pytest.approx(part.mean(), rel=1e-6)
        assert float(model.library_var[code]) == pytest.approx(part.var(), rel=1e-6)
    mean, var = model.library_prior(data.minibatch(torch.tensor([4, 1, 2])))
    assert torch.equal(mean, model.library_mean[[0, 1, 0]])
    assert torch.equal(var, model.library_var[[0, 1, 0]])
    assert not torch.equal(mean[0], mean[1])


def test_a_batch_without_cells_is_refused():
    data = CountData(COUNTS, batch_names=("a", "b", "c"), batch_codes=np.arange(len(COUNTS)) % 2)
    with pytest.raises(ScraeError, match="expected cells of every batch, found none of 'c'"):
        SCRAE.for_data(data, config())


def test_the_codes_do_not_depend_on_the_batch():
    parts = [
        CountData(COUNTS, batch_names=("a", "b"), batch_codes=(np.arange(len(COUNTS)) + i) % 2)
        for i in (0, 1)
    ]
    model = SCRAE.for_data(parts[0], config())
    codes = model.encode(parts[0])
    np.testing.assert_array_equal(codes, model.encode(parts[1]))
    np.testing.assert_array_equal(codes, model.encode(CountData(COUNTS)))
    assert model.held_out_loss(parts[0], ALL) != model.held_out_loss(parts[1], ALL)
