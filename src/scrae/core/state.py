"""Everything that training remembers between two epochs: taken as a snapshot, and put back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor
from torch.optim import Optimizer

from ..config import TrainConfig
from .model import SCRAE
from .step import Optimizers

__all__ = ["Epoch", "Snapshot", "TrainingState"]


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


class Snapshot(NamedTuple):
    """The state at the end of an epoch: tensors by name, and facts that JSON can hold."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


class TrainingState:
    """What training changes: weights, optimisers, generators, the place in the schedule, history, best weights.

    Attributes
    ----------
    order : draws the split and the minibatches, on the CPU.
    noise : draws everything else, on the model's device.
    epoch, iteration : how many are done.
    rate : factor of all learning rates; halved after each fault.
    faults : what went wrong and was mended, a sentence each.
    rows : the history.
    best, best_epoch, best_weights : the lowest held-out loss, its epoch and weights; with early stopping only.
    """

    def __init__(self, model: SCRAE, config: TrainConfig, seed: int = 0) -> None:
        self.model, self.seed = model, seed
        self.order = Generator().manual_seed(seed)
        self.noise = Generator(model.library_mean.device).manual_seed(seed + 1)
        self.optimizers = Optimizers.of(model, config)
        self.epoch = self.iteration = 0
        self.rate = 1.0
        self.faults: list[str] = []
        self.rows: list[Epoch] = []
        self.best, self.best_epoch = math.inf, 0
        self.best_weights: dict[str, Tensor] = {}

    def keep_if_best(self, loss: float) -> None:
        """Remember the weights if their held-out loss is the lowest so far."""
        if loss < self.best:
            self.best, self.best_epoch = loss, self.epoch
            self.best_weights = {name: value.clone() for name, value in self.model.state_dict().items()}

    def history(self) -> dict[str, np.ndarray]:
        """Return one array a column of :class:`Epoch`, one value an epoch."""
        return {name: np.asarray([getattr(row, name) for row in self.rows]) for name in Epoch._fields}

    def snapshot(self) -> Snapshot:
        """Return a copy that later steps do not change."""
        tensors = {f"model.{name}": value.clone() for name, value in self.model.state_dict().items()}
        tensors |= {
            f"best.{name}": value for name, value in self.best_weights.items()
        }  # never changed in place
        for prefix, optimizer, parameter in self._parameters():
            state = optimizer.state.get(parameter, {})
            tensors |= {f"{prefix}.{key}": value.clone() for key, value in state.items()}
        tensors |= {"random.order": self.order.get_state(), "random.noise": self.noise.get_state()}
        facts = {
            "epoch": self.epoch,
            "iteration": self.iteration,
            "rate": self.rate,
            "faults": list(self.faults),
            "rows": list(self.rows),
            "best": self.best,
            "best_epoch": self.best_epoch,
        }
        return Snapshot(tensors, facts)

    def restore(self, snapshot: Snapshot) -> None:
        """Put a snapshot back, into the tensors that are there where there are any."""
        tensors, facts = snapshot
        self.model.load_state_dict(_below(tensors, "model"))
        device = self.model.library_mean.device
        self.best_weights = {name: value.to(device) for name, value in _below(tensors, "best").items()}
        for prefix, optimizer, parameter in self._parameters():
            saved = _below(tensors, prefix)
            state = optimizer.state[parameter]
            if not saved:  # before the first step all are zero
                for value in state.values():
                    value.zero_()
            for key, value in saved.items():
                if key in state:
                    state[key].copy_(value)
                else:
                    state[key] = value.to(parameter.device, copy=True)
        self.order.set_state(tensors["random.order"])
        self.noise.set_state(tensors["random.noise"])
        self.epoch, self.iteration, self.rate = facts["epoch"], facts["iteration"], facts["rate"]
        self.faults, self.rows = list(facts["faults"]), [Epoch(*row) for row in facts["rows"]]
        self.best, self.best_epoch = facts["best"], facts["best_epoch"]

    def shapes(self) -> dict[str, tuple[str, tuple[int, ...] | None]]:
        """Return type and shape of every tensor that a snapshot of this training can hold; None = not known before."""
        weights = {name: ("F32", tuple(value.shape)) for name, value in self.model.state_dict().items()}
        found: dict[str, tuple[str, tuple[int, ...] | None]] = {}
        for group in ("model", "best"):
            found |= {f"{group}.{name}": form for name, form in weights.items()}
        for prefix, _, parameter in self._parameters():
            form = ("F32", tuple(parameter.shape))
            found |= {f"{prefix}.step": ("F32", ()), f"{prefix}.exp_avg": form, f"{prefix}.exp_avg_sq": form}
        return found | {"random.order": ("U8", None), "random.noise": ("U8", None)}

    def is_finite(self) -> bool:
        """Whether no weight is NaN or infinite; one transfer from the device."""
        sums = [
            parameter.detach().sum() for parameter in self.model.parameters()
        ]  # NaN and infinity stay in a sum
        return bool(torch.stack(sums).isfinite().all())

    def _parameters(self) -> Iterator[tuple[str, Optimizer, Tensor]]:
        for which, optimizer in zip(Optimizers._fields, self.optimizers, strict=True):
            if optimizer is not None:
                parameters = [p for group in optimizer.param_groups for p in group["params"]]
                for i, parameter in enumerate(parameters):
                    yield f"optimizer.{which}.{i}", optimizer, parameter


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
