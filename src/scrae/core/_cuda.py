"""The training step on CUDA: dense minibatches of fixed shape, and the step as CUDA graphs.

A graph repeats fixed work on fixed memory. So the rows of a minibatch are copied to one tensor before each replay,
learning rates are tensors, and there are two graphs: with and without the update of the prior. Unmeasured.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from ..config import TrainConfig
from ..errors import ScraeWarning
from .checkpoint import TrainingState
from .data import EXPRESSION_LIMIT, CountData
from .step import StepLosses, training_step

__all__ = ["CapturedSteps", "DenseMinibatch", "dense_count_nll", "dense_minibatch"]

_WARM_UP = 3
"""Steps before the capture, as PyTorch asks for: libraries initialize themselves in the first ones."""

Body = Callable[[], Tensor]
"""Takes a step on the current rows and returns its losses, [6]."""


class DenseMinibatch(NamedTuple):
    """A minibatch of cells as a dense block, whose shape does not depend on the counts.

    Attributes and methods are those of :class:`scrae.core.data.Minibatch`.
    """

    counts: Float[Tensor, "cells genes"]
    total: Float[Tensor, " cells"]
    batch_code: Int[Tensor, " cells"] | None = None

    @property
    def log_library(self) -> Float[Tensor, " cells"]:
        """Log of the total; cells without counts are treated as having one."""
        return self.total.clamp(min=1).log()

    def thinned(self, generator: Generator) -> DenseMinibatch:
        """Return the same cells with each molecule kept with probability ½."""
        counts = torch.binomial(self.counts, torch.full_like(self.counts, 0.5), generator=generator)
        return self._replace(counts=counts, total=counts.sum(dim=1))

    def encoder_input(self, target_total: Tensor, gene_scale: Tensor) -> Float[Tensor, "cells genes"]:
        """Return the scaled expression."""
        per_count = (target_total / self.total.clamp(min=1))[:, None]
        return (torch.log1p(self.counts * per_count) / gene_scale).clamp_(max=EXPRESSION_LIMIT)

    def nll(
        self, logits: Tensor, log_library: Tensor, log_theta: Tensor, zi_logits: Tensor | None
    ) -> Float[Tensor, " cells"]:
        """Return minus the log-likelihood of each cell's counts."""
        return dense_count_nll(logits, log_library, log_theta, zi_logits, self.counts)


def dense_minibatch(data: CountData, rows: Int[Tensor, " cells"], width: int) -> DenseMinibatch:
    """Return the given cells by operations of fixed shape; ``width`` is the largest number of nonzeros of a cell."""
    place = data.indptr[rows][:, None] + torch.arange(width, device=data.device)
    valid = place < data.indptr[rows + 1][:, None]
    place = place.clamp(max=len(data.values) - 1)
    block = torch.zeros(len(rows), data.n_genes, device=data.device)
    block.scatter_add_(
        1, data.indices[place].long(), data.values[place] * valid.float()
    )  # adds 0 past a cell's end
    code = None if data.batch_codes is None else data.batch_codes[rows]
    return DenseMinibatch(block, data.totals[rows].float(), code)


def dense_count_nll(
    logits: Float[Tensor, "cells genes"],
    log_library: Float[Tensor, " cells"],
    log_theta: Float[Tensor, " genes"],
    zi_logits: Float[Tensor, "cells genes"] | None,
    counts: Float[Tensor, "cells genes"],
) -> Float[Tensor, " cells"]:
    """Minus the log-likelihood of each cell's counts, summed over genes (paper, eq. 4-8).

    The function of :func:`scrae.core._kernels.count_nll`, in float64 and in operations of fixed shape.
    """
    result: Tensor = _DenseCountNLL.apply(logits, log_library, log_theta, zi_logits, counts)  # type: ignore[no-untyped-call]  # untyped in torch
    return result


