"""Several processes, started by ``torchrun``, that train one model, each on its own shard of the cells.

A hook of each optimizer averages the gradients; docs/scale.md has the reason why ``DistributedDataParallel`` does not.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim import Optimizer

from ..errors import ScraeError
from .model import SCRAE

__all__ = ["LostProcessError", "Processes", "joined"]


class LostProcessError(ScraeError, ConnectionError):
    """Another process of the training is lost, so this one cannot continue."""


class Processes(NamedTuple):
    """The processes that train one model, seen from number ``rank`` of ``size``; by default a single one."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    def join(self, model: SCRAE, optimizers: Iterable[Optimizer | None], settings: object) -> None:
        """Give all processes the weights of the first, and average gradients from now on."""
        if self.size == 1:
            return
        number = zlib.crc32(repr((model.genes, model.batch_names, model.config, settings)).encode())
        if {self.least(number), -self.least(-number)} != {number}:
            raise ScraeError(
                f"expected the same genes, batches and settings in all {self.size} processes, found different ones"
            )
        for value in model.state_dict().values():
            self._reduce(value.mul_(self.rank == 0))
        for optimizer in filter(None, optimizers):
            optimizer.register_step_pre_hook(self._average)

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over the processes."""
        return values if self.size == 1 else self._reduce(values.to(self.device, copy=True)) / self.size

    def least(self, value: int) -> int:
        """Return the smallest value of all processes."""
        found = torch.tensor(value, device=self.device)
        return value if self.size == 1 else int(self._reduce(found, dist.ReduceOp.MIN))

    def _average(self, optimizer: Optimizer, *_: Any) -> None:
        parameters = (p for group in optimizer.param_groups for p in group["params"])
        gradients = [p.grad for p in parameters if p.grad is not None]
        mean = self.mean(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, part in zip(gradients, torch.split(mean, [g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def _reduce(self, values: Tensor, how: Any = dist.ReduceOp.SUM) -> Tensor:
        try:
            dist.all_reduce(values, how)
        except RuntimeError as error:
            reason = str(error).splitlines()[0].split("] ")[-1].split(". ")[0][:120]
            expected = f"expected {self.size} processes until the end of the training"
            raise LostProcessError(f"{expected}, found one lost ({reason})") from error
        return values


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """Join the processes that ``torchrun`` started, by gloo (``"cpu"``) or NCCL (``"cuda"``).

    Raises
    ------
    ScraeError
        If the processes do not find each other, or there are fewer CUDA devices than processes.
    """
    size, rank, local = (int(os.environ.get(name, "0")) for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"))
    if size <= 1:
        yield Processes(device=device)
        return
    if device == "cuda" and local >= (found := torch.cuda.device_count()):
        raise ScraeError(f"expected a CUDA device for each process, found {found}; pass --device cpu")
    try:
        dist.init_process_group("gloo" if device == "cpu" else "nccl", timeout=timedelta(minutes=10))
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:150]
        raise ScraeError(f"expected {size} processes started by torchrun, found none ({reason})") from error
    try:
        yield Processes(rank, size, device if device == "cpu" else f"cuda:{local}")
    finally:
        dist.destroy_process_group()
