"""``demo`` and ``run``: the whole path by one command."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scrae.cli.options import (
    Backed,
    BatchKey,
    CheckSeeds,
    ClusterMethod,
    Clusters,
    Device,
    Epochs,
    LabelKey,
    Latent,
    Layer,
    MaxMito,
    Method,
    MinCells,
    MinCounts,
    MinGenes,
    OutputFolder,
    Preset,
    Resolution,
    Resume,
    Seed,
    TopGenes,
    Transpose,
    number_of_clusters,
    preprocess_options,
    refuse_fault,
    say_notes,
    settings_of,
)

if TYPE_CHECKING:
    from anndata import AnnData


def demo(
    output: OutputFolder = Path("demo"),
    seed: Seed = 0,
    device: Device = "auto",
    also_2d: bool = False,
    check_seeds: CheckSeeds = 0,
) -> None:
    """Run the whole path on 700 real blood cells that come with scanpy; no download."""
    from scrae.cli.progress import progress_bar
    from scrae.datasets import pbmc
    from scrae.pipeline.run import run as run_pipeline

    settings = settings_of(
        "default", preprocess={"n_top_genes": 500}, train={"seed": seed}, cluster={"n_clusters": 10}
    )
    title = "700 blood cells (PBMC) that come with scanpy"
    with progress_bar() as progress:
        adata = run_pipeline(
            pbmc(),
            output,
            settings,
            title=title,
            label_key="bulk_labels",
            also_2d=also_2d,
            check_seeds=check_seeds,
            device=device,
            command=_command(),
            progress=progress,
        )
    _summary(adata, output)


def run(
    inputs: Annotated[list[Path], typer.Argument(help="One file or folder; several are several samples.")],
    output: OutputFolder,
    label_key: LabelKey = None,
    batch_key: BatchKey = None,
    n_clusters: Clusters = "auto",
    cluster_method: ClusterMethod = None,
    resolution: Resolution = None,
    gene_selection: Method = None,
    n_top_genes: TopGenes = None,
    n_latent: Latent = None,
    also_2d: Annotated[
        bool, typer.Option(help="Train a second, two-dimensional model for a picture.")
    ] = False,
    check_seeds: CheckSeeds = 0,
    min_cells: MinCells = None,
    min_genes: MinGenes = None,
    min_counts: MinCounts = None,
    max_mito: MaxMito = None,
    layer: Layer = None,
    transpose: Transpose = False,
    backed: Backed = None,
    preset: Preset = "default",
    max_epochs: Epochs = None,
    seed: Seed = 0,
    device: Device = "auto",
    resume: Resume = False,
) -> None:
    """Take raw counts to clusters, codes, pictures and a report."""
    from scrae import io
    from scrae.cli.progress import progress_bar
    from scrae.pipeline.run import run as run_pipeline

    settings = settings_of(
        preset,
        preprocess=preprocess_options(
            gene_selection, n_top_genes, min_cells, min_genes, min_counts, max_mito
        ),
        model={"n_latent": n_latent},
        train={"max_epochs": max_epochs, "seed": seed},
        cluster={
            "n_clusters": number_of_clusters(n_clusters),
            "method": cluster_method,
            "resolution": resolution,
        },
    )
    io.try_hdf5(*inputs)
    with progress_bar() as progress:
        adata = run_pipeline(
            list(inputs),
            output,
            settings,
            label_key=label_key,
            batch_key=batch_key,
            layer=layer,
            transpose=transpose,
            backed=backed,
            also_2d=also_2d,
            check_seeds=check_seeds,
            device=device,
            resume=resume,
            command=_command(),
            progress=progress,
        )
    _summary(adata, output)


def _command() -> str:
    return shlex.join(["scrae", *sys.argv[1:]])


def _summary(adata: AnnData, output: Path) -> None:
    facts = adata.uns["scrae"]
    say_notes(adata)
    typer.echo(f"\ncells     {adata.n_obs}")
    typer.echo(f"genes     {int(adata.var['scrae_selected'].sum())} modelled of {adata.n_vars}")
    typer.echo(f"training  {facts['train']['epochs']} epochs: {facts['train']['stopped_because']}")
    typer.echo(f"clusters  {facts['clusters']['n_clusters']}")
    if "scores" in facts:
        scores = {name: value for name, value in facts["scores"].items() if name != "label_key"}
        typer.echo(
            f"scores    {'  '.join(f'{n} {v:.3f}' for n, v in scores.items())}  ({facts['scores']['label_key']})"
        )
    typer.echo(f"report    {output / 'report.html'}")
    refuse_fault(adata, output)
