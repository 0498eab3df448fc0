"""Several processes that train one model, each on its own shard of the cells, started by ``torchrun``.

Each process takes its part of every minibatch; gradients are averaged before each optimizer's step. They are not those
of one ``backward()``: every network gets the gradient of its own loss alone, by ``torch.autograd.grad``, which does not
run the hooks of ``DistributedDataParallel``. So they are averaged in a hook of the optimizer instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import ScraeError

__all__ = ["LostProcessError", "Processes", "joined"]

_TIMEOUT = timedelta(minutes=10)
_SEEDS_APART = 1_000_003


class LostProcessError(ScraeError, ConnectionError):
    """Another process of the training is gone, so this one cannot continue."""


@dataclass(frozen=True, kw_only=True)
class Processes:
    """The processes that train one model, seen from one of them; created by :func:`joined`.

    Parameters
    ----------
    rank, size : int
        Index of this process, and their number.
    device : str
        Where this process computes.
    """

    rank: int
    size: int
    device: str

    @property
    def seed_offset(self) -> int:
        """Added to the seed, so that the processes draw different noise."""
        return _SEEDS_APART * self.rank

    def join(self, model: nn.Module, optimizers: Iterable[Optimizer | None]) -> None:
        """Give all processes the weights and statistics of the first, and average gradients from now on.

        Raises
        ------
        ScraeError
            If the models of the processes differ in shape.
        """
        n_values = sum(value.numel() for value in model.state_dict().values())
        if {self.least(n_values), -self.least(-n_values)} != {n_values}:
            raise ScraeError(
                f"expected the same genes, batches and settings in all {self.size} processes, found different ones"
            )
        for value in model.state_dict().values():
            self._all(lambda t: dist.broadcast(t, 0), value)
        for optimizer in optimizers:
            if optimizer is not None:
                optimizer.register_step_pre_hook(self._average)

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over the processes."""
        values = values.to(self.device, copy=True)
        return self._all(dist.all_reduce, values) / self.size

    def least(self, value: int) -> int:
        """Return the smallest value of the processes."""
        return int(
            self._all(
                lambda t: dist.all_reduce(t, dist.ReduceOp.MIN), torch.tensor(value, device=self.device)
            )
        )

    def _average(self, optimizer: Optimizer, *_: Any) -> None:
        gradients = [
            p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None
        ]
        mean = self.mean(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = torch.split(mean, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def _all(self, operation: Callable[[Tensor], Any], values: Tensor) -> Tensor:
        try:
            operation(values)
        except RuntimeError as error:
            reason = str(error).splitlines()[0].split("] ")[-1].split(". ")[0][:120]
            raise LostProcessError(
                f"expected {self.size} processes until the end of the training, found one lost ({reason})"
            ) from error
        return values


@contextmanager
def joined(device: str) -> Iterator[Processes | None]:
    """Join the processes that ``torchrun`` started: gloo on the CPU, NCCL on CUDA. None: this is the only process.

    Parameters
    ----------
    device : str
        ``cpu`` or ``cuda``.

    Raises
    ------
    ScraeError
        If the processes do not find each other, or there are fewer CUDA devices than processes.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield None
        return
    rank, local = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", "0"))
    if device == "cuda":
        if local >= torch.cuda.device_count():
            raise ScraeError(
                f"expected a CUDA device for each process, found {torch.cuda.device_count()}; start fewer processes, "
                "or pass --device cpu"
            )
        device = f"cuda:{local}"
        torch.cuda.set_device(local)
    try:
        dist.init_process_group("gloo" if device == "cpu" else "nccl", timeout=_TIMEOUT)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:150]
        raise ScraeError(
            f"expected {size} processes that find each other, found that they do not ({reason}); start them with "
            "torchrun"
        ) from error
    try:
        yield Processes(rank=rank, size=size, device=device)
    finally:
        dist.destroy_process_group()
