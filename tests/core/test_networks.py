from __future__ import annotations

import numpy as np
import pytest
import torch
from reference import networks as slow
from scipy.sparse import csr_matrix
from torch import Generator

from scrae.core._kernels import SparseRows
from scrae.core.networks import MLP, Critic, Decoder, Encoder, LatentGenerator, Linear

LEAK = 0.3


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def close(found: torch.Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found.detach(), expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("layers", [(), (7,), (9, 5)])
def test_forward_passes_equal_their_numpy_twins(layers: tuple[int, ...]):
    rng = seeded()
    x, z, noise = (torch.randn(4, n, generator=rng) for n in (6, 3, 2))
    encoder = Encoder(6, 3, layers, LEAK, 0.0, rng)
    for found, expected in zip(
        encoder(x), slow.encode(x.numpy(), slow.weights_of(encoder), LEAK), strict=True
    ):
        close(found, expected)
    decoder = Decoder(6, 3, layers, LEAK, 0.0, True, rng)
    share_logits, logits = decoder(z)
    expected = slow.decode(z.numpy(), slow.weights_of(decoder), LEAK)
    close(share_logits.softmax(dim=1), expected.share)
    close(logits, expected.logits)
    generator = LatentGenerator(2, 3, layers, LEAK, rng)
    close(generator(noise), slow.generate(noise.numpy(), slow.weights_of(generator), LEAK))
    critic = Critic(3, layers, LEAK, rng)
    close(critic(z), slow.criticise(z.numpy(), slow.weights_of(critic), LEAK))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sparse_rows_give_what_dense_ones_give_and_the_same_gradients(dtype: torch.dtype):
    rng = seeded(4)
    layer = Linear(9, 5, rng).to(dtype)
    x = torch.randn(6, 9, generator=rng) * (torch.rand(6, 9, generator=rng) < 0.3)
    x[2], x[:, 4] = 0, 0  # an empty row, and a column that none has
    sparse = csr_matrix(x.numpy())
    rows = SparseRows(
        torch.from_numpy(sparse.indptr).long(),
        torch.from_numpy(sparse.indices).long(),
        torch.from_numpy(sparse.data).to(dtype),
    )
    upstream = torch.randn(6, 5, generator=rng).to(dtype)
    dense = layer(x.to(dtype))
    torch.testing.assert_close(layer(rows), dense, rtol=1e-5, atol=1e-6)
    for found, expected in zip(
        torch.autograd.grad((layer(rows) * upstream).sum(), list(layer.parameters())),
        torch.autograd.grad((dense * upstream).sum(), list(layer.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_the_batch_stands_beside_the_code():
    rng = seeded(5)
    decoder, critic = Decoder(6, 3, (4,), LEAK, 0.0, True, rng, 2), Critic(3, (5,), LEAK, rng, 2)
    z, one_hot = torch.randn(7, 3, generator=rng), torch.eye(2)[[0, 1, 1, 0, 1, 0, 0]]
    both = np.hstack([z.numpy(), one_hot.numpy()])
    share, logits, _ = slow.decode(both, slow.weights_of(decoder), LEAK)
    found, found_logits = decoder(z, one_hot=one_hot)
    close(found.softmax(dim=1), share)
    close(found_logits, logits)
    close(critic(z, one_hot), slow.criticise(both, slow.weights_of(critic), LEAK))


def test_without_zero_inflation_there_are_no_logits():
    decoder = Decoder(6, 3, (4,), LEAK, 0.0, False, seeded())
    assert decoder(torch.zeros(2, 3))[1] is None
    assert not any("zero" in name for name, _ in decoder.named_parameters())


def test_dispersion_is_one_free_value_a_gene():
    assert Decoder(6, 3, (4,), LEAK, 0.0, True, seeded()).log_theta.shape == (6,)


@pytest.mark.parametrize("n_batches", [0, 3])
@pytest.mark.parametrize("layers", [(), (8,), (8, 6)])
def test_the_critic_s_input_gradient_is_autograd_s(layers: tuple[int, ...], n_batches: int):
    rng = seeded(3)
    critic = Critic(4, layers, LEAK, rng, n_batches)
    for parameter in critic.parameters():
        torch.nn.init.normal_(parameter, generator=rng)  # biases too, so that slopes differ from cell to cell
    z = torch.randn(50, 4, generator=rng, requires_grad=True)
    one_hot = torch.eye(n_batches)[torch.arange(50) % n_batches] if n_batches else None
    (expected,) = torch.autograd.grad(critic(z, one_hot).sum(), z, create_graph=True)
    found = critic.input_gradient(z, one_hot)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    weights = [p for name, p in critic.named_parameters() if name.endswith("weight")]
    of_found = torch.autograd.grad((found.norm(dim=1) - 1).square().mean(), weights)
    of_expected = torch.autograd.grad((expected.norm(dim=1) - 1).square().mean(), weights)
    for a, b in zip(of_found, of_expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    assert layers == () or len(found.unique(dim=0)) > 1


def test_no_network_normalises_over_the_batch():
    critic, rng = Critic(3, (5, 5), LEAK, seeded()), seeded(1)
    z = torch.randn(6, 3, generator=rng)
    torch.testing.assert_close(critic(z)[:2], critic(z[:2]))


def test_weights_are_xavier_s_from_the_generator_alone():
    before = torch.get_rng_state()
    first, again, other = Linear(30, 50, seeded(1)), Linear(30, 50, seeded(1)), Linear(30, 50, seeded(2))
    assert torch.equal(first.weight, again.weight)
    assert not torch.equal(first.weight, other.weight)
    assert not first.bias.any()
    bound = np.sqrt(6 / (30 + 50))
    assert 0.98 * bound < float(first.weight.detach().abs().max()) <= bound
    assert float(first.weight.detach().std()) == pytest.approx(bound / np.sqrt(3), rel=0.05)
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_acts_in_training_only_and_keeps_the_mean():
    body = MLP(3, (20_000,), LEAK, 0.25, seeded())
    h = torch.ones(1, 3)
    quiet = body.eval()(h)
    body.train()
    noisy, again, other = body(h, seeded(7)), body(h, seeded(7)), body(h, seeded(8))
    assert torch.equal(noisy, again)
    assert not torch.equal(noisy, other)
    dropped = (noisy == 0) & (quiet != 0)
    assert float(dropped.float().mean()) == pytest.approx(0.25, abs=0.02)
    torch.testing.assert_close(noisy[~dropped], quiet[~dropped] / 0.75)
