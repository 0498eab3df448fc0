"""Several processes that train one model, each on its own shard of the cells, started by ``torchrun``.

Gradients are averaged in a hook of each optimizer. ``DistributedDataParallel`` averages in hooks of ``backward()``,
which do not run here: every network gets the gradient of its own loss alone, by ``torch.autograd.grad``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import ScraeError

__all__ = ["LostProcessError", "Processes", "joined"]


class LostProcessError(ScraeError, ConnectionError):
    """Another process of the training is lost, so this one cannot continue."""


class Processes(NamedTuple):
    """The processes that train one model, seen from number ``rank`` of ``size``; created by :func:`joined`."""

    rank: int
    size: int
    device: str

    def join(self, model: nn.Module, optimizers: Iterable[Optimizer | None]) -> None:
        """Give all processes the weights of the first, and average gradients from now on.

        Raises
        ------
        ScraeError
            If the models of the processes differ in shape, or a process is lost.
        """
        n_values = sum(value.numel() for value in model.state_dict().values())
        if {self.least(n_values), -self.least(-n_values)} != {n_values}:
            raise ScraeError(
                f"expected the same genes, batches and settings in all {self.size} processes, found different ones"
            )
        for value in model.state_dict().values():
            self._together(lambda t: dist.broadcast(t, 0), value)
        for optimizer in optimizers:
            if optimizer is not None:
                optimizer.register_step_pre_hook(self._average)

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over the processes."""
        return self._together(dist.all_reduce, values.to(self.device, copy=True)) / self.size

    def least(self, value: int) -> int:
        """Return the smallest value of all processes."""
        values = torch.tensor(value, device=self.device)
        return int(self._together(lambda t: dist.all_reduce(t, dist.ReduceOp.MIN), values))

    def _average(self, optimizer: Optimizer, *_: Any) -> None:
        gradients = [
            p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None
        ]
        mean = self.mean(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = torch.split(mean, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def _together(self, operation: Callable[[Tensor], Any], values: Tensor) -> Tensor:
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
    """Join the processes that ``torchrun`` started, by gloo (``"cpu"``) or NCCL (``"cuda"``); None: only this one.

    Raises
    ------
    ScraeError
        If the processes do not find each other, or there are fewer CUDA devices than processes.
    """
    size, rank, local = (int(os.environ.get(name, "0")) for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"))
    if size <= 1:
        yield None
        return
    if device == "cuda" and local >= (found := torch.cuda.device_count()):
        raise ScraeError(
            f"expected a CUDA device for each process, found {found}; start fewer, or pass --device cpu"
        )
    try:
        dist.init_process_group("gloo" if device == "cpu" else "nccl")
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:150]
        raise ScraeError(f"expected {size} processes started by torchrun, found none ({reason})") from error
    try:
        yield Processes(rank, size, device if device == "cpu" else f"cuda:{local}")
    finally:
        dist.destroy_process_group()