class _DenseCountNLL(torch.autograd.Function):
    """The gradients are computed in the forward pass, which shares their terms."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        log_library: Tensor,
        log_theta: Tensor,
        zi_logits: Tensor | None,
        counts: Tensor,
    ) -> Tensor:
        x, log_t = counts.double(), log_theta.double()
        theta, log_share = log_t.exp(), torch.log_softmax(logits.double(), dim=1)
        log_ratio = log_share + log_library.double()[:, None] - log_t  # log(mu / theta)
        log_sum = torch.log1p(log_ratio.exp())
        a = -theta * log_sum
        gammas = torch.lgamma(x + theta) - torch.lgamma(theta) - torch.lgamma(x + 1)
        log_prob = gammas + a + x * (log_ratio - log_sum)
        d_mu = x - (log_ratio - log_sum).exp() * (theta + x)  # of the negative binomial, by log mu
        d_theta = theta * (torch.digamma(x + theta) - torch.digamma(theta)) + a - d_mu
        d_zi = None
        if zi_logits is not None:
            l, positive = zi_logits.double(), x > 0  # noqa: E741 (the paper's letter)
            log_keep = functional.logsigmoid(-l)
            zero = torch.logaddexp(functional.logsigmoid(l), log_keep + a)
            log_prob = torch.where(positive, log_keep + log_prob, zero)
            weight = torch.sigmoid(a - l).masked_fill(positive, 1.0)  # posterior: not from the inflation
            d_mu, d_theta, d_zi = d_mu * weight, d_theta * weight, (log_keep.exp() - weight).to(logits.dtype)
        d_library = d_mu.sum(dim=1)
        d_logits = d_mu - log_share.exp() * d_library[:, None]
        d_logits, d_library, d_theta = (part.to(logits.dtype) for part in (d_logits, d_library, d_theta))
        ctx.save_for_backward(d_logits, d_library, d_theta, d_zi)
        return -log_prob.sum(dim=1).to(logits.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        d_logits, d_library, d_theta, d_zi = ctx.saved_tensors
        down = -upstream
        column = down[:, None]
        by_zi = None if d_zi is None else d_zi * column
        return d_logits * column, d_library * down, down @ d_theta, by_zi, None


class CapturedSteps:
    """Takes training steps on a CUDA device; the first one of each kind captures its graph.

    If a capture fails, a warning says so and the steps run eagerly.

    Parameters
    ----------
    state : TrainingState
        Model, optimizers and generators; the learning rates become tensors.
    data : CountData
        On the device.
    config : TrainConfig
        Settings of the step.
    record : callable or None
        Turns the work of a step into a function that repeats it; None: :func:`_capture`, a CUDA graph.
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
        self.record = record or _capture
        self.width = int(data.indptr.diff().max())
        # those that are encoded, and those whose counts are explained
        self.rows = torch.zeros(2, config.batch_size, dtype=torch.int64, device=data.device)
        self.replays: dict[bool, Body] = {}
        for optimizer in state.optimizers:
            for group in [] if optimizer is None else optimizer.param_groups:
                group["lr"] = torch.tensor(group["lr"], device=data.device)

    def __call__(self, rows: Tensor, targets: Tensor | None, *, update_prior: bool) -> StepLosses:
        """Step on the given cells, int64 [cells] on the device; minibatches of another size run eagerly."""
        pair = torch.stack([rows, rows if targets is None else targets])
        if pair.shape != self.rows.shape:
            return self._step(pair, update_prior)
        self.rows.copy_(pair)
        if update_prior not in self.replays:
            self.replays[update_prior] = self._replay(update_prior)
        losses = self.replays[update_prior]().clone()  # the next replay overwrites them
        return StepLosses(*losses.unbind())

    def _step(self, rows: Tensor, update_prior: bool) -> StepLosses:
        state = self.state
        cells, targets = (dense_minibatch(self.data, part, self.width) for part in rows)
        return training_step(
            state.model,
            cells,
            state.optimizers,
            self.config,
            state.noise,
            update_prior=update_prior,
            targets=targets if self.config.neighbor_targets else None,
        )

    def _replay(self, update_prior: bool) -> Body:
        """Return the captured step; weights, moments and generators are as before."""

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
                f"A CUDA graph of the training step could not be captured ({reason}); training continues eagerly, more "
                "slowly.",
                ScraeWarning,
                stacklevel=2,
            )
            return body


def _capture(body: Body, noise: Generator) -> Body:
    """Capture a CUDA graph of ``body``, whose random numbers come from ``noise``."""
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(noise)
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        losses = body()

    def replay() -> Tensor:
        graph.replay()
        return losses

    return replay
