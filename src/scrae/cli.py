"""The command line. Heavy imports wait inside the commands, so that ``--help`` is instant."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .errors import ScraeError

if TYPE_CHECKING:
    from anndata import AnnData

    from .config import Settings
    from .model import SCRAE

app = typer.Typer(
    name="scrae",
    help="Clusters and latent spaces of single cells from raw counts, without labels.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Input = Annotated[Path, typer.Argument(help="h5ad, 10x h5, 10x mtx folder, loom, zarr, csv or tsv (.gz).")]
Prepared = Annotated[Path, typer.Argument(help="h5ad that an earlier step wrote.")]
OutputFolder = Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")]
OutputH5ad = Annotated[Path, typer.Option("-o", "--output", help="h5ad to write.")]
LabelKey = Annotated[str | None, typer.Option(help="Column of obs to score the clusters against.")]
Clusters = Annotated[str, typer.Option(help="Number of clusters, or auto.", metavar="auto|K")]
Method = Annotated[
    str | None,
    typer.Option(
        "--gene-selection",
        "--method",
        help="seurat_v3, seurat, cell_ranger, pearson_residuals, deviance, m3drop, nbumi, nbumi_high_variance or "
        "scmarker.",
    ),
]
TopGenes = Annotated[int | None, typer.Option(help="How many genes to model.")]
Latent = Annotated[int | None, typer.Option(help="Dimensions of the latent code.")]
MinCells = Annotated[int | None, typer.Option(help="Keep genes seen in at least this many cells.")]
MinGenes = Annotated[int | None, typer.Option(help="Keep cells with at least this many genes.")]
MinCounts = Annotated[int | None, typer.Option(help="Keep cells with at least this many counts.")]
MaxMito = Annotated[
    float | None, typer.Option(help="Keep cells with at most this mitochondrial share (0 to 1).")
]
Layer = Annotated[str | None, typer.Option(help="Layer with the raw counts; looked for where not given.")]
Preset = Annotated[str, typer.Option(help="default, or paper: the published architecture and rates.")]
Epochs = Annotated[int | None, typer.Option(help="Most passes over the cells.")]
Seed = Annotated[int, typer.Option(help="Of everything random.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
ModelFolder = Annotated[Path, typer.Option("--model", help="Model folder, or the folder of a run.")]


@app.callback()
def _options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a known error.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    from . import __version__

    if version:
        typer.echo(__version__)
        raise typer.Exit
    context.obj = {"debug": debug}


@app.command()
def demo(
    output: OutputFolder = Path("demo"), seed: Seed = 0, device: Device = "auto", also_2d: bool = False
) -> None:
    """Run the whole path on 700 real blood cells that come with scanpy; no download."""
    from .config import Settings
    from .datasets import pbmc

    settings = Settings()
    settings = replace(
        settings,
        train=replace(settings.train, seed=seed),
        cluster=replace(settings.cluster, n_clusters=10),
    )
    _run(pbmc(), output, settings, label_key="bulk_labels", layer=None, also_2d=also_2d, device=device)


@app.command()
def run(
    inputs: Annotated[list[Path], typer.Argument(help="One file or folder; several are several samples.")],
    output: OutputFolder,
    label_key: LabelKey = None,
    n_clusters: Clusters = "auto",
    gene_selection: Method = None,
    n_top_genes: TopGenes = None,
    n_latent: Latent = None,
    also_2d: Annotated[
        bool, typer.Option(help="Train a second, two-dimensional model for a picture.")
    ] = False,
    min_cells: MinCells = None,
    min_genes: MinGenes = None,
    min_counts: MinCounts = None,
    max_mito: MaxMito = None,
    layer: Layer = None,
    preset: Preset = "default",
    max_epochs: Epochs = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Take raw counts to clusters, codes, pictures and a report."""
    settings = _settings(
        preset,
        preprocess={
            "gene_selection": gene_selection,
            "n_top_genes": n_top_genes,
            "min_cells": min_cells,
            "min_genes": min_genes,
            "min_counts": min_counts,
            "max_mito": max_mito,
        },
        model={"n_latent": n_latent},
        train={"max_epochs": max_epochs, "seed": seed},
        cluster={"n_clusters": _number_of_clusters(n_clusters)},
    )
    _run(list(inputs), output, settings, label_key=label_key, layer=layer, also_2d=also_2d, device=device)


