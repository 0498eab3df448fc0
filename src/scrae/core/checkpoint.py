"""The state of training between two epochs, and the file from which an interrupted training is resumed.

The file is a single safetensors file: tensors, and facts as JSON in its header.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Generator, Tensor
from torch.optim import Optimizer

from ..config import TrainConfig, to_dict
from ..errors import ScraeError, show
from ..files import atomic_path
from .data import CountData
from .model import SCRAE
from .step import Optimizers

__all__ = ["TRAINING_FILE", "Checkpoint", "CheckpointFile", "Epoch", "Snapshot", "TrainingState"]

TRAINING_FILE = "training.safetensors"
"""Usual name, in the model folder; the finished model replaces the folder and so removes the file."""

_FORMAT = 3
_HEADER = "training"


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
    """The state at the end of an epoch: tensors, and facts that JSON can hold."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


class TrainingState:
    """Everything that training changes.

    Parameters
    ----------
    model : SCRAE
        The model, changed in place.
    config : TrainConfig
        Describes the optimizers.
    seed : int
        Seed of the two generators.
    offset : int
        Added to the seed, so that several processes draw differently.

    Attributes
    ----------
    order : torch.Generator
        Draws the split and the minibatches, on the CPU.
    noise : torch.Generator
        Draws everything else, on the model's device.
    epoch, iteration : int
        Number of finished epochs and steps.
    rows : list of Epoch
        History.
    best, best_epoch, best_weights : float, int, dict
        The lowest held-out loss, its epoch (0: none) and weights; only with early stopping.
    """

    def __init__(self, model: SCRAE, config: TrainConfig, seed: int, *, offset: int = 0) -> None:
        self.model, self.seed = model, seed
        self.order = Generator().manual_seed(seed + offset)
        self.noise = Generator(model.library_mean.device).manual_seed(seed + offset + 1)
        self.optimizers = Optimizers.of(model, config)
        self.epoch = self.iteration = 0
        self.rows: list[Epoch] = []
        self.best, self.best_epoch = math.inf, 0
        self.best_weights: dict[str, Tensor] = {}

    def keep_if_best(self, loss: float) -> None:
        """Remember the weights if their held-out loss is the lowest so far."""
        if loss < self.best:
            self.best, self.best_epoch = loss, self.epoch
            self.best_weights = {name: value.clone() for name, value in self.model.state_dict().items()}

    def history(self) -> dict[str, np.ndarray]:
        """Return one array per column of :class:`Epoch`, one value per epoch."""
        return {name: np.asarray([getattr(row, name) for row in self.rows]) for name in Epoch._fields}

    def snapshot(self) -> Snapshot:
        """Return a copy that later steps do not change."""
        tensors = {f"model.{name}": value.clone() for name, value in self.model.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best_weights.items()}
        for prefix, optimizer, parameter in self._parameters():
            state = optimizer.state.get(parameter, {})
            tensors |= {f"{prefix}.{key}": value.clone() for key, value in state.items()}
        tensors |= {"random.order": self.order.get_state(), "random.noise": self.noise.get_state()}
        names = ("epoch", "iteration", "best", "best_epoch")
        return Snapshot(tensors, {name: getattr(self, name) for name in names} | {"rows": list(self.rows)})

    def restore(self, snapshot: Snapshot) -> None:
        """Restore a snapshot in place."""
        tensors, facts = snapshot
        self.model.load_state_dict(_below(tensors, "model"))
        device = self.model.library_mean.device
        self.best_weights = {name: value.to(device) for name, value in _below(tensors, "best").items()}
        for prefix, optimizer, parameter in self._parameters():
            saved, state = _below(tensors, prefix), optimizer.state[parameter]
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
        self.epoch, self.iteration = facts["epoch"], facts["iteration"]
        self.rows = [Epoch(*row) for row in facts["rows"]]
        self.best, self.best_epoch = facts["best"], facts["best_epoch"]

    def shapes(self) -> dict[str, tuple[str, tuple[int, ...] | None]]:
        """Return type and shape of every tensor that a snapshot can hold; None: shape unknown."""
        found: dict[str, tuple[str, tuple[int, ...] | None]] = {}
        for name, value in self.model.state_dict().items():
            found |= {f"{group}.{name}": ("F32", tuple(value.shape)) for group in ("model", "best")}
        for prefix, _, parameter in self._parameters():
            form = ("F32", tuple(parameter.shape))
            found |= {f"{prefix}.step": ("F32", ()), f"{prefix}.exp_avg": form, f"{prefix}.exp_avg_sq": form}
        return found | {"random.order": ("U8", None), "random.noise": ("U8", None)}

    def is_finite(self) -> bool:
        """Whether no weight is NaN or infinite."""
        sums = [parameter.detach().sum() for parameter in self.model.parameters()]
        return bool(torch.stack(sums).isfinite().all())

    def _parameters(self) -> Iterator[tuple[str, Optimizer, Tensor]]:
        for which, optimizer in zip(Optimizers._fields, self.optimizers, strict=True):
            if optimizer is not None:
                parameters = [p for group in optimizer.param_groups for p in group["params"]]
                for i, parameter in enumerate(parameters):
                    yield f"optimizer.{which}.{i}", optimizer, parameter


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Where training is saved while it runs, so that it can be resumed.

    Parameters
    ----------
    path : pathlib.Path
        The file; replaced atomically, and not removed at the end.
    resume : bool
        Resume from the file if it exists. Otherwise an existing file is refused, not overwritten.
    seconds : float
        Least time between two saves; a killed process loses what follows the last one. On an interrupt
        (``KeyboardInterrupt``, ``SystemExit``) the last complete epoch is always saved.
    """

    path: Path
    resume: bool = False
    seconds: float = 5.0

    def refuse_unfinished(self) -> None:
        """Raise ScraeError if the file exists and is not to be resumed."""
        if not self.resume and self.path.exists():
            raise ScraeError(
                f"{self.path}: found an unfinished training; pass --resume to continue it, or delete this file to "
                "start over"
            )


class CheckpointFile:
    """Reads the snapshot to resume from, if there is one, and writes the snapshots of a training.

    Parameters
    ----------
    checkpoint : Checkpoint
        Path and mode.
    state : TrainingState
        Restored from the file if it exists.
    data, config, processes : CountData or None, TrainConfig, int
        Compared with those that the training began with; data only if not None.

    Raises
    ------
    ScraeError
        If the file is damaged or belongs to other data or settings, or exists and is not to be resumed.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        state: TrainingState,
        data: CountData | None,
        config: TrainConfig,
        *,
        processes: int = 1,
    ) -> None:
        self.path, self._seconds = checkpoint.path, checkpoint.seconds
        settings = {f"ModelConfig.{name}": value for name, value in to_dict(state.model.config).items()}
        settings |= {f"TrainConfig.{name}": value for name, value in to_dict(config).items()}
        settings |= {"seed": state.seed, "processes": processes}
        settings["device"] = state.model.library_mean.device.type
        self._about = {"format": _FORMAT, "settings": settings, "data": data and _fingerprint(data)}
        self.last_written, self._written_at = 0, time.monotonic()
        checkpoint.refuse_unfinished()
        if self.path.exists():
            self._resume(state)

    def _resume(self, state: TrainingState) -> None:
        try:
            state.restore(_read(self.path, self._about, state))
        except ScraeError:
            raise
        except (
            SafetensorError,
            OSError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            RuntimeError,
        ) as error:
            reason = " ".join(str(error).split())[:150]
            raise ScraeError(
                f"{self.path}: expected the state of a training, found a damaged or foreign file "
                f"({type(error).__name__}: {reason}); delete it to start over"
            ) from error
        self.last_written = state.epoch

    def due(self) -> bool:
        """Whether the time between two saves is over."""
        return time.monotonic() - self._written_at >= self._seconds

    def write(self, snapshot: Snapshot) -> None:
        """Write a snapshot, unless the file already holds this epoch.

        Raises
        ------
        ScraeError
            If the file cannot be written; the previous one is kept.
        """
        self._written_at = time.monotonic()
        if snapshot.facts["epoch"] == self.last_written:
            return
        header = {_HEADER: json.dumps(self._about | snapshot.facts)}
        content = save({name: value.cpu() for name, value in snapshot.tensors.items()}, header)
        with atomic_path(self.path) as draft:
            draft.write_bytes(content)
        self.last_written, self._written_at = snapshot.facts["epoch"], time.monotonic()


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


