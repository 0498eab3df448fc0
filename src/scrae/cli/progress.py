"""Progress on the terminal: a line a stage, a bar with an estimate in training; quiet when nobody looks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from scrae.core.checkpoint import Epoch

__all__ = ["Bar", "progress_bar"]


class Bar:
    """Shows the stages and epochs of a run on standard error, if that is a terminal."""

    def __init__(self, *, shown: bool = True) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description:24s}"),
            BarColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not (shown and console.is_terminal),
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

    def say(self, sentence: str) -> None:
        """Print a line on standard output, above the bars."""
        typer.echo(sentence)

    def stage(self, name: str) -> None:
        """Begin a stage; its length is unknown."""
        self._end()
        self._task = self._progress.add_task(name, total=None, detail="")

    def epoch(self, epoch: Epoch, max_epochs: int) -> None:
        """Move the bar of training."""
        assert self._task is not None
        loss = epoch.reconstruction if epoch.validation != epoch.validation else epoch.validation
        self._progress.update(self._task, total=max_epochs, completed=epoch.epoch, detail=f"loss {loss:.1f}")

    def _end(self) -> None:
        if self._task is not None:
            self._progress.update(self._task, total=1, completed=1)


@contextmanager
def progress_bar(*, shown: bool = True) -> Iterator[Bar]:
    """Show a bar while the block runs."""
    with Bar(shown=shown) as bar:
        yield bar