@app.command()
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
    preset: Preset = "default",
) -> None:
    """Filter, normalise and select genes."""
    from . import io, pp

    pre = _settings(
        preset,
        preprocess={
            "gene_selection": gene_selection,
            "n_top_genes": n_top_genes,
            "min_cells": min_cells,
            "min_genes": min_genes,
            "min_counts": min_counts,
            "max_mito": max_mito,
        },
    ).preprocess
    adata = io.read(file, layer=layer, min_counts=pre.min_counts)
    pp.filter(
        adata,
        min_cells=pre.min_cells,
        min_genes=pre.min_genes,
        min_counts=pre.min_counts,
        max_mito=pre.max_mito,
    )
    pp.normalize(adata)
    pp.select_genes(adata, method=pre.gene_selection, n_top_genes=pre.n_top_genes)
    io.write_h5ad(adata, output)
    _say_notes(adata)


@app.command()
def genes(
    file: Input,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="csv to write: gene, score, rank, selected.")
    ],
    method: Method = "m3drop",
    n_top_genes: TopGenes = None,
    fdr: Annotated[float | None, typer.Option(help="The method's own threshold instead of a number.")] = None,
    min_cells: MinCells = 10,
    layer: Layer = None,
) -> None:
    """Select genes and write the table."""
    from . import io, pp

    adata = io.read(file, layer=layer)
    pp.filter(adata, min_cells=min_cells or 0)
    pp.normalize(adata)
    number = 2000 if n_top_genes is None and fdr is None else n_top_genes
    pp.select_genes(adata, method=method or "m3drop", n_top_genes=number, fdr=fdr)
    table = adata.var[["scrae_score", "scrae_rank", "scrae_selected"]]
    with io.atomic_path(output) as draft:
        table.sort_values("scrae_rank").to_csv(
            draft, index_label="gene", header=["score", "rank", "selected"]
        )
    _say_notes(adata)


