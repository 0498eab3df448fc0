"""The command line. Heavy imports are inside the commands, so that ``--help`` is fast."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from scrae.cli import (
    answers,
    cluster_commands,
    conditions,
    datasets_commands,
    result_commands,
    run_commands,
    steps,
)
from scrae.cli.info import info
from scrae.errors import ScraeError

__all__ = ["app", "main"]

# Of loaders, PyTorch on a CPU and CUDA; NumPy and Python raise a MemoryError.
_NO_MEMORY = re.compile("failed to map segment|allocate memory|out of memory", re.IGNORECASE)

app = typer.Typer(
    name="scrae",
    help="Clusters and latent spaces of single cells from raw counts, without labels.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> bool:
    if wanted:
        from scrae import __version__

        typer.echo(__version__)
        raise typer.Exit
    return wanted


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a known error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


for command in (
    run_commands.demo,
    run_commands.run,
    steps.preprocess,
    steps.genes,
    steps.train,
    steps.embed,
    steps.cluster,
    cluster_commands.significance,
    cluster_commands.subcluster,
    answers.markers,
    answers.annotate,
    conditions.pseudobulk,
    conditions.de,
    conditions.composition,
    steps.score,
    steps.plot,
    steps.report,
    result_commands.recluster,
    result_commands.export,
    info,
):
    app.command()(command)
app.add_typer(datasets_commands.datasets, name="datasets")


class _Stop(SystemExit):
    """Ctrl-C or SIGTERM: cleanup runs on the way out, and the exit status is 128 + the signal's number."""


def _stop(number: int, _: object) -> None:
    raise _Stop(128 + number)


@contextmanager
def _handle_signals() -> Iterator[None]:
    before = {}
    if threading.current_thread() is threading.main_thread():  # Python allows signal handlers only there
        before = {number: signal.signal(number, _stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main() -> None:
    """Run the command line: exit status 0 success, 1 known error in one line, 2 usage, 130 or 143 signal."""
    # Spinning threads make training ten times slower if another program occupies one of the cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is loaded, which is later
    try:
        with _handle_signals():
            _refuse_several_processes()
            app(prog_name="scrae")
    except ScraeError as error:
        if "--debug" in sys.argv:
            raise
        _print_last(str(error), error)
        sys.exit(1)
    except (MemoryError, ImportError, RuntimeError) as error:
        is_memory = isinstance(error, MemoryError) or _NO_MEMORY.search(str(error))
        if "--debug" in sys.argv or not is_memory:
            raise
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        _print_last(f"too little memory ({reason}); raise the limit or use a machine with more", error)
        sys.exit(1)
    except _Stop as stop:
        _print_last("stopped", stop)
        sys.exit(stop.code)


def _refuse_several_processes() -> None:
    size = os.environ.get("WORLD_SIZE", "1")
    command = next((text for text in sys.argv[1:] if not text.startswith("-")), "train")
    if size != "1" and command != "train":
        raise ScraeError(
            f"{command}: expected one process, found the {size} of torchrun (WORLD_SIZE); only train is shared by "
            "several"
        )


def _print_last(what: str, error: BaseException) -> None:
    """Print the last line; of several processes, each but the first names itself."""
    rank = os.environ.get("RANK", "0") if os.environ.get("WORLD_SIZE", "1") != "1" else "0"
    who = "scrae" if rank == "0" else f"scrae (process {rank})"
    typer.echo(": ".join([who, what, *getattr(error, "__notes__", [])]), err=True)
