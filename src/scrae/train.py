"""The loop over the steps, and early stopping on held-out likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor, nn

from .config import Schedule, TrainConfig
from .counts import CountData
from .errors import ScraeError
from .model import SCRAE
from .step import Optimizers, StepLosses, training_step

__all__ = ["Epoch", "FitResult", "fit"]


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
