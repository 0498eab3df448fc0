"""What clusters are: marker genes and names. Heavy imports wait inside the commands."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from scrae.cli.options import Prepared, complete_column, takes
from scrae.config import Settings
from scrae.errors import ScraeError
from scrae.files import atomic_path


@takes("seed")
def markers(
    file: Prepared,
    *,
    output: Annotated[Path, typer.Option("-o", "--output", help="csv to write.")],
    cluster_key: Annotated[
        str, typer.Option(help="Column of obs with the clusters.", autocompletion=complete_column)
    ] = "scrae",
    fixed: Annotated[
        bool, typer.Option("--fixed", help="The groups were not made from these counts: test all molecules.")
    ] = False,
    all_genes: Annotated[
        bool,
        typer.Option("--all-genes", help="Show ribosomal, mitochondrial, hemoglobin and stress genes too."),
    ] = False,
    settings: Settings,
) -> None:
    """Find marker genes of the clusters and write the table."""
    from scrae import io, tl
    from scrae.tl._markers import shown

    io.try_hdf5(file)
    adata = io.read_h5ad(file)
    tl.markers(adata, cluster_key=cluster_key, split=not fixed, seed=settings.seed)
    table = adata.uns[cluster_key]["markers"]
    with atomic_path(output) as draft:
        table.to_csv(draft, index=False)
    best = shown(table, all_genes=all_genes)
    for name in table["cluster"].cat.categories:
        genes = best["gene"][best["cluster"] == name]
        typer.echo(f"{name}: {' '.join(genes.head(8)) or 'no significant gene'} ({len(genes)} genes)")


def annotate(
    path: Annotated[Path, typer.Argument(help="Folder of a run, or an h5ad with clusters.")],
    *,
    markers: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Your own lists: GMT, or csv with the columns type and gene."),
    ] = None,
    tissue: Annotated[
        str | None, typer.Option(help="Only types of these tissues, separated by commas, e.g. pancreas.")
    ] = None,
    celltypist: Annotated[
        str | None, typer.Option(metavar="MODEL", help="CellTypist model to use instead of lists.")
    ] = None,
    cluster_key: Annotated[
        str, typer.Option(help="Column of obs with the clusters of an h5ad.", autocompletion=complete_column)
    ] = "scrae",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="csv to write for an h5ad; a folder is renewed.")
    ] = None,
) -> None:
    """Suggest names of cell types for the clusters."""
    from scrae import io, tl
    from scrae.pipeline.recluster import recluster

    options: dict[str, Any] = {
        "markers": markers, "tissue": None if tissue is None else tissue.split(","), "celltypist": celltypist,
    }  # fmt: skip
    if path.is_dir():
        if output is not None or cluster_key != "scrae":
            raise ScraeError(
                f"{path} is the folder of a run, whose files are renewed: leave out -o and --cluster-key"
            )
        adata = recluster(path, annotation=options, command=shlex.join(["scrae", *sys.argv[1:]]))
    else:
        io.try_hdf5(path)
        adata = io.read_h5ad(path)
        tl.annotate(adata, cluster_key=cluster_key, **options)
    table = adata.uns[cluster_key]["annotation"]
    if output is not None:
        with atomic_path(output) as draft:
            table.to_csv(draft, index=False)
    for row in table.to_dict("records"):
        typer.echo(f"{row['cluster']}: {row['name']} ({row['score']:.2f}) {row['genes']}".rstrip())
