from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import Generator, Tensor
from torch.distributions import Normal, kl_divergence

from scrae.core.losses import critic_loss, encoder_loss, generator_loss, gradient_penalty, library_kl
from scrae.core.networks import Critic

REAL, FAKE = torch.tensor([0.5, -1.5]), torch.tensor([2.0, 1.0])


def softplus(x: float) -> float:
    return float(np.log(1 + np.exp(x)))


def test_library_kl_is_that_of_two_normals():
    mean, log_var = torch.tensor([6.0, 8.5, 7.0]), torch.tensor([-3.0, 0.7, 0.0])
    prior_mean, prior_var = torch.tensor(7.2), torch.tensor(0.4)
    expected = kl_divergence(Normal(mean, (0.5 * log_var).exp()), Normal(prior_mean, prior_var.sqrt()))
    torch.testing.assert_close(
        library_kl(mean, log_var, prior_mean, prior_var), expected, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("divergence", "critic", "generator", "encoder"),
    [
        ("wasserstein", 1.5 + 0.5, -1.5, -0.5),
        (
            "jensen-shannon",
            (softplus(-0.5) + softplus(1.5)) / 2 + (softplus(2) + softplus(1)) / 2,
            (softplus(-2) + softplus(-1)) / 2,
            (softplus(0.5) + softplus(-1.5)) / 2,
        ),
        ("kullback-leibler", (np.e + 1) / 2 + 0.5, -(np.e + 1) / 2, -0.5),
    ],
)
def test_losses_worked_by_hand(divergence: str, critic: float, generator: float, encoder: float):
    assert float(critic_loss(divergence, REAL, FAKE)) == pytest.approx(critic, rel=1e-6)
    assert float(generator_loss(divergence, FAKE)) == pytest.approx(generator, rel=1e-6)
    assert float(encoder_loss(divergence, REAL)) == pytest.approx(encoder, rel=1e-6)


@pytest.mark.parametrize("divergence", ["wasserstein", "jensen-shannon", "kullback-leibler"])
def test_generator_and_encoder_pull_against_the_critic(divergence: str):
    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    up, down = torch.autograd.grad(critic_loss(divergence, real, fake), [real, fake])
    assert (up < 0).all()
    assert (down > 0).all()
    assert (torch.autograd.grad(generator_loss(divergence, fake), fake)[0] < 0).all()
    assert (torch.autograd.grad(encoder_loss(divergence, real), real)[0] > 0).all()


def linear_critic(slope: list[float]) -> Critic:
    critic = Critic(len(slope), (), 0.2, Generator().manual_seed(0))
    with torch.no_grad():
        critic.value.weight.copy_(torch.tensor([slope]).t())
    return critic


@pytest.mark.parametrize(("slope", "norm"), [([3.0, 4.0], 5.0), ([0.6, 0.0], 0.6), ([1.0, 0.0], 1.0)])
def test_gradient_penalty_of_a_linear_critic(slope: list[float], norm: float):
    rng = Generator().manual_seed(1)
    z, z_prior, mix = (
        torch.randn(9, 2, generator=rng),
        torch.randn(9, 2, generator=rng),
        torch.rand(9, 1, generator=rng),
    )
    critic = linear_critic(slope)
    penalty = gradient_penalty(critic, z, z_prior, mix)
    assert float(penalty.detach()) == pytest.approx((norm - 1) ** 2, rel=1e-5, abs=1e-10)
    (found,) = torch.autograd.grad(penalty, critic.value.weight)
    expected = 2 * (norm - 1) / norm * np.array([slope])
    np.testing.assert_allclose(found.t(), expected, atol=1e-5)


def test_gradient_penalty_is_taken_between_codes_and_prior_and_averaged_over_cells():
    critic = Critic(1, (1,), 0.5, Generator().manual_seed(0))
    with torch.no_grad():  # slope 3 right of zero, 1.5 left of it
        critic.body.layers[0].weight.fill_(1.0)
        critic.value.weight.fill_(3.0)
    z, z_prior = torch.tensor([[4.0], [4.0], [4.0], [4.0]]), torch.tensor([[-4.0], [-4.0], [-4.0], [-4.0]])
    mix = torch.tensor([[0.9], [0.6], [0.55], [0.1]])  # the points 3.2, 0.8, 0.4, -3.2
    assert float(gradient_penalty(critic, z, z_prior, mix).detach()) == pytest.approx((3 * 2**2 + 0.5**2) / 4)


# Codes N(mean, scale²) against the prior N(0, I), in two dimensions.


def train_critic(divergence: str, mean: list[float], scale: float, penalty: float, steps: int) -> float:
    """Minus the critic's loss on fresh draws, after training it on fresh draws."""
    rng = Generator().manual_seed(11)
    centre = torch.tensor(mean, dtype=torch.float32)

    def draw(n: int) -> tuple[Tensor, Tensor]:
        return centre + scale * torch.randn(n, 2, generator=rng), torch.randn(n, 2, generator=rng)

    critic = Critic(2, (32, 32), 0.2, rng)
    optimizer = torch.optim.Adam(critic.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        z, z_prior = draw(256)
        loss = critic_loss(divergence, critic(z), critic(z_prior))
        if penalty:
            mix = torch.rand(len(z), 1, generator=rng)
            loss = loss + penalty * gradient_penalty(critic, z, z_prior, mix)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        z, z_prior = draw(200_000)
        return -float(critic_loss(divergence, critic(z), critic(z_prior)))


def test_wasserstein_critic_finds_the_distance_of_the_means():
    # With penalty weight b the best slope is 1 + distance / 2b, so the estimate is too high by that factor.
    found = train_critic("wasserstein", [1.2, -1.6], 1.0, 10.0, 250)
    assert found / (1 + 2 / 20) == pytest.approx(2.0, rel=0.02)


def test_jensen_shannon_critic_finds_the_integral():
    def integrand(x: float) -> float:
        q, p = stats.norm.pdf(x, 2.0), stats.norm.pdf(x)  # along the line through both means
        return 0.5 * (q * np.log(2 * q / (p + q)) + p * np.log(2 * p / (p + q)))

    expected, _ = integrate.quad(integrand, -9, 11)
    loss = -train_critic("jensen-shannon", [1.2, -1.6], 1.0, 0.0, 250)
    assert np.log(2) - loss / 2 == pytest.approx(expected, rel=0.03)


def test_kullback_leibler_critic_finds_the_closed_form():
    mean, scale = np.array([0.6, -0.5]), 0.7
    expected = np.sum(scale**2 + mean**2 - 1 - 2 * np.log(scale)) / 2
    assert train_critic("kullback-leibler", list(mean), scale, 0.0, 250) == pytest.approx(expected, rel=0.03)