def _fingerprint(data: CountData) -> str:
    """Return the SHA-256 of genes and counts, and of the batches if there are any."""
    digest = hashlib.sha256(json.dumps([len(data), *data.genes]).encode())
    parts = [data.indptr, data.indices, data.values]
    if data.batch_codes is not None:
        digest.update(json.dumps(data.batch_names).encode())
        parts.append(data.batch_codes)
    for part in parts:
        digest.update(str(part.dtype).encode())
        digest.update(part.cpu().numpy().tobytes())
    return digest.hexdigest()


def _read(path: Path, about: dict[str, Any], state: TrainingState) -> Snapshot:
    """Read a snapshot; ValueError, LookupError and others if the file is not a complete one."""
    known = state.shapes()
    with safe_open(path, framework="pt") as file:
        facts = json.loads((file.metadata() or {})[_HEADER])
        _check_same(path, facts, about)
        names = set(file.keys())
        for name in sorted(names):
            part, (dtype, shape) = file.get_slice(name), known[name]
            if part.get_dtype() != dtype or shape not in (None, tuple(part.get_shape())):
                raise ValueError(f"{name} is {part.get_dtype()} {part.get_shape()}")
        tensors = {name: file.get_tensor(name).clone() for name in names}  # else a view of the file
    groups = ("model.", "random.", "best.") if facts["best_epoch"] else ("model.", "random.")
    if missing := sorted(name for name in known.keys() - names if name.startswith(groups)):
        raise ValueError(f"no {missing[0]}")
    if broken := [name for name, value in tensors.items() if not value.isfinite().all()]:
        raise ValueError(f"NaN or infinity in {broken[0]}")
    numbers = [facts["best"], *(value for row in facts["rows"] for value in row)]
    if not (
        all(type(facts[name]) is int for name in ("epoch", "iteration", "best_epoch"))
        and 0 <= facts["best_epoch"] <= facts["epoch"] <= facts["iteration"]
        and [len(row) for row in facts["rows"]] == [len(Epoch._fields)] * facts["epoch"]
        and all(type(value) in (int, float) for value in numbers)
    ):
        raise ValueError("inconsistent header")
    return Snapshot(tensors, facts)


def _check_same(path: Path, facts: dict[str, Any], about: dict[str, Any]) -> None:
    """Raise ScraeError if the training began with other data or settings."""
    advice = f"pass what it began with, or delete {path} to start over"
    if facts["format"] != about["format"]:
        raise ScraeError(f"{path}: expected a training of this version of scrae, found another; {advice}")
    before, now = facts["settings"], about["settings"]
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            found = f"{name.rpartition('.')[2]}={show(before.get(name))}, found {show(now.get(name))}"
            raise ScraeError(f"resume: the training began with {found}; {advice}")
    if about["data"] not in (None, facts["data"]):
        raise ScraeError(f"resume: the training began with other counts, genes or batches; {advice}")
