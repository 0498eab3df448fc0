"""The paper's algorithm written out: autograd on the readable formulas, and Adam by hand in NumPy.

A slow twin of ``scrae.core.step.training_step``: the same draws in the same order, nothing shared but the networks'
forward passes (which have NumPy twins of their own).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from helpers.inputs import dense_input
from torch import Generator, Tensor, nn
from torch.nn import functional

from scrae.config import TrainConfig
from scrae.core.data import Minibatch
from scrae.core.distributions import nb_log_prob, zinb_log_prob
from scrae.core.model import SCRAE


class Adam:
    """Kingma and Ba 2015, algorithm 1, with the weight decay of Loshchilov and Hutter 2019."""

    def __init__(
        self, parameters: Iterable[nn.Parameter], rate: float, betas: tuple[float, float], decay: float = 0.0
    ):
        self.parameters, self.rate, self.betas, self.decay = list(parameters), rate, betas, decay
        self.first = [np.zeros(p.shape) for p in self.parameters]
        self.second = [np.zeros(p.shape) for p in self.parameters]
        self.steps = 0

    def descend(self, loss: Tensor) -> None:
        gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True, retain_graph=True)
        self.steps += 1
        (b1, b2), n = self.betas, self.steps
        for i, (p, g) in enumerate(zip(self.parameters, gradients, strict=True)):
            if g is None:  # not part of this loss: left alone, by the decay too
                continue
            gradient = g.numpy()
            self.first[i] = b1 * self.first[i] + (1 - b1) * gradient
            self.second[i] = b2 * self.second[i] + (1 - b2) * gradient**2
            direction = self.first[i] / (1 - b1**n) / (np.sqrt(self.second[i] / (1 - b2**n)) + 1e-8)
            with torch.no_grad():
                p -= self.rate * torch.as_tensor(direction + self.decay * p.detach().numpy())


def train(model: SCRAE, batches: Sequence[Minibatch], config: TrainConfig, rng: Generator) -> SCRAE:
    """Return a trained copy of ``model``, after one iteration a batch."""
    model = copy.deepcopy(model).train()
    critic, generator = model.critic, model.latent_generator
    separate = config.prior_update == "separate"
    weight = config.prior_weight_batched if model.batch_names else config.prior_weight
    wgan = (0.0, 0.9)
    ae = Adam(
        [*model.encoder.parameters(), *model.decoder.parameters()],
        config.learning_rate,
        (0.9, 0.999),
        config.weight_decay,
    )
    enc = Adam(model.encoder.parameters(), config.learning_rate * weight, wgan)
    gen = Adam(generator.parameters() if generator else [], config.adversarial_learning_rate, wgan)
    crit = Adam(critic.parameters() if critic else [], config.adversarial_learning_rate, wgan)
    for i, batch in enumerate(batches, start=1):
        due = i % config.n_critic == 0
        x = dense_input(model, batch.thinned(rng) if config.thinning else batch)
        rows = one_hot(model, batch)
        z, loss = autoencoder_loss(model, x, batch, config, rng)
        if critic is None:
            ae.descend(loss)
            continue
        if due and not separate:
            loss = loss + weight * encoder_loss(model, z, rows)
        ae.descend(loss)
        z = z.detach()
        if due and generator is not None:
            gen.descend(generator_loss(model, draw(model, len(z), rng), rows))
        if separate:
            if due:
                enc.descend(encoder_loss(model, model.encoder(x).z, rows))
            z = model.encoder(x).z.detach()
        crit.descend(critic_loss(model, z, rows, config, rng))
    return model.eval()


def one_hot(model: SCRAE, batch: Minibatch) -> Tensor:
    """A column for each experimental batch; no column without them."""
    names = len(model.batch_names)
    if not names:
        return torch.zeros(len(batch.total), 0)
    return functional.one_hot(batch.batch_code, names).to(torch.get_default_dtype())


def judge(model: SCRAE, z: Tensor, rows: Tensor) -> Tensor:
    return model.critic(torch.cat([z, rows], dim=1))


def draw(model: SCRAE, n: int, rng: Generator) -> Tensor:
    noise = torch.empty(n, model.config.n_noise or model.config.n_latent).normal_(generator=rng)
    return noise if model.config.prior == "normal" else model.latent_generator(noise)


def autoencoder_loss(
    model: SCRAE, x: Tensor, batch: Minibatch, config: TrainConfig, rng: Generator
) -> tuple[Tensor, Tensor]:
    """Codes, and eq. 11 (with its minus)."""
    counts = batch.dense(batch.nonzeros.value)
    z, mean, log_var = model.encoder(x)
    kl = torch.zeros(())
    if model.config.library == "observed":
        log_library = counts.sum(dim=1).clamp(min=1).log()
    else:
        centre, spread = model.library_mean, model.library_var.sqrt()
        if model.batch_names:  # those of each cell's batch
            centre, spread = centre[batch.batch_code], spread[batch.batch_code]
        mean, sd = mean + centre, (log_var / 2).exp()
        log_library = mean + sd * torch.empty(len(mean)).normal_(generator=rng)
        ours = torch.distributions.Normal(mean, sd)
        prior = torch.distributions.Normal(centre, spread)
        kl = torch.distributions.kl_divergence(ours, prior).mean()
    h = model.decoder.body(torch.cat([z, one_hot(model, batch)], dim=1))
    mu = log_library.to(h.dtype).exp()[:, None] * torch.softmax(model.decoder.share(h), dim=1)
    theta = model.decoder.log_theta.exp()
    if model.config.likelihood == "nb":
        log_prob = nb_log_prob(counts, mu, theta)
    else:
        log_prob = zinb_log_prob(counts, mu, theta, model.decoder.zero(h))
    return z, -log_prob.sum(dim=1).mean() + config.library_kl_weight * kl


def encoder_loss(model: SCRAE, z: Tensor, rows: Tensor) -> Tensor:
    value = judge(model, z, rows)
    return functional.softplus(value).mean() if model.config.divergence == "jensen-shannon" else value.mean()


def generator_loss(model: SCRAE, z_prior: Tensor, rows: Tensor) -> Tensor:
    value = judge(model, z_prior, rows)
    return {
        "wasserstein": -value,
        "jensen-shannon": functional.softplus(-value),
        "kullback-leibler": -(value - 1).exp(),
    }[model.config.divergence].mean()


def critic_loss(model: SCRAE, z: Tensor, rows: Tensor, config: TrainConfig, rng: Generator) -> Tensor:
    """Eq. 12, its gradient penalty by double backward."""
    z_prior = draw(model, len(z), rng).detach()
    mix = torch.empty(len(z), 1).uniform_(generator=rng)
    real, fake = judge(model, z, rows), judge(model, z_prior, rows)
    loss = {
        "wasserstein": fake - real,
        "jensen-shannon": functional.softplus(-real) + functional.softplus(fake),
        "kullback-leibler": (fake - 1).exp() - real,
    }[model.config.divergence].mean()
    between = (mix * z + (1 - mix) * z_prior).requires_grad_()
    (slope,) = torch.autograd.grad(judge(model, between, rows).sum(), between, create_graph=True)
    return loss + config.gradient_penalty_weight * ((slope.norm(dim=1) - 1) ** 2).mean()
