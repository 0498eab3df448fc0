"""``datasets``: the paper's data sets by name. Heavy imports are inside the commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scrae.cli.options import print_notes

if TYPE_CHECKING:
    from anndata import AnnData

datasets = typer.Typer(
    help="Download or convert the ten data sets of the paper.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(help="Name of the set; see: scrae datasets list.")]
Written = Annotated[Path | None, typer.Option("-o", "--output", help="h5ad to write; default NAME.h5ad.")]


@datasets.command("list")
def show() -> None:
    """List the data sets with the sizes and numbers of cell types in the paper, and how to get them."""
    from scrae.datasets import CATALOGUE

    typer.echo(f"{'name':13}{'in the paper':16}{'cells':>7}  {'genes':>6}  types  {'source':13}download")
    for entry in CATALOGUE.values():
        typer.echo(
            f"{entry.name:13}{entry.paper:16}{entry.cells:>7,}  {entry.genes:>6,}  {entry.types:>5}  "
            f"{entry.accession:13}{entry.download}"
        )
    typer.echo(
        "\nchecked: compared with known checksums\n"
        "trusted: no checksum is known; later downloads are compared with the first\n"
        "by hand: no stable address; fetch says where to look and where to put the files\n"
        "\nNext: scrae datasets fetch NAME, or scrae datasets convert NAME FILES for files that you have."
    )


@datasets.command()
def fetch(
    name: Name,
    output: Written = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder for downloads; default the user's cache folder.")
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
        list[Path],
        typer.Argument(help="The publisher's files with their original names, or folders of them."),
    ],
    output: Written = None,
) -> None:
    """Convert files that you have to h5ad; nothing is downloaded."""
    from scrae import datasets, io

    io.try_hdf5(*files)
    _write(datasets.convert(name, files), output or Path(f"{name}.h5ad"))


def _write(adata: AnnData, output: Path) -> None:
    from scrae import io

    io.write_h5ad(adata, output)
    print_notes(adata)
    typer.echo(f"{output}: {adata.n_obs} cells x {adata.n_vars} genes, labels in cell_type")
