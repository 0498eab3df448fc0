"""What clusters are: marker genes. Heavy imports wait inside the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scrae.cli.options import Prepared, complete_column, takes
from scrae.config import Settings
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
