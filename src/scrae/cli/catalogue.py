"""``datasets``: the paper's data sets by name. Heavy imports wait inside the commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scrae.cli.options import say_notes

if TYPE_CHECKING:
    from anndata import AnnData

datasets = typer.Typer(
    help="The ten data sets of the paper: where they lie, and how they become counts and labels.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(help="Name of the set; see: scrae datasets list.")]
Written = Annotated[
    Path | None, typer.Option("-o", "--output", help="h5ad to write; NAME.h5ad where not given.")
]


@datasets.command("list")
def show() -> None:
    """List the sets: sizes and numbers of types as the paper gives them, and how to get them."""
    from scrae.datasets import CATALOGUE

    typer.echo(f"{'name':13}{'in the paper':16}{'cells':>7}  {'genes':>6}  types  {'source':13}download")
    for entry in CATALOGUE.values():
        typer.echo(
            f"{entry.name:13}{entry.paper:16}{entry.cells:>7,}  {entry.genes:>6,}  {entry.types:>5}  "
            f"{entry.accession:13}{entry.download}"
        )
    typer.echo(
        "\nchecked: compared with known checksums\n"
        "trusted: no checksum is known, so that of the first download is kept and compared from then on\n"
        "by hand: no address is certain; fetch says where to look and where to put the files\n"
        "\nNext: scrae datasets fetch NAME, or scrae datasets convert NAME FILES for files that you have."
    )


@datasets.command()
def fetch(
    name: Name,
    output: Written = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of downloads; the user's cache folder where not given.")
    ] = None,
) -> None:
    """Download a data set and write it as h5ad."""
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    from scrae import datasets

    console = Console(stderr=True)
    tasks: dict[str, TaskID] = {}
    with Progress(
        TextColumn("{task.description}"), DownloadColumn(), TimeRemainingColumn(),
        console=console, disable=not console.is_terminal,
    ) as progress:  # fmt: skip

        def show_bytes(file: str, here: int, whole: int | None) -> None:
            if file not in tasks:
                tasks[file] = progress.add_task(file)
            progress.update(tasks[file], completed=here, total=whole)

        adata = datasets.fetch(name, cache=cache, on_bytes=show_bytes)
    _write(adata, output or Path(f"{name}.h5ad"))


@datasets.command()
def convert(
    name: Name,
    files: Annotated[
        list[Path], typer.Argument(help="The publisher's files under their own names, or folders of them.")
    ],
    output: Written = None,
) -> None:
    """Write a set as h5ad from files that you have; nothing is downloaded."""
    from scrae import datasets, io

    io.try_hdf5(*files)
    _write(datasets.convert(name, files), output or Path(f"{name}.h5ad"))


def _write(adata: AnnData, output: Path) -> None:
    from scrae import io

    io.write_h5ad(adata, output)
    say_notes(adata)
    typer.echo(f"{output}: {adata.n_obs} cells x {adata.n_vars} genes, labels in cell_type")
