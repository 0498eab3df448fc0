"""``demo`` and ``run``: the whole path in one command."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scrae.cli.options import (
    Config,
    OutputFolder,
    Overwrite,
    Resume,
    exit_on_fault,
    print_notes,
    print_scores,
    read_config,
    takes,
)
from scrae.config import Settings

if TYPE_CHECKING:
    from anndata import AnnData


@takes("also_2d", "tsne", "check_seeds", "seed", "device", n_top_genes=500, label_key="bulk_labels")
def demo(*, output: OutputFolder = Path("demo"), overwrite: Overwrite = False, settings: Settings) -> None:
    """Run the whole path on 700 blood cells that come with scanpy; no download."""
    from scrae.datasets import pbmc

    _run(pbmc(), output, settings, overwrite=overwrite, title="700 blood cells (PBMC) that come with scanpy")


@takes("", "preprocess", "model", "train", "cluster")
def run(
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(help="One file or folder, or several samples; those of --config if not given."),
    ] = None,
    *,
    output: OutputFolder,
    config: Config = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    settings: Settings,
) -> None:
    """Take raw counts to clusters, latent representation, figures and a report."""
    from scrae import io

    if not inputs:
        inputs = _inputs_of(config)
    io.try_hdf5(*inputs)
    _run(inputs, output, settings, resume=resume, overwrite=overwrite)


def _inputs_of(config: Path | None) -> list[Path]:
    """Return the input files that the record of a run names."""
    source = {} if config is None else read_config(config).get("input", {})
    paths = source.get("path") if isinstance(source, dict) else None
    if not paths:
        raise typer.BadParameter(
            "missing; give input files, or the run.json of a run as --config", param_hint="INPUTS"
        )
    return [Path(path) for path in ([paths] if isinstance(paths, str) else paths)]


def _run(inputs: Any, output: Path, settings: Settings, **options: Any) -> None:
    from scrae.cli.progress import Bar
    from scrae.pipeline.run import run as run_pipeline

    command = shlex.join(["scrae", *sys.argv[1:]])
    with Bar() as progress:
        adata = run_pipeline(inputs, output, settings, command=command, progress=progress, **options)
    _summary(adata, output)


def _summary(adata: AnnData, output: Path) -> None:
    facts = adata.uns["scrae"]
    print_notes(adata)
    typer.echo(f"\ncells     {adata.n_obs}")
    typer.echo(f"genes     {int(adata.var['scrae_selected'].sum())} selected of {adata.n_vars}")
    typer.echo(f"training  {facts['train']['epochs']} epochs: {facts['train']['stopped_because']}")
    typer.echo(f"clusters  {facts['clusters']['n_clusters']}")
    print_scores(adata)
    typer.echo(f"report    {output / 'report.html'}")
    exit_on_fault(adata, output)
