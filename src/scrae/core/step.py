"""One training step: the four losses, each minimized by its own optimizer, in the paper's order."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from ..config import Schedule, TrainConfig
from .data import Cells
from .losses import critic_loss, encoder_loss, generator_loss, gradient_penalty
from .model import SCRAE
from .optimizers import Adam, AdamW

__all__ = ["Optimizers", "StepLosses", "descend", "rate_factor", "training_step"]

_WGAN_BETAS = (0.0, 0.9)


class Optimizers(NamedTuple):
    """The optimizer of each network; None if there is nothing to train."""

    autoencoder: Optimizer
    encoder: Optimizer | None
    generator: Optimizer | None
    critic: Optimizer | None

    @classmethod
    def of(cls, model: SCRAE, config: TrainConfig) -> Optimizers:
        """Return the optimizers that ``config`` describes."""
        rate, slow = config.learning_rate, config.adversarial_learning_rate
        separate = model.critic is not None and config.prior_update == "separate"
        autoencoder = [*model.encoder.parameters(), *model.decoder.parameters()]
        capturable = model.library_mean.is_cuda  # in CUDA graphs

        def adversarial(network: nn.Module | None, rate: float) -> Optimizer | None:
            if network is None:
                return None
            return Adam(network.parameters(), rate, betas=_WGAN_BETAS, fused=True, capturable=capturable)

        return cls(
            AdamW(autoencoder, rate, weight_decay=config.weight_decay, fused=True, capturable=capturable),
            adversarial(model.encoder if separate else None, rate * _prior_weight(model, config)),
            adversarial(model.latent_generator, slow),
            adversarial(model.critic, slow),
        )


class StepLosses(NamedTuple):
    """Losses of one step, detached scalars; NaN for terms not used in it."""

    reconstruction: Tensor
    library: Tensor
    critic: Tensor
    gradient_penalty: Tensor
    generator: Tensor
    encoder: Tensor


def training_step(
    model: SCRAE,
    cells: Cells,
    optimizers: Optimizers,
    config: TrainConfig,
    generator: Generator,
    *,
    update_prior: bool,
    targets: Cells | None = None,
) -> StepLosses:
    """Take one iteration: L_AE, L_Gen, L_Enc, L_Critic, in the paper's order; changes ``model`` and ``optimizers``.

    Parameters
    ----------
    model : SCRAE
        In training mode.
    cells : Cells
        A minibatch on the model's device.
    optimizers : Optimizers
        Those of ``model``.
    config : TrainConfig
        Weights of the losses and mode of the prior's update.
    generator : torch.Generator
        Draws thinned counts, library sizes, noise, mixing weights and dropout, on the model's device.
    update_prior : bool
        Whether generator and encoder learn from the critic in this iteration (every ``n_critic``-th).
    targets : Cells or None
        As many cells, whose counts the decoder explains in their own batch; None: ``cells``.
    """
    seen = cells.thinned(generator) if config.thinning else cells
    divergence, one_hot = model.config.divergence, model.one_hot(cells)
    losses = model.autoencoder_losses(cells if targets is None else targets, generator, seen=seen)
    reconstruction, library = losses.reconstruction.mean(), losses.library.mean()
    total = reconstruction + config.library_kl_weight * library
    unused = torch.full_like(reconstruction, math.nan).detach()
    if model.critic is None:
        descend(optimizers.autoencoder, total)
        return StepLosses(reconstruction.detach(), library.detach(), unused, unused, unused, unused)

    adversarial = generated = unused
    if update_prior and config.prior_update == "joint":  # one encoder pass: λ·L_Enc joins L_AE
        adversarial = encoder_loss(divergence, model.critic(losses.z, one_hot))
        total = total + _prior_weight(model, config) * adversarial
    descend(optimizers.autoencoder, total)
    z = losses.z.detach()
    if update_prior and optimizers.generator is not None:
        drawn = model.sample_prior(len(z), generator)
        generated = generator_loss(divergence, model.critic(drawn, one_hot))
        descend(optimizers.generator, generated)
    if config.prior_update == "separate":  # new passes, after the autoencoder's step
        if update_prior and optimizers.encoder is not None:
            z = model.encoder(model.encoder_input(seen), generator).z
            adversarial = encoder_loss(divergence, model.critic(z, one_hot))
            descend(optimizers.encoder, adversarial)
        with torch.no_grad():
            z = model.encoder(model.encoder_input(seen), generator).z
    critic, penalty = _critic_step(model, z, one_hot, optimizers, config, generator)
    parts = (reconstruction, library, critic, penalty, generated, adversarial)
    return StepLosses(*(part.detach() for part in parts))


def _prior_weight(model: SCRAE, config: TrainConfig) -> float:
    """Return λ."""
    return config.prior_weight_batched if model.batch_names else config.prior_weight


def _critic_step(
    model: SCRAE,
    z: Tensor,
    one_hot: Tensor | None,
    optimizers: Optimizers,
    config: TrainConfig,
    generator: Generator,
) -> tuple[Tensor, Tensor]:
    assert model.critic is not None
    assert optimizers.critic is not None
    with torch.no_grad():
        z_prior = model.sample_prior(len(z), generator)
    mix = torch.empty(len(z), 1, device=z.device).uniform_(generator=generator)
    twice = None if one_hot is None else one_hot.repeat(2, 1)
    real, fake = model.critic(torch.cat([z, z_prior]), twice).chunk(2)
    loss = critic_loss(model.config.divergence, real, fake)
    penalty = gradient_penalty(model.critic, z, z_prior, mix, one_hot)
    descend(optimizers.critic, loss + config.gradient_penalty_weight * penalty)
    return loss, penalty


def descend(optimizer: Optimizer, loss: Tensor) -> None:
    """Step down the gradient of ``loss`` in the optimizer's own parameters; no others receive a gradient."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()


def rate_factor(epoch: int, epochs: int, schedule: Schedule) -> float:
    """Return the factor of the learning rates in an epoch, counted from 1."""
    if schedule == "constant":
        return 1.0
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / epochs))
