"""Training: the loop over the steps, early stopping on held-out likelihood, and the end at a non-finite loss."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Generator, Tensor

from ..config import Schedule, TrainConfig
from ..errors import ScraeError, ScraeWarning, show
from .checkpoint import Checkpoint, CheckpointFile, Epoch, Snapshot, TrainingState
from .data import CountData
from .model import SCRAE
from .step import StepLosses, training_step

if TYPE_CHECKING:
    from .distributed import Processes

__all__ = ["FitResult", "fit"]

_NAN = {"generator", "encoder"}  # terms that not every step computes
_SEEDS_APART = 1_000_003
"""Between the seeds of two processes, so that they draw different noise."""


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """Result of a training.

    Attributes
    ----------
    history : dict of str to numpy.ndarray
        One array per column of :class:`~scrae.core.checkpoint.Epoch`, one value per epoch; NaN for unused terms.
    epochs : int
        Number of epochs run.
    best_epoch : int
        The epoch whose weights the model has now.
    stopped_because : str
        Why training ended.
    fault : str or None
        The non-finite loss or weight that ended training; None if all were finite.
    """

    history: dict[str, np.ndarray]
    epochs: int
    best_epoch: int
    stopped_because: str
    fault: str | None = None


def fit(
    model: SCRAE,
    data: CountData,
    config: TrainConfig,
    *,
    seed: int = 0,
    checkpoint: Checkpoint | None = None,
    on_epoch: Callable[[Epoch, int], None] | None = None,
    processes: Processes | None = None,
) -> FitResult:
    """Train ``model`` on ``data``, in place; with early stopping it ends with the best weights.

    A non-finite loss or weight ends training with the last good weights, and ``fault`` names it.

    Parameters
    ----------
    model : SCRAE
        Made for ``data``.
    data : CountData
        The training cells, of which a random part is held out for early stopping.
    config : TrainConfig
        Optimization settings.
    seed : int
        Seed of the split into training and held-out cells, the minibatches and the noise.
    checkpoint : Checkpoint or None
        Where training is saved while it runs and resumed from. On the CPU an interrupted and resumed training
        ends with the same bits as an uninterrupted one. None: not saved.
    on_epoch : callable or None
        Progress callback, called after every epoch with it and the maximum number of epochs.
    processes : Processes or None
        The processes that train this model together, each with its own cells in ``data``; None: a single one.

    Returns
    -------
    FitResult
        History and the reason for the end.

    Raises
    ------
    ScraeError
        If genes or batches are not the model's, there are too few cells, a loss is not finite in the first epoch, the
        checkpoint is damaged or belongs to other data or settings, or another process is lost.

    Warns
    -----
    ScraeWarning
        If a non-finite loss ended training, or the checkpoint could not be written.
    """
    if data.genes != model.genes:
        raise ScraeError(
            f"fit: expected the model's {len(model.genes)} genes in its order, found {data.n_genes} others"
        )
    if data.batch_names != model.batch_names:
        raise ScraeError(
            f"fit: expected the model's batches {show(model.batch_names)}, found {show(data.batch_names)}"
        )
    training = _Training(model, data, config, seed, processes)
    file = None if checkpoint is None else training.open(checkpoint)
    first = processes is None or processes.rank == 0
    fault = training.run(file if first else None, on_epoch if first else None)
    state = training.state
    model.eval()
    if state.best_weights:
        model.load_state_dict(state.best_weights)
    best = state.best_epoch or state.epoch
    kept = f"weights of epoch {best} were kept"
    if fault is not None:
        because = f"{fault}; {kept}"
        if first:
            warnings.warn(f"Training ended early: {because}.", ScraeWarning, stacklevel=2)
    elif training.is_stopped():
        because = f"held-out likelihood did not improve for {config.patience} epochs; {kept}"
    else:
        because = f"all {state.epoch} epochs were run" + (f"; {kept}" if best != state.epoch else "")
    return FitResult(
        history=state.history(), epochs=state.epoch, best_epoch=best, stopped_because=because, fault=fault
    )


class _Training:
    """One training: its state and its data."""

    def __init__(
        self, model: SCRAE, data: CountData, config: TrainConfig, seed: int, processes: Processes | None
    ) -> None:
        n_steps = None
        self.settings, self.seed, self.processes = config, seed, processes
        if processes is not None:
            config = replace(config, batch_size=math.ceil(config.batch_size / processes.size))
        self.data, self.config = data, config
        self.state = TrainingState(
            model, config, seed, offset=0 if processes is None else _SEEDS_APART * processes.rank
        )
        self.train, self.held_out = _split(len(data), config.validation_fraction, self.state.order)
        if config.patience is not None and not len(self.held_out):
            raise ScraeError(
                f"fit: expected at least 2 cells for early stopping, found {len(data)}; set patience=None"
            )
        if processes is not None:
            processes.join(model, self.state.optimizers)
            n_steps = processes.least(math.ceil(len(self.train) / config.batch_size))
        self.n_steps = n_steps  # per epoch; None: until all cells were visited
        self.epochs = config.epochs_for(len(self.train))
        groups = [group for o in self.state.optimizers if o is not None for group in o.param_groups]
        self.rates = [(group, group["lr"]) for group in groups]
        self.step = self._step
        if data.device.type == "cuda" and processes is None:
            from ._cuda import CapturedSteps

            self.step = CapturedSteps(self.state, data, config)

    def open(self, checkpoint: Checkpoint) -> CheckpointFile:
        """Open the checkpoint file and restore its state, if there is one."""
        if self.processes is None:
            return CheckpointFile(checkpoint, self.state, self.data, self.settings)
        rank, size = self.processes.rank, self.processes.size
        # the file knows the cells of the first process, which alone writes it
        data = None if rank else self.data
        file = CheckpointFile(checkpoint, self.state, data, self.settings, processes=size)
        if rank:
            self.state.noise.manual_seed(self.seed + _SEEDS_APART * self.processes.rank + self.state.epoch)
        return file

    def is_stopped(self) -> bool:
        """Whether the held-out loss has not improved for long enough."""
        patience = self.config.patience
        return patience is not None and self.state.epoch - self.state.best_epoch >= patience

    def run(self, file: CheckpointFile | None, on_epoch: Callable[[Epoch, int], None] | None) -> str | None:
        """Run the remaining epochs; return the fault that ended them, if any."""
        state = self.state
        state.model.train()
        good = state.snapshot()
        try:
            while state.epoch < self.epochs and not self.is_stopped():
                fault = self.run_epoch()
                if fault is not None:
                    state.restore(good)
                    if not state.epoch:
                        raise ScraeError(
                            f"fit: expected finite losses, found {fault}; lower the learning rates or leave out "
                            "these cells"
                        )
                    return fault
                good = state.snapshot()
                if on_epoch is not None:
                    on_epoch(state.rows[-1], self.epochs)
                if file is not None and file.due():
                    _save(file, good)
        except (KeyboardInterrupt, SystemExit, ConnectionError) as stop:
            if file is not None and good.facts["epoch"]:
                _save(file, good)
                stop.add_note(
                    f"the training up to epoch {file.last_written} is saved in {file.path}; resume it by the same "
                    "command with --resume"
                )
            raise
        if file is not None and file.last_written:  # what follows training may be interrupted too
            _save(file, good)
        return None

    def run_epoch(self) -> str | None:
        """Visit all training cells once; add a row to the history, or return the fault."""
        state, config, processes = self.state, self.config, self.processes
        before = state.order.get_state()
        factor = _rate_factor(state.epoch + 1, self.epochs, config.schedule)
        for group, rate in self.rates:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate * factor)
            else:
                group["lr"] = rate * factor
        steps, updates = [], []
        minibatches = self.data.row_groups(config.batch_size, rows=self.train, generator=state.order)
        for rows in islice(minibatches, self.n_steps):
            state.iteration += 1
            updates.append(state.iteration % config.n_critic == 0)
            steps.append(self.step(rows, update_prior=updates[-1]))
        state.epoch += 1
        losses = torch.stack([torch.stack(column) for column in zip(*steps, strict=True)])  # [terms, steps]
        validation = math.nan
        if len(self.held_out):
            validation = state.model.held_out_loss(self.data, self.held_out)
        if processes is not None:
            losses, validation = processes.mean(losses), float(processes.mean(torch.tensor(validation)))
        if fault := self.fault(losses.cpu(), updates, validation, before):
            return fault
        rate = config.learning_rate * factor
        state.rows.append(
            Epoch(state.epoch, **_means(losses.cpu()), validation=validation, learning_rate=rate)
        )
        if config.patience is not None:
            state.keep_if_best(validation)
        return None

    def _step(self, rows: Tensor, *, update_prior: bool) -> StepLosses:
        state, cells = self.state, self.data.minibatch(rows)
        return training_step(
            state.model, cells, state.optimizers, self.config, state.noise, update_prior=update_prior
        )

    def fault(self, losses: Tensor, updates: list[bool], validation: float, order: Tensor) -> str | None:
        """Name the first loss or weight that is not finite, its step and cells; None if all are finite."""
        state, size = self.state, self.config.batch_size
        found: list[tuple[int, str]] = []
        for name, used in StepLosses.used(state.model, updates).items():
            row = losses[StepLosses._fields.index(name)]
            for step in (~row.isfinite() & torch.tensor(used)).nonzero()[:1].flatten().tolist():
                found.append((step, f"{name}={float(row[step]):g}"))
        if not found and len(self.held_out) and not math.isfinite(validation):
            extremes = _describe_extremes(self.data, self.held_out)
            return f"validation={validation:g} of the held-out cells after epoch {state.epoch} ({extremes})"
        if not found and not state.is_finite():
            found.append((len(updates) - 1, "a non-finite weight"))
        if not found:
            return None
        step, what = min(found, key=lambda place: place[0])
        groups = self.data.row_groups(size, rows=self.train, generator=Generator().set_state(order))
        extremes = _describe_extremes(self.data, next(islice(groups, step, None)))
        return f"{what} at step {step + 1} of epoch {state.epoch} ({extremes})"


def _save(file: CheckpointFile, snapshot: Snapshot) -> None:
    """Write a snapshot; a full disk must not end the training."""
    try:
        file.write(snapshot)
    except ScraeError as error:
        warnings.warn(
            f"{error} Training continues, but cannot be resumed from here.", ScraeWarning, stacklevel=3
        )


def _describe_extremes(data: CountData, rows: Tensor) -> str:
    """Name the cell and gene with the largest counts among some cells, and the median of the data."""
    cells = data.minibatch(rows.to(data.device))
    cell = int(cells.total.argmax())
    largest, gene = 0.0, data.genes[0]
    if len(cells.nonzeros.value):
        at = int(cells.nonzeros.value.argmax())
        largest, gene = float(cells.nonzeros.value[at]), data.genes[int(cells.nonzeros.gene[at])]
    return (
        f"the largest of its cells has {cells.total[cell]:.0f} counts (cell {int(rows[cell])} of the data, from 0; "
        f"the median is {float(data.totals.median()):.0f}), the largest count is {largest:.0f}, of gene {gene!r}"
    )


def _split(n_cells: int, fraction: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return the training and the held-out cells."""
    n_held_out = min(math.ceil(n_cells * fraction), n_cells - 1)
    order = torch.randperm(n_cells, generator=generator)
    return order[n_held_out:], order[:n_held_out]


def _rate_factor(epoch: int, epochs: int, schedule: Schedule) -> float:
    if schedule == "constant":
        return 1.0
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / epochs))


def _means(losses: Tensor) -> dict[str, float]:
    """Average each term, [terms, steps], over the steps that used it."""
    columns = zip(StepLosses._fields, losses, strict=True)
    means = [column.nanmean() if name in _NAN else column.mean() for name, column in columns]
    return dict(zip(StepLosses._fields, torch.stack(means).tolist(), strict=True))
