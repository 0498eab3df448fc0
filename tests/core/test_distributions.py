from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from helpers.likelihood_cases import FAR, GRID, ZEROS, nonzeros_of
from reference import zinb
from scipy import stats
from torch import Tensor

from scrae.core._kernels import count_nll
from scrae.core.distributions import nb_log_prob, zinb_log_prob


def fused(points: list[tuple[int, float, float, float | None]]) -> np.ndarray:
    """``count_nll`` in float32 at single points: a cell each, one gene, so that the share is one."""
    result = np.empty(len(points))
    for log_theta, inflated in {(point[2], point[3] is not None) for point in points}:
        chosen = [
            i for i, point in enumerate(points) if (point[2], point[3] is not None) == (log_theta, inflated)
        ]
        x, log_mu, _, logits = zip(*(points[i] for i in chosen), strict=True)
        nll = count_nll(
            torch.zeros(len(x), 1),
            torch.tensor(log_mu),
            torch.tensor([log_theta]),
            torch.tensor(logits)[:, None] if inflated else None,
            nonzeros_of(torch.tensor(x)[:, None]),
        )
        assert nll.dtype == torch.float32
        result[chosen] = -nll.numpy()
    return result


def test_float32_equals_mpmath_to_five_digits_over_the_whole_grid():
    points = GRID + ZEROS
    expected = np.array([zinb.log_prob(*point) for point in points])
    np.testing.assert_allclose(fused(points), expected, rtol=1e-5)
    readable = [
        float(
            nb_log_prob(*(torch.tensor(v, dtype=torch.float64) for v in (x, np.exp(m), np.exp(t))))
            if logit is None
            else zinb_log_prob(
                *(torch.tensor(v, dtype=torch.float64) for v in (x, np.exp(m), np.exp(t), logit))
            )
        )
        for x, m, t, logit in points
    ]
    np.testing.assert_allclose(readable, expected, rtol=1e-8)


def test_far_from_any_data_it_is_still_right_and_its_gradients_finite():
    expected = np.array([zinb.log_prob(*point) for point in FAR])
    np.testing.assert_allclose(fused(FAR), expected, rtol=1e-5, atol=1e-30)
    x, log_mu, log_theta, logits = (torch.tensor(column)[None, :] for column in zip(*FAR, strict=True))
    library = torch.tensor([0.0])
    inputs = [v.clone().requires_grad_() for v in (log_mu, library, log_theta[0], logits)]
    for gradient in torch.autograd.grad(count_nll(*inputs, nonzeros_of(x)).sum(), inputs):
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("mu", [0.01, 3.0, 100.0])
@pytest.mark.parametrize("theta", [0.1, 2.0, 1000.0])
@pytest.mark.parametrize("logit", [-2.0, 1.0, None])
def test_probabilities_sum_to_one(mu: float, theta: float, logit: float | None):
    x = torch.arange(50_000)[:, None]
    logits = None if logit is None else torch.full(x.shape, logit)
    log_mu = torch.full((len(x),), np.log(mu), dtype=torch.float32)
    nll = count_nll(
        torch.zeros(x.shape),
        log_mu,
        torch.tensor([np.log(theta)], dtype=torch.float32),
        logits,
        nonzeros_of(x),
    )
    assert float((-nll.double()).exp().sum()) == pytest.approx(1, abs=1e-5)


def test_negative_binomial_equals_scipy_and_is_the_limit_of_no_inflation():
    x, mu, theta = (
        np.array([0, 1, 7, 30, 400]),
        np.array([0.2, 3.0, 3.0, 50.0, 90.0]),
        np.array([0.5, 2.0, 9.0, 0.3, 40.0]),
    )
    expected = stats.nbinom.logpmf(x, theta, theta / (theta + mu))
    tensors = [torch.tensor(v, dtype=torch.float64) for v in (x, mu, theta)]
    np.testing.assert_allclose(nb_log_prob(*tensors), expected, rtol=1e-9)
    np.testing.assert_allclose(zinb_log_prob(*tensors, torch.tensor(-80.0)), expected, rtol=1e-9)
    np.testing.assert_allclose(zinb_log_prob(*tensors, torch.tensor(40.0))[1:], expected[1:] - 40, rtol=1e-9)
    points = [
        (int(c), float(np.log(m)), float(np.log(t)), -80.0) for c, m, t in zip(x, mu, theta, strict=True)
    ]
    np.testing.assert_allclose(fused(points), expected, rtol=1e-5)


