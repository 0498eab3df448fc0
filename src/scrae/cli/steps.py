"""The path a step at a time. Heavy imports wait inside the commands."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scrae.cli.options import (
    Input,
    ModelFolder,
    OutputFolder,
    OutputH5ad,
    Prepared,
    Resume,
    complete_column,
    exit_on_fault,
    print_notes,
    takes,
    warn_if_stale,
)
from scrae.config import Settings
from scrae.files import atomic_path, exclusive_lock

if TYPE_CHECKING:
    from scrae.core.model import SCRAE


@takes("preprocess", "layer", "transpose", "round", "backed")
def preprocess(file: Input, *, output: OutputH5ad, settings: Settings) -> None:
    """Filter, normalize and select genes."""
    from scrae import io
    from scrae.pipeline.memory_plan import plan_memory
    from scrae.pipeline.run import preprocess, read_counts

    io.try_hdf5(file)
    adata = read_counts([file], settings, plan_memory([file], settings))
    preprocess(adata, settings.preprocess)
    io.write_h5ad(adata, output)
    warn_if_stale(output)
    print_notes(adata)


@takes("gene_selection", "n_top_genes", "min_cells", "layer", "transpose", "round", "backed")
def genes(
    file: Input,
    *,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="csv to write: gene, score, rank, selected.")
    ],
    fdr: Annotated[
        float | None,
        typer.Option(help="False discovery rate of m3drop or nbumi, instead of a number of genes."),
    ] = None,
    batch_key: Annotated[
        str | None,
        typer.Option(
            help="Column of obs: genes are ranked within its batches.", autocompletion=complete_column
        ),
    ] = None,
    settings: Settings,
) -> None:
    """Select genes and write the table."""
    from scrae import io, pp
    from scrae.pipeline.memory_plan import plan_memory

    config = settings.preprocess
    method, number = config.gene_selection, config.n_top_genes
    io.try_hdf5(file)
    if plan_memory([file], settings).streamed:
        adata = pp.select_genes_of_file(
            file,
            method=method,
            n_top_genes=number,
            fdr=fdr,
            batch_key=batch_key,
            min_cells=config.min_cells,
            layer=settings.layer,
        )
    else:
        adata = io.read(file, layer=settings.layer, transpose=settings.transpose, round=settings.round)
        pp.filter(adata, min_cells=config.min_cells)
        pp.normalize(adata)
        pp.select_genes(adata, method=method, n_top_genes=number, fdr=fdr, batch_key=batch_key)
    table = adata.var[["scrae_score", "scrae_rank", "scrae_selected"]]
    with atomic_path(output) as draft:
        table.sort_values("scrae_rank").to_csv(
            draft, index_label="gene", header=["score", "rank", "selected"]
        )
    print_notes(adata)


@takes("batch_key", "model", "train", "seed", "device")
def train(
    file: Prepared,
    *,
    output: Annotated[Path, typer.Option("-o", "--output", help="Model folder to write.")],
    resume: Resume = False,
    settings: Settings,
) -> None:
    """Train a model on a prepared h5ad; by several processes if torchrun starts them."""
    from scrae import io, tl
    from scrae.cli.progress import Bar
    from scrae.core.checkpoint import TRAINING_FILE, Checkpoint
    from scrae.core.device import resolve_device
    from scrae.core.distributed import joined
    from scrae.core.model_io import save

    checkpoint = Checkpoint(path=output / TRAINING_FILE, resume=resume)
    checkpoint.refuse_unfinished()
    device = resolve_device(settings.device)
    with joined(device) as processes, nullcontext() if processes.rank else exclusive_lock(output):
        first = not processes.rank
        if resume and first and not checkpoint.path.exists():
            typer.echo(f"{output}: no unfinished training found; starting a new one.")
        io.try_hdf5(file)
        adata = io.read_h5ad(file)
        if processes.size > 1:  # each process keeps its shard of the cells
            adata = adata[processes.rank :: processes.size].copy()
        with Bar(shown=first) as progress:
            progress.on_stage("train")
            model = tl.train(
                adata,
                settings.model,
                settings.train,
                seed=settings.seed,
                batch_key=settings.batch_key,
                device=processes.device,
                checkpoint=checkpoint,
                on_epoch=progress.on_epoch,
                processes=processes,
            )
        if not first:
            return
        with atomic_path(output) as draft:
            save(model, draft)
    exit_on_fault(adata, output)
    facts = adata.uns["scrae"]["train"]
    typer.echo(f"{facts['epochs']} epochs: {facts['stopped_because']}.")


@takes("layer", "transpose", "round")
def embed(
    file: Input,
    model: ModelFolder,
    *,
    output: OutputH5ad,
    settings: Settings,
    refine: Annotated[
        bool, typer.Option("--refine", help="Refine the codes, for cells with few molecules.")
    ] = False,
) -> None:
    """Embed cells, also new ones, with a trained model."""
    from scrae import io, tl

    io.try_hdf5(file)
    adata = io.read(file, layer=settings.layer, transpose=settings.transpose, round=settings.round)
    tl.embed(adata, _load(model), refine=refine)
    io.write_h5ad(adata, output)
    warn_if_stale(output)
    print_notes(adata)


@takes("cluster", "seed")
def cluster(file: Prepared, *, output: OutputH5ad, settings: Settings) -> None:
    """Cluster embedded cells."""
    from scrae import io, tl

    io.try_hdf5(file)
    adata = io.read_h5ad(file)
    tl.cluster(adata, **vars(settings.cluster), seed=settings.seed)
    io.write_h5ad(adata, output)
    warn_if_stale(output)
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


@takes("label_key", "tsne", "seed")
def plot(file: Prepared, *, output: OutputFolder, settings: Settings) -> None:
    """Draw every figure whose slots the h5ad has."""
    from scrae import io, pl, tl

    io.try_hdf5(file)
    adata = io.read_h5ad(file)
    missing = "X_umap" not in adata.obsm or (settings.tsne and "X_tsne" not in adata.obsm)
    if missing and "X_scrae" in adata.obsm:
        tl.project(adata, tsne=settings.tsne, seed=settings.seed)
    for path in pl.save_figures(adata, output, label_key=settings.label_key):
        typer.echo(path)


def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a run.")],
    generate: Annotated[
        int, typer.Option(metavar="N", min=0, help="Show N simulated cells beside the measured ones.")
    ] = 0,
) -> None:
    """Write report.html again from the files of a run."""
    from scrae import io
    from scrae.report import build

    io.try_hdf5(folder / "result.h5ad")
    typer.echo(build(folder, generate=generate))


def _load(folder: Path) -> SCRAE:
    from scrae.core.model_io import load

    return load(folder / "model" if (folder / "model").is_dir() else folder)
