"""Samples and conditions. Heavy imports wait inside the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scrae.cli.options import OutputH5ad, Prepared, complete_column
from scrae.files import atomic_path

__all__ = ["composition", "de", "pseudobulk"]

SampleKey = Annotated[str, typer.Option(help="Column of obs with samples.", autocompletion=complete_column)]
ClusterKey = Annotated[
    str, typer.Option(help="Column of obs with the clusters.", autocompletion=complete_column)
]
Csv = Annotated[Path, typer.Option("-o", "--output", help="csv to write.")]
MinCells = Annotated[int, typer.Option(min=1, help="Leave out samples with fewer cells in a cluster.")]


def pseudobulk(
    file: Prepared,
    *,
    output: OutputH5ad,
    sample_key: SampleKey,
    condition_key: Annotated[
        str | None, typer.Option(help="Column of obs with conditions.", autocompletion=complete_column)
    ] = None,
    cluster_key: ClusterKey = "scrae",
    min_cells: MinCells = 10,
) -> None:
    """Sum the counts of each sample in each cluster."""
    from scrae import io, tl

    io.try_hdf5(file)
    sums = tl.pseudobulk(
        io.read_h5ad(file),
        sample_key=sample_key,
        condition_key=condition_key,
        cluster_key=cluster_key,
        min_cells=min_cells,
    )
    io.write_h5ad(sums, output)
    typer.echo(f"{output}: {sums.n_obs} sums over {sums.n_vars} genes")


def de(
    file: Prepared,
    *,
    output: Csv,
    condition_key: Annotated[
        str, typer.Option(help="Column of obs with conditions.", autocompletion=complete_column)
    ],
    sample_key: SampleKey,
    reference: Annotated[str | None, typer.Option(help="Condition to compare with.")] = None,
    condition: Annotated[str | None, typer.Option(help="Condition to test.")] = None,
    cluster_key: ClusterKey = "scrae",
    min_cells: MinCells = 10,
) -> None:
    """Test which genes differ between two conditions within each cluster, with samples as replicates."""
    from scrae import io, tl

    if (reference is None) != (condition is None):
        raise typer.BadParameter("--condition and --reference belong together: give both or none")
    io.try_hdf5(file)
    adata = io.read_h5ad(file)
    tl.differential_expression(
        adata,
        condition_key=condition_key,
        sample_key=sample_key,
        contrast=None if reference is None or condition is None else (condition, reference),
        cluster_key=cluster_key,
        min_cells=min_cells,
    )
    table = adata.uns[cluster_key]["differential_expression"]
    with atomic_path(output) as draft:
        table.to_csv(draft, index=False)
    for name, part in table.groupby("cluster", observed=True):
        genes = part["gene"][part["fdr"] <= 0.05]
        typer.echo(f"{name}: {len(genes)} genes at 5 % FDR: {' '.join(genes.head(8))}".rstrip(": "))
    for line in adata.uns.get("scrae", {}).get("notes", []):
        if str(line).startswith("Conditions:"):
            typer.echo(f"- {line}")


def composition(
    file: Prepared, *, output: Csv, sample_key: SampleKey, cluster_key: ClusterKey = "scrae"
) -> None:
    """Write the share of each cluster in each sample, with intervals."""
    from scrae import io, tl

    io.try_hdf5(file)
    table = tl.composition(io.read_h5ad(file), sample_key=sample_key, cluster_key=cluster_key)
    with atomic_path(output) as draft:
        table.to_csv(draft, index=False)
    typer.echo(f"{output}: {table['sample'].nunique()} samples, {table['cluster'].nunique()} clusters")