@app.command()
def train(
    file: Prepared,
    output: Annotated[Path, typer.Option("-o", "--output", help="Model folder to write.")],
    n_latent: Latent = None,
    preset: Preset = "default",
    max_epochs: Epochs = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Train a model on a prepared h5ad."""
    from . import io, tl
    from .checkpoint import save
    from .pipeline import resolve_device

    settings = _settings(preset, model={"n_latent": n_latent}, train={"max_epochs": max_epochs, "seed": seed})
    adata = io.read_h5ad(file)
    with _progress() as progress:
        progress.stage("train")
        most = settings.train.max_epochs
        model = tl.train(
            adata,
            settings.model,
            settings.train,
            device=resolve_device(device),
            on_epoch=lambda e: progress.epoch(e, most),
        )
    with io.atomic_path(output) as draft:
        save(model, draft)
    facts = adata.uns["scrae"]["train"]
    typer.echo(f"{facts['epochs']} epochs: {facts['stopped_because']}.")


@app.command()
def embed(file: Input, model: ModelFolder, output: OutputH5ad, layer: Layer = None) -> None:
    """Embed cells, also new ones, with a trained model."""
    from . import io, tl

    adata = io.read(file, layer=layer)
    tl.embed(adata, _load(model))
    io.write_h5ad(adata, output)
    _say_notes(adata)


@app.command()
def cluster(file: Prepared, output: OutputH5ad, n_clusters: Clusters = "auto", seed: Seed = 0) -> None:
    """Cluster embedded cells."""
    from . import io, tl

    adata = io.read_h5ad(file)
    tl.cluster(adata, n_clusters=_number_of_clusters(n_clusters), seed=seed)
    io.write_h5ad(adata, output)
    typer.echo(f"{adata.uns['scrae']['clusters']['n_clusters']} clusters.")


@app.command()
def score(file: Prepared, label_key: Annotated[str, typer.Option(help="Column of obs with labels.")]) -> None:
    """Score the clusters of an h5ad against labels."""
    from . import io, tl

    for name, value in tl.score(io.read_h5ad(file), label_key).items():
        typer.echo(f"{name:14s}{value:.4f}")


@app.command()
def plot(file: Prepared, output: OutputFolder, label_key: LabelKey = None, seed: Seed = 0) -> None:
    """Draw every picture that an h5ad has the slots for."""
    from . import io, pl, tl

    adata = io.read_h5ad(file)
    if "X_umap_scrae" not in adata.obsm and "X_scrae" in adata.obsm:
        tl.project(adata, seed=seed)
    for path in pl.save_figures(adata, output, label_key=label_key):
        typer.echo(path)


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="Folder of a run.")]) -> None:
    """Write report.html again from what a run wrote."""
    from .report import build

    typer.echo(build(folder))


@app.command()
def info(file: Input) -> None:
    """Say what is in a file, and what to run on it."""
    from . import io

    adata = io.read(file, min_counts=0)
    counts = adata.layers["counts"]
    typer.echo(
        f"{file}: {adata.n_obs} cells x {adata.n_vars} genes, {counts.nnz / (adata.n_obs * adata.n_vars):.1%} nonzero"
    )
    _say_notes(adata)
    for name, column in adata.obs.items():
        values = column.nunique()
        typer.echo(f"  obs {name!r}: {values} different values, e.g. {column.iloc[0]}")
    label = next((n for n, c in adata.obs.items() if 1 < c.nunique() <= 100), None)
    hint = f" --label-key {shlex.quote(str(label))}" if label else ""
    typer.echo(f"\nTry: scrae run {shlex.quote(str(file))} -o out{hint}")


def main() -> None:
    """Run the command line: exit 0 fine, 1 a known error in one line, 2 usage."""
    try:
        app()
    except ScraeError as error:
        if "--debug" in sys.argv:
            raise
        typer.echo(f"scrae: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.echo("scrae: stopped", err=True)
        sys.exit(130)


def _run(inputs: Any, output: Path, settings: Settings, **options: Any) -> None:
    from .pipeline import run as run_pipeline

    command = shlex.join(["scrae", *sys.argv[1:]])
    with _progress() as progress:
        adata = run_pipeline(inputs, output, settings, command=command, progress=progress, **options)
    _summary(adata, output)


def _settings(preset_name: str, **groups: dict[str, Any]) -> Settings:
    """Return the preset with the options that were given."""
    from .config import preset

    settings = preset(preset_name)
    for group, options in groups.items():
        given = {name: value for name, value in options.items() if value is not None}
        settings = replace(settings, **{group: replace(getattr(settings, group), **given)})
    return settings


def _number_of_clusters(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdigit() or int(text) < 1:
        raise ScraeError(f"--n-clusters: expected auto or a positive whole number, found {text!r}")
    return int(text)


def _load(folder: Path) -> SCRAE:
    from .checkpoint import load

    return load(folder / "model" if (folder / "model").is_dir() else folder)


def _say_notes(adata: AnnData) -> None:
    for line in adata.uns.get("scrae", {}).get("notes", []):
        typer.echo(f"- {line}")


@contextmanager
def _progress() -> Iterator[Any]:
    from .progress import Bar

    with Bar() as bar:
        yield bar


def _summary(adata: AnnData, output: Path) -> None:
    facts = adata.uns["scrae"]
    _say_notes(adata)
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
