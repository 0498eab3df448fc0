"""What the command lines share: options, progress of runs, printing of tables."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from benchmarks.quality import Settings
    from benchmarks.render import Table

__all__ = [
    "CACHE", "Busy", "Cache", "Data", "Device", "Into", "Markdown", "Output", "Protocol", "Sets", "Threads",
    "TorchThreads", "names", "print_tables", "run_and_tell",
]  # fmt: skip

CACHE = Path(__file__).resolve().parent / "cache"
_WIDTH = 240  # tables are printed whole, also into a file

Data = Annotated[Path, typer.Option(help='Folder of h5ad files: counts in X, types in obs["cell_type"].')]
Sets = Annotated[str, typer.Option(help="Names of sets, comma separated.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="File of records (JSON lines) to add to.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads for every library.")]
TorchThreads = Annotated[int, typer.Option(min=1, help="Threads for torch.")]
Busy = Annotated[bool, typer.Option("--busy", help="Mark the seconds as not comparable.")]
Cache = Annotated[
    Path,
    typer.Option(help="Folder for codes and clusters, kept between runs.", show_default="benchmarks/cache"),
]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print Markdown.")]
Into = Annotated[
    Path | None, typer.Option(help="Write Markdown into this page, between its marks, and print nothing.")
]


class Protocol(StrEnum):
    """How scores are made (METHOD section 6)."""

    LABEL_FREE = "label-free"
    PAPER = "paper"


class Device(StrEnum):
    """Where embeddings are computed."""

    CPU = "cpu"
    CUDA = "cuda"


def names(text: str) -> list[str]:
    """Split at commas, but not at those in brackets: a setting can be a list."""
    return re.split(r",(?![^\[]*\])", text)


def run_and_tell(settings: Settings) -> int:
    """Run all that has no record yet, a line for each; the number of runs that failed."""
    from benchmarks.quality import planned, run_quality

    console, failed = Console(stderr=True, highlight=False), 0
    n_runs = planned(settings)
    for i, result in enumerate(run_quality(settings), start=1):
        place = f"[{i}/{n_runs}]".rjust(9)
        if isinstance(result, tuple):
            failed += 1
            message = f"{place} failed {result[0]}: {type(result[1]).__name__}: {result[1]}"
            console.print(message, style="red", markup=False, soft_wrap=True)
            continue
        scores, seconds = result["scores"], sum(result["seconds"].values())
        console.print(
            f"{place} {result['data']['name']:12} {result['method']:20} seed {result['seed']}  "
            f"NMI {scores['nmi']:.3f}  ARI {scores['ari']:.3f}  {seconds:7.1f} s",
            markup=False,
            soft_wrap=True,
        )
    return failed


def print_tables(tables: list[Table], markdown: bool, into: Path | None) -> None:
    """Print tables for reading or as Markdown, or write them into a page."""
    from benchmarks import render

    if into is not None:
        into.write_text(render.insert(into.read_text(), tables))
        return
    for one in tables:
        if markdown:
            print(render.markdown(one))
        else:
            render.show(one, Console(highlight=False, width=_WIDTH))
