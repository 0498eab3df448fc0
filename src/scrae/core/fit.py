"""Training: the loop over the steps, early stopping on held-out likelihood, and the end at a non-finite loss."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
import torch
from torch import Generator, Tensor

from ..config import TrainConfig
from ..errors import ScraeError, ScraeWarning, show
from .checkpoint import Checkpoint, CheckpointFile, Epoch, Snapshot, TrainingState
from .data import CountData
from .distributed import Processes
from .model import SCRAE
from .refit import refit_decoder
from .step import StepLosses, rate_factor, training_step
from .targets import NeighborTargets

__all__ = ["FitResult", "fit"]

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
    held_out : numpy.ndarray
        The cells that were held out for early stopping, int64, sorted.
    components : numpy.ndarray or None
        Principal components of the encoder's input, computed for neighbor targets
        (:func:`~scrae.core.input_pca.input_components`); None without these.
    """

    history: dict[str, np.ndarray]
    epochs: int
    best_epoch: int
    stopped_because: str
    fault: str | None
    held_out: np.ndarray = field(compare=False)
    components: np.ndarray | None = field(compare=False, repr=False)


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

    After a training with neighbor targets the decoder is refitted to the cells' own counts.

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
    processes = processes or Processes()
    training = _Training(model, data, config, seed, processes)
    file = None if checkpoint is None else training.open(checkpoint)
    if processes.rank:  # the first process saves and reports
        file = on_epoch = None
    state, fault = training.state, training.run(file, on_epoch)
    model.eval()
    if state.best_weights:
        model.load_state_dict(state.best_weights)
    if config.neighbor_targets:
        refit_decoder(model, data, training.train, training.config, seed=state.order.initial_seed())
    model.epochs = best = state.best_epoch or state.epoch
    kept = f"weights of epoch {best} were kept"
    if fault is not None:
        because = f"{fault}; {kept}"
        if not processes.rank:
            warnings.warn(f"Training ended early: {because}.", ScraeWarning, stacklevel=2)
    elif training.is_stopped():
        because = f"held-out likelihood did not improve for {config.patience} epochs; {kept}"
    else:
        because = f"all {state.epoch} epochs were run" + (f"; {kept}" if best != state.epoch else "")
    return FitResult(
        history=state.history(),
        epochs=state.epoch,
        best_epoch=best,
        stopped_because=because,
        fault=fault,
        held_out=np.sort(training.held_out.numpy()),
        components=None if training.targets is None else training.targets.components,
    )


