"""The loop over the steps, early stopping on held-out likelihood, and what is done when a loss is no number."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Generator, Tensor

from ..config import Schedule, TrainConfig
from ..errors import ScraeError, ScraeWarning, show
from .checkpoint import TRAINING_FILE, Checkpoint, Keeper, fingerprint
from .cuda_graphs import CapturedSteps
from .data import CountData
from .faults import describe_extremes, first_fault
from .model import SCRAE
from .ranks import LostProcessError, Ranks
from .state import Epoch, Snapshot, TrainingState
from .step import StepLosses, training_step

__all__ = ["TRAINING_FILE", "Checkpoint", "Epoch", "FitResult", "fit"]

_MOST_FAULTS = 3  # each halves the learning rates


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What happened in training.

    Attributes
    ----------
    history : one array a column of :class:`Epoch`, one value an epoch; NaN where a term was not used.
    epochs : how many were run.
    best_epoch : the epoch whose weights the model has now.
    stopped_because : in plain words.
    fault : the loss that was no number and ended the training; None = it ended well.
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
    ranks: Ranks | None = None,
) -> FitResult:
    """Train ``model`` on ``data``, in place; with early stopping it ends with the best weights.

    An epoch in which a loss or a weight is no finite number is undone and run again with half of all learning
    rates, three times at most. Then training ends with the weights that were good, and ``fault`` says why.

    Parameters
    ----------
    seed : of the split into training and held-out cells, the minibatches and the noise.
    checkpoint : where the training is kept while it runs, and whether it goes on from there; None = nowhere. On CPU
        a training that was stopped at any moment and went on ends with the same bits as one that was not.
    on_epoch : called after every epoch, with it and the most epochs there can be, for progress.
    ranks : the processes that train this model together, each called with the same; the first alone writes the
        checkpoint, warns and calls ``on_epoch``. None = this process alone.

    Raises
    ------
    LostProcessError : another process of ``ranks`` is gone; a ScraeError, like all others.
    ScraeError : genes or batches that are not the model's, too few cells, a loss that is not finite in the first
        epoch, or a checkpoint that is damaged or belongs to other data or settings.

    Warns
    -----
    ScraeWarning : an epoch was undone; or the checkpoint could not be written, and training goes on without.
    """
    if data.genes != model.genes:
        raise ScraeError(
            f"fit: expected the model's {len(model.genes)} genes in its order, found {data.n_genes} others"
        )
    if data.batch_names != model.batch_names:
        raise ScraeError(
            f"fit: expected the model's batches {show(model.batch_names)}, found {show(data.batch_names)}"
        )
    state = TrainingState(model, config, seed)
    train, held_out = _split(len(data), config.validation_fraction, state.order)
    if config.patience is not None and not len(held_out):
        raise ScraeError(
            f"fit: expected at least 2 cells for early stopping, found {len(data)}; set patience=None"
        )
    ranks = ranks or Ranks()
    run = _Run(state, data, config, train, held_out, ranks)
    keeper = None if checkpoint is None else Keeper(checkpoint, state, data, config)
    if ranks.size > 1:
        facts = fingerprint(data), repr((model.config, config, seed)), str(state.epoch)
        names = "counts, genes and batches", "settings", "epochs done"
        ranks.refuse_difference(dict(zip(names, facts, strict=True)))
    if ranks.rank:
        keeper = on_epoch = None
    model.train()
    fault = run.to_the_end(keeper, on_epoch)
    model.eval()
    if state.best_weights:
        model.load_state_dict(state.best_weights)
    because = _reason(state, run.is_stopped(), config.patience, fault)
    sentences = [*state.faults, *([f"Training ended early: it {because}."] if fault else [])]
    for sentence in [] if ranks.rank else sentences:
        warnings.warn(sentence, ScraeWarning, stacklevel=2)
    return FitResult(
        history=state.history(),
        epochs=state.epoch,
        best_epoch=state.best_epoch or state.epoch,
        stopped_because=because,
        fault=fault,
    )


class _Run:
    """One training: the state, and what it goes over."""

    def __init__(
        self,
        state: TrainingState,
        data: CountData,
        config: TrainConfig,
        train: Tensor,
        held_out: Tensor,
        ranks: Ranks,
    ) -> None:
        self.state, self.data, self.config, self.ranks = state, data, config, ranks
        self.train, self.held_out = train, held_out
        self.epochs = config.epochs_for(len(train))
        groups = [group for o in state.optimizers if o is not None for group in o.param_groups]
        self.rates = [(group, group["lr"]) for group in groups]
        alone_on_device = data.device.type == "cuda" and ranks.size == 1
        self.captured = CapturedSteps(state, data, config) if alone_on_device else None

    def is_stopped(self) -> bool:
        """Whether the held-out loss has not improved for long enough."""
        patience = self.config.patience
        return patience is not None and self.state.epoch - self.state.best_epoch >= patience

    def to_the_end(self, keeper: Keeper | None, on_epoch: Callable[[Epoch, int], None] | None) -> str | None:
        """Run the epochs that are left; return the fault that ended them, if one did."""
        state = self.state
        good = state.snapshot()
        try:
            while state.epoch < self.epochs and not self.is_stopped():
                fault = self.one_epoch()
                if fault is not None:
                    if not self.undo(good, fault):
                        return fault
                    continue
                good = state.snapshot()
                if on_epoch is not None:
                    on_epoch(state.rows[-1], self.epochs)
                if keeper is not None and keeper.due():
                    _write(keeper, good)
        except (KeyboardInterrupt, SystemExit, LostProcessError) as stop:
            if keeper is not None and good.facts["epoch"]:
                try:
                    _write(keeper, good)
                except SystemExit:  # torchrun ends all processes soon after it lost one
                    _write(keeper, good)
                stop.add_note(_kept(keeper))
            raise
        if keeper is not None and keeper.last_written:  # what follows may be stopped too
            _write(keeper, good)
        return None

    def one_epoch(self) -> str | None:
        """Go over all training cells once; return what went wrong in words, or add a row to the history."""
        state, config, data, ranks = self.state, self.config, self.data, self.ranks
        ranks.follow_first(state.model)
        before = state.order.get_state()
        factor = _rate_factor(state.epoch + 1, self.epochs, config.schedule) * state.rate
        for group, rate in self.rates:
            group["lr"] = rate * factor if self.captured is None else group["lr"].fill_(rate * factor)
        steps, due, weights = [], [], []
        for cells in data.minibatches(config.batch_size, rows=self.train, generator=state.order):
            state.iteration += 1
            due.append(state.iteration % config.n_critic == 0)
            losses, weight = self.step(cells, due[-1])
            steps.append(losses)
            weights.append(weight)
        state.epoch += 1
        table = torch.stack([torch.stack(column) for column in zip(*steps, strict=True)])  # [terms, steps]
        table = ranks.sum(table * torch.tensor(weights, device=table.device)).cpu()
        validation = self.validation()
        if fault := self.fault(table, due, validation, before):
            return fault
        rate = config.learning_rate * factor
        state.rows.append(Epoch(state.epoch, **_means(table), validation=validation, learning_rate=rate))
        if config.patience is not None:
            state.keep_if_best(validation)
        return None

    def step(self, cells: Tensor, update_prior: bool) -> tuple[StepLosses, float]:
        """Take a step on the given cells; return its losses and this process's share of them."""
        if self.captured is not None:
            return self.captured(cells, update_prior=update_prior), 1.0
        state, batch = self.state, self.data.batch(cells)
        with self.ranks.sharing(len(cells), state.optimizers) as (rows, weight):
            networks = state.model, batch, state.optimizers
            return training_step(
                *networks, self.config, state.noise, update_prior=update_prior, rows=rows
            ), weight

    def validation(self) -> float:
        """Return the loss of the held-out cells, of which each process takes some; NaN without such cells."""
        if not len(self.held_out):
            return math.nan
        rows, weight = self.ranks.share(len(self.held_out))
        loss = self.state.model.held_out_loss(self.data, self.held_out[rows])
        part = torch.tensor(loss * weight, dtype=torch.float64, device=self.ranks.device)
        return float(self.ranks.sum(part))

    def fault(self, losses: Tensor, due: list[bool], validation: float, order: Tensor) -> str | None:
        """Say which loss or weight is no finite number, at which step, and what is odd about its cells."""
        model, always = self.state.model, [True] * len(due)
        used = [("reconstruction", always), ("library", always)]
        if model.critic is not None:
            used += [("critic", always), ("gradient_penalty", always), ("encoder", due)]
        if model.latent_generator is not None:
            used.append(("generator", due))
        last = len(due) - 1
        found = first_fault(losses, used)
        if found is None and len(self.held_out) and not math.isfinite(validation):
            extremes = describe_extremes(self.data, self.data.batches(1024, rows=self.held_out))
            return (
                f"validation={validation:g} of the held-out cells after epoch {self.state.epoch} ({extremes})"
            )
        if found is None and not self.state.is_finite():
            found = last, "a weight that is no number"
        if found is None:
            return None
        step, what = found
        replay = Generator().set_state(order)
        batches = self.data.batches(self.config.batch_size, rows=self.train, generator=replay)
        extremes = describe_extremes(self.data, islice(batches, step, step + 1))
        return f"{what} at step {step + 1} of epoch {self.state.epoch} ({extremes})"

    def undo(self, good: Snapshot, fault: str) -> bool:
        """Go back to the last good epoch, with half the rates; say whether that is worth another try."""
        rate, faults = self.state.rate / 2, self.state.faults
        self.state.restore(good)
        if len(faults) >= _MOST_FAULTS:
            if not good.facts["epoch"]:
                raise ScraeError(
                    f"fit: expected finite losses, found {fault}; lower the learning rates or leave such cells out"
                )
            self.state.faults = faults
            return False
        sentence = (
            f"Training met {fault}; it went back to epoch {self.state.epoch} and halved the learning rates."
        )
        self.state.rate, self.state.faults = rate, [*faults, sentence]
        return True


