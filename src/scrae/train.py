"""One training step, the loop around it, and early stopping on held-out likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

from .config import Schedule, TrainConfig
from .counts import Batch, CountData
from .errors import ScraeError
from .losses import critic_loss, encoder_loss, generator_loss, gradient_penalty
from .model import SCRAE

__all__ = ["Epoch", "FitResult", "Optimizers", "StepLosses", "fit", "training_step"]

_WGAN_BETAS = (0.0, 0.9)


class Optimizers(NamedTuple):
    """The optimiser of each network; None where there is nothing to train."""

    autoencoder: Optimizer
    encoder: Optimizer | None
    generator: Optimizer | None
    critic: Optimizer | None

    @classmethod
    def of(cls, model: SCRAE, config: TrainConfig) -> Optimizers:
        """Return the optimisers that ``config`` asks for."""
        rate, slow = config.learning_rate, config.adversarial_learning_rate
        separate = model.critic is not None and config.prior_update == "separate"
        autoencoder = [*model.encoder.parameters(), *model.decoder.parameters()]

        def adversarial(network: nn.Module | None, rate: float) -> Optimizer | None:
            return (
                None if network is None else Adam(network.parameters(), rate, betas=_WGAN_BETAS, fused=True)
            )

        return cls(
            AdamW(autoencoder, rate, weight_decay=config.weight_decay, fused=True),
            adversarial(model.encoder if separate else None, rate * config.prior_weight),
            adversarial(model.latent_generator, slow),
            adversarial(model.critic, slow),
        )


class StepLosses(NamedTuple):
    """Scalars of one step, detached; NaN where the term was not used in it."""

    reconstruction: Tensor
    library: Tensor
    critic: Tensor
    gradient_penalty: Tensor
    generator: Tensor
    encoder: Tensor


class Epoch(NamedTuple):
    """One row of the history; losses are means over the epoch's steps."""

    epoch: int
    reconstruction: float
    library: float
    critic: float
    gradient_penalty: float
    generator: float
    encoder: float
    validation: float
    learning_rate: float


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What happened in training.

    Attributes
    ----------
    history : one array a column of :class:`Epoch`, one value an epoch; NaN where a term was not used.
    epochs : how many were run.
    best_epoch : the epoch whose weights the model has now.
    stopped_because : in plain words.
    """

    history: dict[str, np.ndarray]
    epochs: int
    best_epoch: int
    stopped_because: str


def training_step(
    model: SCRAE,
    batch: Batch,
    optimizers: Optimizers,
    config: TrainConfig,
    generator: Generator,
    *,
    update_prior: bool,
) -> StepLosses:
    """Take one iteration: L_AE, L_Gen, L_Enc, L_Critic, in the paper's order; changes ``model`` and ``optimizers``.

    Parameters
    ----------
    generator : draws library sizes, noise, mixing weights and dropout, on the model's device.
    update_prior : whether generator and encoder learn from the critic in this iteration (every ``n_critic``-th).
    """
    divergence = model.config.divergence
    seen = batch.thinned(generator) if config.thinning else batch
    losses = model.autoencoder_losses(batch, generator, seen=seen)
    reconstruction, library = losses.reconstruction.mean(), losses.library.mean()
    total = reconstruction + config.library_kl_weight * library
    unused = torch.full_like(reconstruction, math.nan).detach()
    if model.critic is None:
        _descend(optimizers.autoencoder, total)
        return StepLosses(reconstruction.detach(), library.detach(), unused, unused, unused, unused)

    adversarial = generated = unused
    joint = update_prior and config.prior_update == "joint"
    if joint:  # one encoder pass: λ·L_Enc joins L_AE
        adversarial = encoder_loss(divergence, model.critic(losses.z))
        total = total + config.prior_weight * adversarial
    _descend(optimizers.autoencoder, total)
    z = losses.z.detach()
    if update_prior and optimizers.generator is not None:
        generated = generator_loss(divergence, model.critic(model.sample_prior(len(z), generator)))
        _descend(optimizers.generator, generated)
    if config.prior_update == "separate":  # fresh passes, after the autoencoder's step
        if update_prior and optimizers.encoder is not None:
            adversarial = encoder_loss(
                divergence, model.critic(model.encoder(model.inputs(seen), generator).z)
            )
            _descend(optimizers.encoder, adversarial)
        with torch.no_grad():
            z = model.encoder(model.inputs(seen), generator).z
    critic, penalty = _critic_step(model, z, optimizers, config, generator)
    parts = (reconstruction, library, critic, penalty, generated, adversarial)
    return StepLosses(*(part.detach() for part in parts))


def _critic_step(
    model: SCRAE, z: Tensor, optimizers: Optimizers, config: TrainConfig, generator: Generator
) -> tuple[Tensor, Tensor]:
    assert model.critic is not None
    assert optimizers.critic is not None
    with torch.no_grad():
        z_prior = model.sample_prior(len(z), generator)
    mix = torch.empty(len(z), 1, device=z.device).uniform_(generator=generator)
    real, fake = model.critic(torch.cat([z, z_prior])).chunk(2)
    loss = critic_loss(model.config.divergence, real, fake)
    penalty = gradient_penalty(model.critic, z, z_prior, mix)
    _descend(optimizers.critic, loss + config.gradient_penalty_weight * penalty)
    return loss, penalty


def _descend(optimizer: Optimizer, loss: Tensor) -> None:
    """Step down the gradient of ``loss`` in the optimiser's own parameters; no others receive a gradient."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    optimizer.zero_grad(set_to_none=True)
    loss.backward(inputs=parameters)  # type: ignore[no-untyped-call]
    optimizer.step()


