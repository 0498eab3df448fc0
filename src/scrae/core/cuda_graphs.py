"""The iteration as CUDA graphs: recorded once, then started as a whole, not kernel by kernel.

A graph repeats fixed work on fixed memory. So the cells of a minibatch are written to one place before each start, the
minibatch is a :class:`~scrae.core.data.DenseMinibatch`, learning rates are tensors, and there are two graphs: one for
the iterations in which generator and encoder learn from the critic, and one for the others.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from ..config import TrainConfig
from ..errors import ScraeWarning
from .data import CountData
from .state import TrainingState
from .step import StepLosses, training_step

__all__ = ["CapturedSteps"]

_WARM_UP = 3
"""Iterations before the recording, as PyTorch asks for: libraries set themselves up in the first ones."""

Body = Callable[[], Tensor]
"""Takes a step on the cells that are written down, and returns its losses, [6]."""


class CapturedSteps:
    """Takes training steps on a CUDA device; the first one of each kind records its graph.

    If a recording fails, a warning says so and the steps are taken one operation after the other.

    Parameters
    ----------
    record : turns the work of a step into something that repeats it; None = :func:`_recorded`, a CUDA graph.
    """

    def __init__(
        self,
        state: TrainingState,
        data: CountData,
        config: TrainConfig,
        *,
        record: Callable[[Body, Generator], Body] | None = None,
    ) -> None:
        self.state, self.data, self.config = state, data, config
        self.record = record or _recorded
        self.most = data.most_nonzeros()
        self.rows = torch.zeros(config.batch_size, dtype=torch.int64, device=data.device)
        self.replays: dict[bool, Body] = {}
        for optimizer in state.optimizers:
            for group in [] if optimizer is None else optimizer.param_groups:
                group["lr"] = torch.tensor(group["lr"], device=data.device)

    def __call__(self, rows: Tensor, *, update_prior: bool) -> StepLosses:
        """Step on the given cells, int64 [cells] on the device; a minibatch of another size is not captured."""
        if len(rows) != len(self.rows):
            return self._step(rows, update_prior)
        self.rows.copy_(rows)
        if update_prior not in self.replays:
            self.replays[update_prior] = self._replay(update_prior)
        losses = self.replays[update_prior]().clone()  # the graph writes the next ones to the same place
        return StepLosses(*losses.unbind())

    def _step(self, rows: Tensor, update_prior: bool) -> StepLosses:
        state = self.state
        batch = self.data.dense_batch(rows, self.most)
        networks = state.model, batch, state.optimizers
        return training_step(*networks, self.config, state.noise, update_prior=update_prior)

    def _replay(self, update_prior: bool) -> Body:
        """Return the recorded step; weights, moments and generators are as before."""

        def body() -> Tensor:
            return torch.stack(self._step(self.rows, update_prior))

        before = self.state.snapshot()
        try:
            for _ in range(_WARM_UP):
                body()
            self.state.restore(before)
            return self.record(body, self.state.noise)
        except RuntimeError as error:
            self.state.restore(before)
            reason = str(error).splitlines()[0][:120]
            warnings.warn(
                f"A CUDA graph of the training step could not be recorded ({reason}); training goes on without, more "
                "slowly.",
                ScraeWarning,
                stacklevel=2,
            )
            return body


def _recorded(body: Body, noise: Generator) -> Body:
    """Record a CUDA graph of ``body``, whose random numbers come from ``noise``."""
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(noise)
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        losses = body()

    def replay() -> Tensor:
        graph.replay()
        return losses

    return replay