class Block(NamedTuple):
    """Parameters of three cells of six genes, and their counts."""

    logits: Tensor
    log_library: Tensor
    log_theta: Tensor
    zi_logits: Tensor | None
    counts: Tensor

    def parameters(self) -> list[Tensor]:
        return [v.requires_grad_() for v in self[:4] if v is not None]

    def nll(self) -> Tensor:
        return count_nll(*self[:4], nonzeros_of(self.counts))

    def readable(self) -> Tensor:
        mu = self.log_library.exp()[:, None] * torch.softmax(self.logits, dim=1)
        theta = self.log_theta.exp()
        if self.zi_logits is None:
            return -nb_log_prob(self.counts, mu, theta).sum(dim=1)
        return -zinb_log_prob(self.counts, mu, theta, self.zi_logits).sum(dim=1)


def block(dtype: torch.dtype, inflated: bool = True) -> Block:
    """Counts on both sides of the table of eight and parameters all over."""
    rng = torch.Generator().manual_seed(5)
    counts = torch.tensor([[0, 1, 8, 9, 0, 3], [0, 0, 0, 0, 0, 0], [2, 0, 40, 5000, 7, 0]])
    logits = torch.empty(3, 6).uniform_(-3, 6, generator=rng).to(dtype)
    log_theta = torch.tensor([-4.0, -1.0, 0.0, 1.0, 3.0, 6.0], dtype=dtype)
    zi_logits = torch.empty(3, 6).uniform_(-4, 4, generator=rng).to(dtype) if inflated else None
    return Block(logits, torch.tensor([3.0, -0.5, 6.0], dtype=dtype), log_theta, zi_logits, counts)


@pytest.mark.parametrize("inflated", [True, False])
def test_a_block_is_the_sum_over_genes_of_each_cell(inflated: bool):
    made = block(torch.float64, inflated)
    np.testing.assert_allclose(made.nll(), made.readable(), rtol=1e-10)


def test_the_shares_may_lie_hundreds_of_logits_apart():
    made = block(torch.float64)
    made = made._replace(logits=made.logits * 40 + 900)
    assert torch.isfinite(made.nll()).all()
    np.testing.assert_allclose(made.nll(), made.readable(), rtol=1e-10)


@pytest.mark.parametrize("inflated", [True, False])
def test_gradients_pass_gradcheck(inflated: bool):
    made = block(torch.float64, inflated)
    nonzeros = nonzeros_of(made.counts)
    assert torch.autograd.gradcheck(
        lambda m, s, t, z=None: count_nll(m, s, t, z, nonzeros), made.parameters()
    )


@pytest.mark.parametrize("inflated", [True, False])
def test_float32_gradients_equal_those_of_the_readable_form_in_float64(inflated: bool):
    upstream = torch.tensor([1.0, -2.0, 0.5])  # each cell its own
    fast, slow = block(torch.float32, inflated), block(torch.float32, inflated)
    slow = Block(*(None if v is None else v.double() for v in slow[:4]), slow.counts)
    inputs, same = fast.parameters(), slow.parameters()
    found = torch.autograd.grad(fast.nll() @ upstream, inputs)
    expected = torch.autograd.grad(slow.readable() @ upstream.double(), same)
    for mine, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, other, rtol=2e-5, atol=2e-6 * float(other.abs().max().clamp(min=1)))


def test_only_wanted_gradients_come_and_no_second_ones():
    made = block(torch.float64)
    assert not made.nll().requires_grad
    made.log_theta.requires_grad_()
    (first,) = torch.autograd.grad(made.nll().square().sum(), made.log_theta, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()