def fit(
    model: SCRAE,
    data: CountData,
    config: TrainConfig,
    *,
    on_epoch: Callable[[Epoch, int], None] | None = None,
) -> FitResult:
    """Train ``model`` on ``data``, in place; with early stopping it ends with the best weights.

    Parameters
    ----------
    on_epoch : called after every epoch, with it and the most epochs there can be, for progress.

    Raises
    ------
    ScraeError : genes that are not the model's, too few cells, or a loss that is not finite.
    """
    if data.genes != model.genes:
        raise ScraeError(
            f"fit: expected the model's {len(model.genes)} genes in its order, found {data.n_genes} others"
        )
    order = Generator().manual_seed(config.seed)
    noise = Generator(data.device).manual_seed(config.seed + 1)
    train, held_out = _split(len(data), config.validation_fraction, order)
    if config.patience is not None and not len(held_out):
        raise ScraeError(
            f"fit: expected at least 2 cells for early stopping, found {len(data)}; set patience=None"
        )
    optimizers = Optimizers.of(model, config)
    rates = [(group, group["lr"]) for o in optimizers if o is not None for group in o.param_groups]
    stopping, epochs = _EarlyStopping(config.patience), config.epochs_for(len(train))
    rows: list[Epoch] = []
    iteration = 0
    model.train()
    for epoch in range(1, epochs + 1):
        factor = _rate_factor(epoch, epochs, config.schedule)
        for group, rate in rates:
            group["lr"] = rate * factor
        steps = []
        for batch in data.batches(config.batch_size, rows=train, generator=order):
            iteration += 1
            due = iteration % config.n_critic == 0
            steps.append(training_step(model, batch, optimizers, config, noise, update_prior=due))
        validation = model.held_out_loss(data, held_out) if len(held_out) else math.nan
        means = _means(steps)
        rows.append(Epoch(epoch, **means, validation=validation, learning_rate=config.learning_rate * factor))
        if on_epoch is not None:
            on_epoch(rows[-1], epochs)
        _check_finite(rows[-1], critic=model.critic is not None, validation=len(held_out) > 0)
        if stopping.update(epoch, validation, model):
            break
    model.eval()
    best = stopping.restore(model) or epoch
    return FitResult(
        history=_history(rows), epochs=epoch, best_epoch=best, stopped_because=stopping.reason(epoch)
    )


class _EarlyStopping:
    """Keeps the weights of the epoch with the lowest held-out loss."""

    def __init__(self, patience: int | None) -> None:
        self.patience = patience
        self.best, self.best_epoch = math.inf, 0
        self.weights: dict[str, Tensor] = {}
        self.stopped = False

    def update(self, epoch: int, loss: float, model: nn.Module) -> bool:
        if self.patience is None:
            return False
        if loss < self.best:
            self.best, self.best_epoch = loss, epoch
            self.weights = {name: value.clone() for name, value in model.state_dict().items()}
        self.stopped = epoch - self.best_epoch >= self.patience
        return self.stopped

    def restore(self, model: nn.Module) -> int:
        if self.weights:
            model.load_state_dict(self.weights)
        return self.best_epoch

    def reason(self, epoch: int) -> str:
        if self.stopped:
            return (
                f"held-out likelihood did not improve for {self.patience} epochs; "
                f"weights of epoch {self.best_epoch} were kept"
            )
        kept = (
            f"; weights of epoch {self.best_epoch} were kept"
            if self.weights and self.best_epoch != epoch
            else ""
        )
        return f"all {epoch} epochs were run{kept}"


def _split(n_cells: int, fraction: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return the training and the held-out cells."""
    n_held_out = min(math.ceil(n_cells * fraction), n_cells - 1)
    order = torch.randperm(n_cells, generator=generator)
    return order[n_held_out:], order[:n_held_out]


def _rate_factor(epoch: int, epochs: int, schedule: Schedule) -> float:
    if schedule == "constant":
        return 1.0
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / epochs))


def _means(steps: Iterable[StepLosses]) -> dict[str, float]:
    """Average each term over the steps, with one transfer from the device.

    Generator and encoder count where they were used, every ``n_critic``-th step. A NaN elsewhere must show.
    """
    now_and_then = ("generator", "encoder")
    columns = zip(StepLosses._fields, map(torch.stack, zip(*steps, strict=True)), strict=True)
    means = [column.nanmean() if name in now_and_then else column.mean() for name, column in columns]
    return dict(zip(StepLosses._fields, torch.stack(means).tolist(), strict=True))


def _check_finite(row: Epoch, *, critic: bool, validation: bool) -> None:
    used = {"reconstruction": True, "library": True, "critic": critic, "validation": validation}
    for name in used:
        if used[name] and not math.isfinite(getattr(row, name)):
            raise ScraeError(
                f"fit: expected finite losses, found {name}={getattr(row, name)} in epoch {row.epoch}; "
                "lower the learning rates or look for cells with extreme counts"
            )


def _history(rows: list[Epoch]) -> dict[str, np.ndarray]:
    return {name: np.asarray([getattr(row, name) for row in rows]) for name in Epoch._fields}
