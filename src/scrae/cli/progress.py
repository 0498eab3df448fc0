"""Progress on standard error: bars on a terminal, elsewhere (in a log) lines."""

from __future__ import annotations

from functools import partial
from types import TracebackType

import typer
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from scrae.core.checkpoint import Epoch
from scrae.pipeline.results import Progress
from scrae.tl._progress import ProgressLines, held_out_loss

__all__ = ["Bar"]


class Bar(Progress):
    """Progress callbacks of the command line."""

    def __init__(self, *, shown: bool = True) -> None:
        console = Console(stderr=True)
        self._bars = shown and console.is_terminal
        lines = shown and not console.is_terminal
        self._lines = ProgressLines(partial(typer.echo, err=True)) if lines else None
        self._progress = RichProgress(
            TextColumn("{task.description:24s}"),
            BarColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not self._bars,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._end()
        self._progress.stop()

    def on_message(self, text: str) -> None:
        """Print a line on standard output, above the bars."""
        typer.echo(text)

    def on_stage(self, name: str) -> None:
        """Begin a stage of unknown length; a log gets its name, on standard output: errors stay alone on the other."""
        self._end()
        if self._lines is not None:
            typer.echo(name)
        self._task = self._progress.add_task(name, total=None, detail="")

    def on_epoch(self, epoch: Epoch, max_epochs: int) -> None:
        """Move the bar of training."""
        if self._task is not None:
            self._progress.update(
                self._task, total=max_epochs, completed=epoch.epoch, detail=f"loss {held_out_loss(epoch):.1f}"
            )
        if self._lines is not None:
            self._lines(epoch, max_epochs)

    def _end(self) -> None:
        if self._task is not None:
            self._progress.update(self._task, total=1, completed=1)
