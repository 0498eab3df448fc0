"""Samples and conditions. Heavy imports wait inside the commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scrae.cli.options import OutputH5ad, Prepared, complete_column, refuse_mixed
from scrae.files import atomic_path

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["composition", "de", "pseudobulk"]

SampleKey = Annotated[str, typer.Option(help="Column of obs with samples.", autocompletion=complete_column)]
ConditionKey = Annotated[
    str | None, typer.Option(help="Column of obs with conditions.", autocompletion=complete_column)
]
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
    condition_key: ConditionKey = None,
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
    path: Annotated[Path, typer.Argument(help="Folder of a run, or an h5ad with clusters.")],
    *,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="csv to write for an h5ad; a folder is renewed.")
    ] = None,
    condition_key: Annotated[
        str, typer.Option(help="Column of obs with conditions.", autocompletion=complete_column)
    ],
    sample_key: SampleKey,
    reference: Annotated[str | None, typer.Option(help="Condition to compare with.")] = None,
    condition: Annotated[str | None, typer.Option(help="Condition to test.")] = None,
    cluster_key: ClusterKey = "scrae",
    min_cells: MinCells = 10,
) -> None:
    """Test which genes differ between two conditions within each cluster, with samples as replicates.

    In the folder of a run, this also adds the composition of the samples, and both to the report.
    """
    if (reference is None) != (condition is None):
        raise typer.BadParameter("--condition and --reference belong together: give both or none")
    refuse_mixed(path, output, cluster_key, "de")
    options: dict[str, Any] = {
        "condition_key": condition_key,
        "sample_key": sample_key,
        "contrast": None if reference is None or condition is None else (condition, reference),
        "min_cells": min_cells,
    }
    from scrae.report import count_genes

    adata = _of_folder(path, options) if output is None else _of_file(path, output, cluster_key, options)
    facts = adata.uns[cluster_key]
    if "differential_expression" in facts:
        for row in count_genes(facts["differential_expression"]):
            typer.echo(
                f"{row['cluster']}: {row['n_up'] + row['n_down']} genes at 5 % FDR; higher: "
                f"{' '.join(row['up']) or 'none'}; lower: {' '.join(row['down']) or 'none'}"
            )
    for line in adata.uns.get("scrae", {}).get("notes", []):
        if str(line).startswith("Conditions:"):
            typer.echo(f"- {line}")


def _of_folder(folder: Path, options: dict[str, Any]) -> AnnData:
    from scrae import io
    from scrae.pipeline.conditions import compare_conditions

    io.try_hdf5(folder / "result.h5ad")
    adata = compare_conditions(folder, **options)
    if refused := adata.uns["scrae"]["conditions"]["refused"]:
        typer.echo(refused)
    typer.echo(f"report    {folder / 'report.html'}")
    return adata


def _of_file(file: Path, output: Path, cluster_key: str, options: dict[str, Any]) -> AnnData:
    from scrae import io, tl

    io.try_hdf5(file)
    adata = io.read_h5ad(file)
    tl.differential_expression(adata, cluster_key=cluster_key, **options)
    with atomic_path(output) as draft:
        adata.uns[cluster_key]["differential_expression"].to_csv(draft, index=False)
    return adata


def composition(
    file: Prepared,
    *,
    output: Csv,
    sample_key: SampleKey,
    condition_key: ConditionKey = None,
    cluster_key: ClusterKey = "scrae",
) -> None:
    """Write the share of each cluster in each sample, with intervals."""
    from scrae import io, tl

    io.try_hdf5(file)
    adata = io.read_h5ad(file)
    table = tl.composition(adata, sample_key=sample_key, condition_key=condition_key, cluster_key=cluster_key)
    with atomic_path(output) as draft:
        table.to_csv(draft, index=False)
    typer.echo(f"{output}: {table['sample'].nunique()} samples, {table['cluster'].nunique()} clusters")
