"""Commands about clusters after they were found. Heavy imports wait inside the commands."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scrae.cli.options import OutputH5ad, Prepared, complete_column, refuse_mixed, takes, warn_if_stale
from scrae.config import Settings

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["significance", "subcluster"]

ClusterKey = Annotated[
    str, typer.Option(help="Column of obs with the clusters.", autocompletion=complete_column)
]


@takes("seed")
def significance(
    file: Prepared,
    *,
    output: OutputH5ad,
    cluster_key: ClusterKey = "scrae",
    sample_key: Annotated[
        str | None,
        typer.Option(
            help="Column of obs with samples; two of them have to agree.", autocompletion=complete_column
        ),
    ] = None,
    alpha: Annotated[float, typer.Option(help="Family-wise error rate.")] = 0.05,
    settings: Settings,
) -> None:
    """Test which clusters of an h5ad are separate populations."""
    from scrae import io, tl
    from scrae.report import assess_clusters, summarize_test

    io.try_hdf5(file)
    adata = io.read_h5ad(file)
    tl.significance(adata, cluster_key=cluster_key, sample_key=sample_key, alpha=alpha, seed=settings.seed)
    io.write_h5ad(adata, output)
    warn_if_stale(output, same_clusters=True)
    sizes = adata.obs[cluster_key].value_counts()
    facts = adata.uns[cluster_key]["significance"]
    for name, words in assess_clusters(facts).items():
        typer.echo(f"{name:>6} {sizes[name]:>9,} cells  {words}")
    typer.echo(summarize_test(facts))


@takes("n_clusters", "cluster_method", "seed")
def subcluster(
    path: Annotated[Path, typer.Argument(help="Folder of a run, or an h5ad with clusters.")],
    name: Annotated[str, typer.Argument(help="The cluster to divide.")],
    *,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="h5ad to write for an h5ad; a folder is renewed.")
    ] = None,
    cluster_key: ClusterKey = "scrae",
    settings: Settings,
) -> None:
    """Divide one cluster: "3" becomes "3.0", "3.1", ..."""
    refuse_mixed(path, output, cluster_key, "subcluster")
    adata = (
        _divide_run(path, name, settings)
        if output is None
        else _divide_file(path, name, output, cluster_key, settings)
    )
    parts = adata.obs[cluster_key].value_counts()
    for part in adata.obs[cluster_key].cat.categories:
        if part.startswith(f"{name}."):
            typer.echo(f"{part:>6} {parts[part]:>9,} cells")


def _divide_run(folder: Path, name: str, settings: Settings) -> AnnData:
    from scrae import io
    from scrae.pipeline.recluster import recluster

    io.try_hdf5(folder / "result.h5ad")
    command = shlex.join(["scrae", *sys.argv[1:]])
    return recluster(folder, divide=(name, settings.cluster.n_clusters), command=command)


def _divide_file(path: Path, name: str, output: Path, cluster_key: str, settings: Settings) -> AnnData:
    from scrae import io, tl

    io.try_hdf5(path)
    adata = io.read_h5ad(path)
    config = settings.cluster
    options: dict[str, Any] = {
        "n_clusters": config.n_clusters,
        "method": config.method,
        "seed": settings.seed,
    }
    tl.subcluster(adata, name, cluster_key=cluster_key, **options)
    io.write_h5ad(adata, output)
    warn_if_stale(output)
    return adata
