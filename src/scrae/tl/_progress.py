"""Progress of a training: a bar in terminals and notebooks, lines in logs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from scrae.core.checkpoint import Epoch

__all__ = ["ProgressLines", "held_out_loss", "training_bar"]

_SECONDS = 30.0
_SHARE = 0.1
"""A line is written when this much of the epochs, or this time, has passed since the last one."""


def held_out_loss(epoch: Epoch) -> float:
    """Return the loss of the held-out cells, or of the training cells where none are held out."""
    return epoch.reconstruction if epoch.validation != epoch.validation else epoch.validation


class ProgressLines:
    """Writes a line of progress every 10 % of the epochs or 30 s.

    Parameters
    ----------
    write : callable
        Takes a line.
    clock : callable
        Returns the time in seconds.
    """

    def __init__(self, write: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._time, self._share = clock(), 0.0

    def __call__(self, epoch: Epoch, max_epochs: int) -> None:
        """Take the end of an epoch."""
        share, now = epoch.epoch / max_epochs, self._clock()
        if share < self._share:
            self._share = 0.0  # another training
        if share - self._share >= _SHARE - 1e-9 or now - self._time >= _SECONDS:
            self._share, self._time = share, now
            self._write(f"epoch {epoch.epoch} of {max_epochs}, loss {held_out_loss(epoch):.1f}")


def training_bar() -> tuple[Progress | None, Callable[[Epoch, int], None]]:
    """Return a bar to start and stop, None where standard error is a log, and the callback that moves it."""
    console = Console(stderr=True)
    if not (console.is_terminal or console.is_jupyter):
        return None, ProgressLines(lambda line: print(line, file=sys.stderr, flush=True))
    columns = (BarColumn(), TextColumn("{task.fields[detail]}"), TimeElapsedColumn(), TimeRemainingColumn())
    bar = Progress(TextColumn("train"), *columns, console=console)
    task = bar.add_task("train", total=None, detail="")

    def move(epoch: Epoch, max_epochs: int) -> None:
        detail = f"loss {held_out_loss(epoch):.1f}"
        bar.update(task, total=max_epochs, completed=epoch.epoch, detail=detail)

    return bar, move
