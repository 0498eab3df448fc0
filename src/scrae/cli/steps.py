"""The same path a step at a time. Heavy imports wait inside the commands."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scrae.cli.options import (
    BatchKey,
    ClusterMethod,
    Clusters,
    Device,
    Epochs,
    Input,
    LabelKey,
    Latent,
    Layer,
    MaxMito,
    Method,
    MinCells,
    MinCounts,
    MinGenes,
    ModelFolder,
    OutputFolder,
    OutputH5ad,
    Prepared,
    Preset,
    Resolution,
    Resume,
    Seed,
    TopGenes,
    Transpose,
    complete_column,
    number_of_clusters,
    preprocess_options,
    refuse_fault,
    say_notes,
    settings_of,
)
from scrae.errors import ScraeError
from scrae.files import atomic_path, exclusive_lock

if TYPE_CHECKING:
    from scrae.core.model import SCRAE


def preprocess(
    file: Input,
    output: OutputH5ad,
    gene_selection: Method = None,
    n_top_genes: TopGenes = None,
    min_cells: MinCells = None,
    min_genes: MinGenes = None,
    min_counts: MinCounts = None,
    max_mito: MaxMito = None,
    layer: Layer = None,
    transpose: Transpose = False,
    backed: Annotated[
        bool, typer.Option("--backed", help="Leave the counts in the file; write the selected genes alone.")
    ] = False,
    preset: Preset = "default",
) -> None:
    """Filter, normalise and select genes."""
    from scrae import io
    from scrae.pipeline import run as pipeline

    pre = settings_of(
        preset,
        preprocess=preprocess_options(
            gene_selection, n_top_genes, min_cells, min_genes, min_counts, max_mito
        ),
    ).preprocess
    io.try_hdf5(file)
    if backed:
        _refuse_transpose(transpose)
        adata = io.open_backed(file, layer=layer)
    else:
        adata = io.read(file, layer=layer, min_counts=pre.min_counts, transpose=transpose)
    pipeline.preprocess(adata, pre)
    io.write_h5ad(adata, output)
    say_notes(adata)


def genes(
    file: Input,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="csv to write: gene, score, rank, selected.")
    ],
    method: Method = "m3drop",
    n_top_genes: TopGenes = None,
    fdr: Annotated[float | None, typer.Option(help="The method's own threshold instead of a number.")] = None,
    batch_key: Annotated[
        str | None,
        typer.Option(
            help="Column of obs: genes are ranked within its batches.", autocompletion=complete_column
        ),
    ] = None,
    min_cells: MinCells = 10,
    layer: Layer = None,
    transpose: Transpose = False,
    backed: Annotated[
        bool,
        typer.Option(
            "--backed", help="Leave the counts of an h5ad or zarr in the file and read them block by block."
        ),
    ] = False,
) -> None:
    """Select genes and write the table."""
    from scrae import io, pp

    if backed:
        _refuse_transpose(transpose)
    method, min_cells = method or "m3drop", min_cells or 0
    number = 2000 if n_top_genes is None and fdr is None else n_top_genes
    io.try_hdf5(file)
    if backed:
        adata = pp.select_genes_of_file(
            file,
            method=method,
            n_top_genes=number,
            fdr=fdr,
            batch_key=batch_key,
            min_cells=min_cells,
            layer=layer,
        )
    else:
        adata = io.read(file, layer=layer, transpose=transpose)
        pp.filter(adata, min_cells=min_cells)
        pp.normalize(adata)
        pp.select_genes(adata, method=method, n_top_genes=number, fdr=fdr, batch_key=batch_key)
    table = adata.var[["scrae_score", "scrae_rank", "scrae_selected"]]
    with atomic_path(output) as draft:
        table.sort_values("scrae_rank").to_csv(
            draft, index_label="gene", header=["score", "rank", "selected"]
        )
    say_notes(adata)


def train(
    file: Prepared,
    output: Annotated[Path, typer.Option("-o", "--output", help="Model folder to write.")],
    batch_key: BatchKey = None,
    n_latent: Latent = None,
    preset: Preset = "default",
    max_epochs: Epochs = None,
    seed: Seed = 0,
    device: Device = "auto",
    resume: Resume = False,
) -> None:
    """Train a model on a prepared h5ad; by several processes where torchrun starts them."""
    from scrae import io, tl
    from scrae.cli.progress import progress_bar
    from scrae.core.fit import TRAINING_FILE, Checkpoint
    from scrae.core.model_io import save
    from scrae.core.ranks import joined
    from scrae.pipeline.run import resolve_device

    settings = settings_of(
        preset, model={"n_latent": n_latent}, train={"max_epochs": max_epochs, "seed": seed}
    )
    checkpoint = Checkpoint(path=output / TRAINING_FILE, resume=resume)
    checkpoint.refuse_unfinished()
    with joined(resolve_device(device)) as ranks, nullcontext() if ranks.rank else exclusive_lock(output):
        if resume and not ranks.rank and not checkpoint.path.exists():
            typer.echo(f"{output} holds no unfinished training; this one begins at its start.")
        io.try_hdf5(file)
        adata = io.read_h5ad(file)
        with progress_bar(shown=not ranks.rank) as progress:
            progress.stage("train")
            model = tl.train(
                adata,
                settings.model,
                settings.train,
                batch_key=batch_key,
                device=ranks.device,
                checkpoint=checkpoint,
                on_epoch=progress.epoch,
                ranks=ranks,
            )
        if ranks.rank:  # the first process writes
            return
        with atomic_path(output) as draft:
            save(model, draft)
    refuse_fault(adata, output)
    facts = adata.uns["scrae"]["train"]
    typer.echo(f"{facts['epochs']} epochs: {facts['stopped_because']}.")


def embed(
    file: Input,
    model: ModelFolder,
    output: OutputH5ad,
    layer: Layer = None,
    transpose: Transpose = False,
) -> None:
    """Embed cells, also new ones, with a trained model."""
    from scrae import io, tl

    io.try_hdf5(file)
    adata = io.read(file, layer=layer, transpose=transpose)
    tl.embed(adata, _load(model))
    io.write_h5ad(adata, output)
    say_notes(adata)


def cluster(
    file: Prepared,
    output: OutputH5ad,
    n_clusters: Clusters = "auto",
    cluster_method: ClusterMethod = None,
    resolution: Resolution = None,
    seed: Seed = 0,
) -> None:
    """Cluster embedded cells."""
    from scrae import io, tl

    config = settings_of(
        "default",
        cluster={
            "n_clusters": number_of_clusters(n_clusters),
            "method": cluster_method,
            "resolution": resolution,
        },
    ).cluster

    io.try_hdf5(file)
    adata = io.read_h5ad(file)
    tl.cluster(
        adata, n_clusters=config.n_clusters, method=config.method, resolution=config.resolution, seed=seed
    )
    io.write_h5ad(adata, output)
    typer.echo(f"{adata.uns['scrae']['clusters']['n_clusters']} clusters.")


def score(
    file: Prepared,
    label_key: Annotated[
        str, typer.Option(help="Column of obs with labels.", autocompletion=complete_column)
    ],
) -> None:
    """Score the clusters of an h5ad against labels."""
    from scrae import io, tl

    io.try_hdf5(file)
    for name, value in tl.score(io.read_h5ad(file), label_key).items():
        typer.echo(f"{name:14s}{value:.4f}")


def plot(file: Prepared, output: OutputFolder, label_key: LabelKey = None, seed: Seed = 0) -> None:
    """Draw every picture that an h5ad has the slots for."""
    from scrae import io, pl, tl

    io.try_hdf5(file)
    adata = io.read_h5ad(file)
    if "X_umap_scrae" not in adata.obsm and "X_scrae" in adata.obsm:
        tl.project(adata, seed=seed)
    for path in pl.save_figures(adata, output, label_key=label_key):
        typer.echo(path)


def report(folder: Annotated[Path, typer.Argument(help="Folder of a run.")]) -> None:
    """Write report.html again from what a run wrote."""
    from scrae import io
    from scrae.report import build

    io.try_hdf5(folder / "result.h5ad")
    typer.echo(build(folder))


def _refuse_transpose(transpose: bool) -> None:
    if transpose:
        raise ScraeError("--backed reads h5ad and zarr, and --transpose is for csv and tsv: leave one out")


def _load(folder: Path) -> SCRAE:
    from scrae.core.model_io import load

    return load(folder / "model" if (folder / "model").is_dir() else folder)