class _Training:
    """One training: its data, its state, and how it steps."""

    def __init__(
        self, model: SCRAE, data: CountData, config: TrainConfig, seed: int, processes: Processes
    ) -> None:
        self.data, self.settings, self.processes = data, config, processes
        self.config = config = replace(config, batch_size=math.ceil(config.batch_size / processes.size))
        self.state = TrainingState(model, config, seed, offset=_SEEDS_APART * processes.rank)
        self.train, self.held_out = _split(len(data), config.validation_fraction, self.state.order)
        if config.patience is not None and not len(self.held_out):
            raise ScraeError(
                f"fit: expected at least 2 cells for early stopping, found {len(data)}; set patience=None"
            )
        processes.join(model, self.state.optimizers, (config, seed))
        self.n_steps = processes.least(math.ceil(len(self.train) / config.batch_size))  # per epoch
        self.epochs = processes.least(config.epochs_for(len(self.train)))
        self.targets = None
        if config.neighbor_targets:
            self.targets = NeighborTargets(model, data, self.train, seed=seed)
        groups = [group for o in self.state.optimizers if o is not None for group in o.param_groups]
        self.rates = [(group, group["lr"]) for group in groups]
        self.step = self._step
        if data.device.type == "cuda" and processes.size == 1:
            from ._cuda import CapturedSteps

            self.step = CapturedSteps(self.state, data, config)

    def open(self, checkpoint: Checkpoint) -> CheckpointFile:
        """Open the checkpoint file and restore its state, if there is one."""
        state, rank, size = self.state, self.processes.rank, self.processes.size
        # the file describes the cells of the first process, which writes it
        data = None if rank else self.data
        file = CheckpointFile(checkpoint, state, data, self.settings, processes=size)
        if rank:
            state.noise.manual_seed(state.seed + _SEEDS_APART * rank + state.epoch)
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
                if fault := self.run_epoch():
                    state.restore(good)
                    if state.epoch:
                        return fault
                    advice = "lower the learning rates or leave out these cells"
                    raise ScraeError(f"fit: expected finite losses, found {fault}; {advice}")
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
        state, config = self.state, self.config
        order = state.order.get_state()
        factor = rate_factor(state.epoch + 1, self.epochs, config.schedule)
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
            targets = None if self.targets is None else self.targets.draw(rows, state.order)
            steps.append(self.step(rows, targets, update_prior=updates[-1]))
        state.epoch += 1
        losses = torch.stack([torch.stack(column) for column in zip(*steps, strict=True)])  # [terms, steps]
        losses = self.processes.mean(losses).cpu()
        validation = math.nan
        if len(self.held_out):
            validation = state.model.held_out_loss(self.data, self.held_out)
        validation = float(self.processes.mean(torch.tensor(validation, dtype=torch.float64)))
        if fault := self.fault(losses, torch.tensor(updates), validation, order):
            return fault
        rate = config.learning_rate * factor
        state.rows.append(Epoch(state.epoch, **_means(losses), validation=validation, learning_rate=rate))
        if config.patience is not None:
            state.keep_if_best(validation)
        return None

    def _step(self, rows: Tensor, targets: Tensor | None, *, update_prior: bool) -> StepLosses:
        state = self.state
        return training_step(
            state.model,
            self.data.minibatch(rows),
            state.optimizers,
            self.config,
            state.noise,
            update_prior=update_prior,
            targets=None if targets is None else self.data.minibatch(targets),
        )

    def fault(self, losses: Tensor, updates: Tensor, validation: float, order: Tensor) -> str | None:
        """Name the first loss, [terms, steps], or weight that is not finite, its step and cells; None: there is none.

        ``updates`` are the steps that updated generator and encoder, bool [steps]; ``order`` the state of the
        generator before it shuffled the cells.
        """
        state, always = self.state, torch.ones_like(updates)
        critic, learned = state.model.critic is not None, state.model.latent_generator is not None
        used = [always, always, always & critic, always & critic, updates & learned, updates & critic]
        bad = (~losses.isfinite() & torch.stack(used)).t().nonzero().tolist()
        if bad:
            step, term = bad[0]
            what = f"{StepLosses._fields[term]}={float(losses[term, step]):g}"
        elif len(self.held_out) and not math.isfinite(validation):
            extremes = self.data.describe_extremes(self.held_out)
            return f"validation={validation:g} of the held-out cells after epoch {state.epoch} ({extremes})"
        elif not state.is_finite():
            step, what = len(updates) - 1, "a non-finite weight"
        else:
            return None
        shuffled = Generator().set_state(order)
        groups = self.data.row_groups(self.config.batch_size, rows=self.train, generator=shuffled)
        extremes = self.data.describe_extremes(next(islice(groups, step, None)))
        return f"{what} at step {step + 1} of epoch {state.epoch} ({extremes})"


def _save(file: CheckpointFile, snapshot: Snapshot) -> None:
    """Write a snapshot; a full disk must not end the training."""
    try:
        file.write(snapshot)
    except ScraeError as error:
        warnings.warn(
            f"{error} Training continues, but cannot be resumed from here.", ScraeWarning, stacklevel=3
        )


def _split(n_cells: int, fraction: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return the training and the held-out cells."""
    n_held_out = min(math.ceil(n_cells * fraction), n_cells - 1)
    order = torch.randperm(n_cells, generator=generator)
    return order[n_held_out:], order[:n_held_out]


def _means(losses: Tensor) -> dict[str, float]:
    """Average each term, [terms, steps], over the steps that used it; not all use generator and encoder."""
    columns = zip(StepLosses._fields, losses, strict=True)
    means = [row.nanmean() if name in ("generator", "encoder") else row.mean() for name, row in columns]
    return dict(zip(StepLosses._fields, torch.stack(means).tolist(), strict=True))
