"""The command line of the benchmarks; heavy imports stay inside the commands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import (
    annotation,
    batches,
    clusters,
    columns,
    doublets,
    learning,
    markers,
    paper,
    prior,
    scale,
    searching,
    significance,
    speed,
    subclusters,
    summary,
)
from benchmarks.options import (
    CACHE,
    Busy,
    Cache,
    Data,
    Device,
    Into,
    Markdown,
    Output,
    Protocol,
    Threads,
    names,
    print_tables,
    run_and_tell,
)
from scrae.errors import ScraeError

__all__ = ["app", "main"]

app = typer.Typer(
    help="Measure scrae and its peers, and print tables of the records.",
    no_args_is_help=True,
    add_completion=False,
)
app.add_typer(speed.app, name="speed")
app.add_typer(prior.app, name="prior")
app.add_typer(paper.app, name="paper")
app.add_typer(clusters.app, name="clusters")
app.add_typer(learning.app, name="learning")
app.add_typer(markers.app, name="markers")
app.add_typer(columns.app, name="columns")
app.add_typer(subclusters.app, name="subclusters")
app.add_typer(doublets.app, name="doublets")
app.add_typer(batches.app, name="batches")
app.add_typer(annotation.app, name="annotation")
app.add_typer(significance.app, name="significance")
app.command()(summary.summary)
app.command()(scale.scale)
app.command()(scale.scale_agreement)
app.command()(scale.scale_table)
app.command()(searching.scale_search)


@app.command()
def quality(
    data: Data,
    methods: Annotated[str, typer.Option(help="Methods, comma separated; `methods` lists them.")],
    output: Output,
    sets: Annotated[str | None, typer.Option(help="Only these sets, comma separated names.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Run seeds 0 to this minus 1.")] = 5,
    protocol: Annotated[Protocol, typer.Option(help="How scores are made.")] = Protocol.LABEL_FREE,
    device: Annotated[Device, typer.Option(help="Where embeddings are computed.")] = Device.CPU,
    threads: Threads = 2,
    busy: Busy = False,
    rerun: Annotated[bool, typer.Option("--rerun", help="Run also what has a record already.")] = False,
    cache: Cache = CACHE,
) -> None:
    """Cluster every set with every method and seed that has no record yet; one record a run."""
    from benchmarks.quality import Settings

    settings = Settings(
        data=data,
        sets=names(sets) if sets else None,
        methods=names(methods),
        seeds=seeds,
        protocol=protocol.value,
        output=output,
        device=device.value,
        threads=threads,
        busy=busy,
        cache=cache,
        rerun=rerun,
    )
    if run_and_tell(settings):
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
        frame = frame[frame["method"].isin(names(only))]
    aside = names(apart) if apart else []
    drawn = [tables.per_set(frame, metric, aside) for metric in names(metrics)]
    drawn.append(tables.overview(frame, aside))
    if against:
        drawn.append(tables.paired(frame, against, aside))
    print_tables(drawn, markdown, into)


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
    aside = names(apart) if apart else []
    print_tables([tables.selections(frame, metric, aside) for metric in names(metrics)], markdown, into)


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


def main() -> None:
    """Run the command line; a known error is one line, without a traceback."""
    try:
        app(prog_name="python -m benchmarks")
    except ScraeError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)
