"""The command line of the benchmarks; heavy imports stay inside the commands."""

from __future__ import annotations

import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from benchmarks import prior, scale, speed
from scrae.errors import ScraeError

if TYPE_CHECKING:
    from benchmarks.render import Table

__all__ = ["app", "main"]

_WIDTH = 240  # tables are printed whole, also into a file
_CACHE = Path(__file__).resolve().parent / "cache"

Markdown = Annotated[bool, typer.Option("--markdown", help="Print Markdown.")]
Into = Annotated[
    Path | None, typer.Option(help="Write Markdown into this page, between its marks, and print nothing.")
]

app = typer.Typer(
    help="Measure scrae and its peers, and print tables of the records.",
    no_args_is_help=True,
    add_completion=False,
)
app.add_typer(speed.app, name="speed")
app.add_typer(prior.app, name="prior")
app.command()(scale.scale)
app.command()(scale.scale_table)


class Protocol(StrEnum):
    """How scores are made (METHOD section 6)."""

    LABEL_FREE = "label-free"
    PAPER = "paper"


class Device(StrEnum):
    """Where embeddings are computed."""

    CPU = "cpu"
    CUDA = "cuda"


@app.command()
def quality(
    data: Annotated[Path, typer.Option(help='Folder of h5ad files: counts in X, types in obs["cell_type"].')],
    methods: Annotated[str, typer.Option(help="Methods, comma separated; `methods` lists them.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File of records (JSON lines) to add to.")],
    sets: Annotated[str | None, typer.Option(help="Only these sets, comma separated names.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Run seeds 0 to this minus 1.")] = 5,
    protocol: Annotated[Protocol, typer.Option(help="How scores are made.")] = Protocol.LABEL_FREE,
    device: Annotated[Device, typer.Option(help="Where embeddings are computed.")] = Device.CPU,
    threads: Annotated[int, typer.Option(min=1, help="Threads for every library.")] = 2,
    busy: Annotated[bool, typer.Option("--busy", help="Mark the seconds as not comparable.")] = False,
    rerun: Annotated[bool, typer.Option("--rerun", help="Run also what has a record already.")] = False,
    cache: Annotated[
        Path,
        typer.Option(
            help="Folder for codes and clusters, kept between runs.", show_default="benchmarks/cache"
        ),
    ] = _CACHE,
) -> None:
    """Cluster every set with every method and seed that has no record yet; one record a run."""
    from benchmarks.quality import Settings, run_quality

    console = Console(stderr=True, highlight=False)
    settings = Settings(
        data=data,
        sets=_names(sets) if sets else None,
        methods=_names(methods),
        seeds=seeds,
        protocol=protocol.value,
        output=output,
        device=device.value,
        threads=threads,
        busy=busy,
        cache=cache,
        rerun=rerun,
    )
    failed = 0
    for result in run_quality(settings):
        if isinstance(result, tuple):
            failed += 1
            console.print(f"[red]failed[/] {result[0]}: {type(result[1]).__name__}: {result[1]}")
            continue
        scores, seconds = result["scores"], sum(result["seconds"].values())
        console.print(
            f"{result['data']['name']:12} {result['method']:20} seed {result['seed']}  "
            f"NMI {scores['nmi']:.3f}  ARI {scores['ari']:.3f}  {seconds:7.1f} s"
        )
    if failed:
        raise typer.Exit(1)


@app.command()
def table(
    files: Annotated[list[Path], typer.Argument(help="Files of records.")],
    against: Annotated[
        str | None,
        typer.Option(help="Pair every method with this one; `best-peer` is the best peer of each set."),
    ] = None,
    apart: Annotated[str, typer.Option(help="Sets shown but kept out of means, comma separated.")] = "",
    metrics: Annotated[str, typer.Option(help="Scores to show by set, comma separated.")] = "nmi,ari",
    only: Annotated[str | None, typer.Option(help="Only these methods, comma separated.")] = None,
    protocol: Annotated[Protocol, typer.Option(help="How scores were made.")] = Protocol.LABEL_FREE,
    markdown: Markdown = False,
    into: Into = None,
) -> None:
    """Print tables of records: each set, over sets, and paired differences."""
    from benchmarks import records
    from benchmarks import table as tables

    frame = tables.tidy([record for file in files for record in records.read(file)], protocol.value)
    if only:
        frame = frame[frame["method"].isin(_names(only))]
    aside = _names(apart) if apart else []
    drawn = [tables.per_set(frame, metric, aside) for metric in _names(metrics)]
    drawn.append(tables.overview(frame, aside))
    if against:
        drawn.append(tables.paired(frame, against, aside))
    _print(drawn, markdown, into)


@app.command()
def genes(
    files: Annotated[list[Path], typer.Argument(help="Files of records.")],
    apart: Annotated[str, typer.Option(help="Sets shown but kept out of means, comma separated.")] = "",
    metrics: Annotated[str, typer.Option(help="Scores to show, comma separated.")] = "nmi,ari",
    markdown: Markdown = False,
    into: Into = None,
) -> None:
    """Print tables of records by gene selection and number of genes: the paper's Tables 3 and 5."""
    from benchmarks import records
    from benchmarks import table as tables

    frame = tables.tidy(
        [record for file in files for record in records.read(file)], Protocol.LABEL_FREE.value
    )
    aside = _names(apart) if apart else []
    _print([tables.selections(frame, metric, aside) for metric in _names(metrics)], markdown, into)


@app.command()
def methods() -> None:
    """List the methods and how their names are made."""
    from benchmarks import methods as known

    console = Console(highlight=False)
    console.print(known.__doc__, markup=False)
    console.print("Embeddings:", ", ".join(known.EMBEDDINGS))
    console.print("Clusterers:", ", ".join(known.CLUSTERERS))
    for short, (embedding, clusterer) in known.SHORT_NAMES.items():
        console.print(f"{short} is short for {embedding}:{clusterer}", markup=False)


def _print(drawn: list[Table], markdown: bool, into: Path | None) -> None:
    from benchmarks import render

    if into is not None:
        into.write_text(render.insert(into.read_text(), drawn))
        return
    for one in drawn:
        if markdown:
            print(render.markdown(one))
        else:
            render.show(one, Console(highlight=False, width=_WIDTH))


def _names(text: str) -> list[str]:
    """Split at commas, but not at those in brackets: a setting can be a list."""
    return re.split(r",(?![^\[]*\])", text)


def main() -> None:
    """Run the command line; a known error is one line, without a traceback."""
    try:
        app(prog_name="python -m benchmarks")
    except ScraeError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)
