"""The options that commands share, and what they mean."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from scrae import config
from scrae.errors import ScraeError

if TYPE_CHECKING:
    from anndata import AnnData

    from scrae.config import Settings


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _complete_gene_selection(incomplete: str) -> list[str]:
    return _beginning(incomplete, get_args(config.GeneSelection))


def _complete_cluster_method(incomplete: str) -> list[str]:
    return _beginning(incomplete, get_args(config.ClusterMethod))


def _complete_preset(incomplete: str) -> list[str]:
    return _beginning(incomplete, ("default", "paper"))


def _complete_device(incomplete: str) -> list[str]:
    return _beginning(incomplete, ("auto", "cpu", "cuda", "mps"))


def complete_column(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete a column of obs of the h5ad that stands in the command line before."""
    import h5py

    for word in ctx.args:  # an option without its value ends the parsing; what is no option stands here then
        with suppress(OSError, KeyError), h5py.File(word) as file:
            return _beginning(incomplete, [str(name) for name in file["obs"].attrs["column-order"]])
    return []


Input = Annotated[Path, typer.Argument(help="h5ad, 10x h5, 10x mtx folder, loom, zarr, csv or tsv (.gz).")]
Prepared = Annotated[Path, typer.Argument(help="h5ad that an earlier step wrote.")]
OutputFolder = Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")]
OutputH5ad = Annotated[Path, typer.Option("-o", "--output", help="h5ad to write.")]
LabelKey = Annotated[
    str | None,
    typer.Option(help="Column of obs to score the clusters against.", autocompletion=complete_column),
]
BatchKey = Annotated[
    str | None,
    typer.Option(
        help="Column of obs with the batch that the codes are to forget, e.g. sample.",
        autocompletion=complete_column,
    ),
]
Clusters = Annotated[str, typer.Option(help="Number of clusters, or auto.", metavar="auto|K")]
ClusterMethod = Annotated[
    str | None,
    typer.Option(
        help="smoothed (K-means on codes averaged over neighbouring cells), leiden, kmeans or gmm.",
        autocompletion=_complete_cluster_method,
    ),
]
CheckSeeds = Annotated[
    int,
    typer.Option(min=0, help="Train so many models more, with the next seeds, and compare their clusters."),
]
Resolution = Annotated[float | None, typer.Option(help="Of Leiden, in place of a number of clusters.")]
Method = Annotated[
    str | None,
    typer.Option(
        "--gene-selection",
        "--method",
        help="seurat_v3, seurat, cell_ranger, pearson_residuals, deviance, m3drop, nbumi, nbumi_high_variance or "
        "scmarker.",
        autocompletion=_complete_gene_selection,
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
Backed = Annotated[
    bool | None,
    typer.Option(
        "--backed/--in-memory",
        help="Leave the counts of an h5ad or zarr in the file and read them block by block; where neither is given, "
        "if the file does not fit in memory.",
    ),
]
Transpose = Annotated[bool, typer.Option("--transpose", help="Of a csv or tsv: rows are genes.")]
Preset = Annotated[
    str,
    typer.Option(
        help="default, or paper: the published architecture and rates.", autocompletion=_complete_preset
    ),
]
Epochs = Annotated[int | None, typer.Option(help="Most passes over the cells.")]
Seed = Annotated[int, typer.Option(help="Of everything random.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.", autocompletion=_complete_device)]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a training that was stopped.")]
ModelFolder = Annotated[Path, typer.Option("--model", help="Model folder, or the folder of a run.")]


def settings_of(preset_name: str, **groups: dict[str, Any]) -> Settings:
    """Return the preset with the options that were given."""
    from scrae.config import preset

    settings = preset(preset_name)
    for group, options in groups.items():
        given = {name: value for name, value in options.items() if value is not None}
        settings = replace(settings, **{group: replace(getattr(settings, group), **given)})
    return settings


def preprocess_options(
    gene_selection: str | None,
    n_top_genes: int | None,
    min_cells: int | None,
    min_genes: int | None,
    min_counts: int | None,
    max_mito: float | None,
) -> dict[str, Any]:
    """Return the six options of preprocessing by the names of their settings."""
    return {
        "gene_selection": gene_selection,
        "n_top_genes": n_top_genes,
        "min_cells": min_cells,
        "min_genes": min_genes,
        "min_counts": min_counts,
        "max_mito": max_mito,
    }


def number_of_clusters(text: str) -> int | None:
    """Return the number that an option asks for; None for auto."""
    if text == "auto":
        return None
    if not text.isdigit() or int(text) < 1:
        raise ScraeError(f"--n-clusters: expected auto or a positive whole number, found {text!r}")
    return int(text)


def say_notes(adata: AnnData) -> None:
    """Print what was dropped or lost, in plain words."""
    for line in adata.uns.get("scrae", {}).get("notes", []):
        typer.echo(f"- {line}")


def refuse_fault(adata: AnnData, where: Path) -> None:
    """End with status 1 where training met a loss that was no number; what was good is written by now."""
    facts = adata.uns["scrae"]["train"]
    if facts["fault"]:
        raise ScraeError(f"training {facts['stopped_because']} and written to {where}")
