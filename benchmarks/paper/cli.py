"""The commands of `python -m benchmarks paper`; heavy imports stay inside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
from benchmarks.paper import plan

if TYPE_CHECKING:
    import pandas as pd

    from benchmarks.records import Record

__all__ = ["app"]

app = typer.Typer(
    help="The paper's evaluation: make its records, print its Tables 2 to 5, draw its figures 2 to 8.",
    no_args_is_help=True,
    add_completion=False,
)

Files = Annotated[list[Path], typer.Argument(help="Files of records.")]
How = Annotated[Protocol, typer.Option(help="How scores are made.")]


@app.command()
def run(
    data: Data,
    output: Output,
    sets: Annotated[str | None, typer.Option(help="Only these sets, comma separated names.")] = None,
    systems: Annotated[
        str, typer.Option(help="Systems, comma separated; for Table 5 the first counts.")
    ] = ",".join(plan.SYSTEMS.values()),
    what: Annotated[
        str, typer.Option(help="Of latent (Tables 2, 4), selection (Table 3), genes (Table 5).")
    ] = ",".join(plan.EXPERIMENTS),
    latent: Annotated[str, typer.Option(help="Latent dimensions, comma separated.")] = "2,10,20",
    seeds: Annotated[int, typer.Option(min=1, help="Run seeds 0 to this minus 1.")] = 1,
    protocol: How = Protocol.LABEL_FREE,
    device: Annotated[Device, typer.Option(help="Where embeddings are computed.")] = Device.CPU,
    threads: Threads = 2,
    busy: Busy = False,
    cache: Cache = CACHE,
) -> None:
    """Run what has no record yet: systems by latent sizes, selections, numbers of genes, sets and seeds."""
    from benchmarks.quality import Settings
    from benchmarks.sets import find_sets

    there = [one.name for one in find_sets(data, names(sets) if sets else None)]
    failed = 0
    for experiment in names(what):
        sizes = [10] if experiment == "selection" else [int(size) for size in names(latent)]
        methods = plan.method_names(experiment, names(systems), sizes)
        inside = [name for name in there if experiment != "selection" or name in plan.SELECTION_SETS]
        if not inside:
            continue
        settings = Settings(
            data=data,
            sets=inside,
            methods=methods,
            seeds=seeds,
            protocol=protocol.value,
            output=output,
            device=device.value,
            threads=threads,
            busy=busy,
            cache=cache,
            rerun=False,
        )
        failed += run_and_tell(settings)
    if failed:
        raise typer.Exit(1)


@app.command()
def tables(
    files: Files, protocol: How = Protocol.LABEL_FREE, markdown: Markdown = False, into: Into = None
) -> None:
    """Print Tables 2 to 5, the paper's beside ours."""
    from benchmarks.paper import tables as paper_tables

    frame, _ = _read(files, protocol)
    drawn = [paper_tables.table_2(frame, metric) for metric in ("nmi", "ari")]
    drawn += [paper_tables.by_set(frame), paper_tables.selection(frame), paper_tables.run_time(frame)]
    drawn += [paper_tables.number_of_genes(frame, size) for size in plan.LATENT]
    print_tables([table for table in drawn if table.rows], markdown, into)


@app.command()
def figures(
    files: Files,
    data: Data,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the pictures.")],
    protocol: How = Protocol.LABEL_FREE,
    pictured: Annotated[
        str | None, typer.Option("--set", help="Set of figures 6 and 7; the largest by default.")
    ] = None,
    cache: Cache = CACHE,
) -> None:
    """Draw figures 2 to 5 and 8 from records, 6 and 7 from the codes that runs left in the cache."""
    from benchmarks.paper import figures as paper_figures

    frame, records = _read(files, protocol)
    output.mkdir(parents=True, exist_ok=True)
    drawn = {"figure2": paper_figures.bars(frame, "nmi", plan.LATENT)}
    for number, metric in ((3, "ami"), (4, "homogeneity"), (5, "completeness")):
        drawn[f"figure{number}"] = paper_figures.bars(frame, metric, (10,))
    drawn |= paper_figures.pictures(frame, records, data, cache, pictured)
    drawn["figure8"] = paper_figures.selection_bars(frame)
    for name, figure in drawn.items():
        if figure.axes:
            figure.savefig(output / f"{name}.png", dpi=150)
            print(output / f"{name}.png")


def _read(files: list[Path], protocol: Protocol) -> tuple[pd.DataFrame, list[Record]]:
    """The runs of the paper's systems, and all records."""
    from benchmarks import records
    from benchmarks.paper.tables import frame_of

    found = [record for file in files for record in records.read(file)]
    return frame_of(found, protocol.value), found
