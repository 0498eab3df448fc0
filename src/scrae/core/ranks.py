"""Several processes that train one model: each takes some rows of every minibatch, and all take the same steps.

Every process holds all counts and draws the same random numbers. So the order of the cells, the thinned counts and the
noise are those of a single process, and the results differ from its own by the rounding of sums alone.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode

from ..errors import ScraeError

__all__ = ["LostProcessError", "Ranks", "Share", "joined"]

_PATIENCE = timedelta(minutes=10)
"""A process that is silent for so long is lost. One that ends is missed at once."""

_DRAWS = (Tensor.normal_, Tensor.uniform_, Tensor.bernoulli_)


class LostProcessError(ScraeError):
    """Another process of the training is gone, and this one cannot go on alone."""


class Share(NamedTuple):
    """The rows of a minibatch that a process takes, and their share of all rows."""

    rows: slice
    weight: float


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """The processes that train one model, seen from one of them; alone unless :func:`joined` made it.

    Attributes
    ----------
    rank, size : number of this process, from 0, and how many there are.
    device : where it computes.
    """

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    def share(self, n_rows: int) -> Share:
        """Return what this process takes of ``n_rows``; of fewer rows than processes each takes all."""
        if n_rows < self.size:
            return Share(slice(0, n_rows), 1 / self.size)
        first, last = (n_rows * rank // self.size for rank in (self.rank, self.rank + 1))
        return Share(slice(first, last), (last - first) / n_rows)

    @contextmanager
    def sharing(self, n_rows: int, optimizers: Iterable[Optimizer | None]) -> Iterator[Share]:
        """Take one training step together, on ``n_rows`` cells; inside, this process computes on its share of them.

        Noise is drawn for all rows and cut, and each optimiser averages its gradients over all rows before it steps.
        """
        share = self.share(n_rows)
        if self.size == 1:
            yield share
            return
        average = self._averaging(share.weight)
        hooks = [o.register_step_pre_hook(average) for o in optimizers if o is not None]
        try:
            with _DrawnForAll(n_rows, share.rows):
                yield share
        finally:
            for hook in hooks:
                hook.remove()

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over all processes; ``values`` is changed.

        Raises
        ------
        LostProcessError : another process is gone.
        """
        return self._together(values, dist.all_reduce)

    def follow_first(self, module: nn.Module) -> None:
        """Give all processes the weights of the first, so that no rounding can part them.

        Raises
        ------
        LostProcessError : another process is gone.
        """
        if self.size == 1:
            return
        values = list(module.state_dict().values())
        flat = torch.cat([value.reshape(-1) for value in values])
        self._together(flat, lambda t: dist.broadcast(t, 0))
        for value, part in zip(values, _cut(flat, values), strict=True):
            value.copy_(part)

    def refuse_difference(self, facts: Mapping[str, str]) -> None:
        """Raise ScraeError, in all processes, where one of them has other facts; a fact by its name."""
        if self.size == 1:
            return
        digests = [hashlib.sha256(fact.encode()).digest()[:4] for fact in facts.values()]
        numbers = torch.tensor([int.from_bytes(d, "big") for d in digests], device=self.device)
        lowest = self._together(numbers.clone(), lambda t: dist.all_reduce(t, dist.ReduceOp.MIN))
        highest = self._together(numbers, lambda t: dist.all_reduce(t, dist.ReduceOp.MAX))
        for what, same in zip(facts, (lowest == highest).tolist(), strict=True):
            if not same:
                raise ScraeError(
                    f"expected the same {what} in all {self.size} processes, found different ones; give them the "
                    "same command, and files and folders that all of them see"
                )

    def _averaging(self, weight: float) -> Callable[..., None]:
        """Return what an optimiser does before its step: average the gradients in one message."""

        def average(optimizer: Optimizer, *_: Any) -> None:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            used = [p for p in parameters if p.grad is not None]
            flat = self.sum(torch.cat([p.grad.reshape(-1) for p in used]).mul_(weight))
            for parameter, part in zip(used, _cut(flat, used), strict=True):
                parameter.grad = part

        return average

    def _together(self, values: Tensor, what: Callable[[Tensor], Any]) -> Tensor:
        if self.size > 1:
            try:
                what(values)
            except RuntimeError as error:
                reason = str(error).splitlines()[0].split("] ")[-1].split(". ")[0][:120]
                raise LostProcessError(
                    f"expected {self.size} processes to the end of the training, found one lost ({reason}); go on "
                    "with --resume, by as many as you like"
                ) from error
        return values


class _DrawnForAll(TorchFunctionMode):
    """While it is on, noise for the rows of a share is drawn for all rows of the minibatch, and cut."""

    def __init__(self, n_rows: int, rows: slice) -> None:
        super().__init__()
        self.n_rows, self.rows = n_rows, rows

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function not in _DRAWS:
            return function(*args, **kwargs)
        mine, rest = args[0], args[1:]
        assert len(mine) == self.rows.stop - self.rows.start
        every = mine.new_empty(self.n_rows, *mine.shape[1:])
        return mine.copy_(function(every, *rest, **kwargs)[self.rows])


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """Meet the other processes that the environment names: gloo on the CPU, NCCL on CUDA, one device a process.

    Parameters
    ----------
    device : as ``pipeline.resolve_device`` gives it.

    Raises
    ------
    ScraeError : the environment is not that of ``torchrun``, the others do not come, a device that cannot be shared,
        or fewer CUDA devices than processes.
    """
    size = _number("WORLD_SIZE", 1)
    if size <= 1:
        yield Ranks(device=device)
        return
    rank, local = _number("RANK"), _number("LOCAL_RANK", 0)
    if device == "mps":
        raise ScraeError(f"--device: expected cpu or cuda for {size} processes, found mps")
    if device == "cuda":
        if local >= torch.cuda.device_count():
            raise ScraeError(
                f"expected a CUDA device for each process, found {torch.cuda.device_count()}; start fewer, or use "
                "--device cpu"
            )
        device = f"cuda:{local}"
        torch.cuda.set_device(local)
    try:
        dist.init_process_group("gloo" if device == "cpu" else "nccl", timeout=_PATIENCE)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:150]
        raise ScraeError(
            f"expected {size} processes that find each other, found that they do not ({reason}); start them with "
            "torchrun"
        ) from error
    try:
        yield Ranks(rank=rank, size=size, device=device)
    finally:
        dist.destroy_process_group()


def _cut(flat: Tensor, like: Sequence[Tensor]) -> Iterator[Tensor]:
    """Yield one part after the other in the shape of each tensor."""
    first = 0
    for tensor in like:
        yield flat[first : first + tensor.numel()].view_as(tensor)
        first += tensor.numel()


def _number(variable: str, usual: int | None = None) -> int:
    text = os.environ.get(variable, "" if usual is None else str(usual))
    if not text.isdecimal():
        raise ScraeError(
            f"environment: expected a whole number as {variable}, found {text!r}; start the processes with torchrun"
        )
    return int(text)