def _write(keeper: Keeper, good: Snapshot) -> None:
    """Keep a snapshot; a full disk must not end the training."""
    try:
        keeper.write(good)
    except ScraeError as error:
        warnings.warn(
            f"{error} Training goes on, and cannot be resumed from here.", ScraeWarning, stacklevel=3
        )


def _kept(keeper: Keeper) -> str:
    return (
        f"the training up to epoch {keeper.last_written} is kept in {keeper.path}; "
        "the same command with --resume goes on"
    )


def _reason(state: TrainingState, stopped: bool, patience: int | None, fault: str | None) -> str:
    best = state.best_epoch or state.epoch
    kept = f"weights of epoch {best} were kept"
    if fault is not None:
        return f"met {fault} also with learning rates halved {_MOST_FAULTS} times; {kept}"
    if stopped:
        return f"held-out likelihood did not improve for {patience} epochs; {kept}"
    return f"all {state.epoch} epochs were run" + (f"; {kept}" if best != state.epoch else "")


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
    """Average each term, [terms, steps], over the steps; generator and encoder where they were used."""
    now_and_then = ("generator", "encoder")
    columns = zip(StepLosses._fields, losses, strict=True)
    means = [column.nanmean() if name in now_and_then else column.mean() for name, column in columns]
    return dict(zip(StepLosses._fields, torch.stack(means).tolist(), strict=True))
