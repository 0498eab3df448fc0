"""Commands about clusters after they were found. Heavy imports wait inside the commands."""

from __future__ import annotations

from typing import Annotated

import typer

from scrae.cli.options import OutputH5ad, Prepared, complete_column, takes, warn_if_stale
from scrae.config import Settings

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
    file: Prepared,
    name: Annotated[str, typer.Argument(help="The cluster to divide.")],
    *,
    output: OutputH5ad,
    cluster_key: ClusterKey = "scrae",
    settings: Settings,
) -> None:
    """Divide one cluster of an h5ad: "3" becomes "3.0", "3.1", ..."""
    from scrae import io, tl

    io.try_hdf5(file)
    adata = io.read_h5ad(file)
    config = settings.cluster
    tl.subcluster(
        adata,
        name,
        cluster_key=cluster_key,
        n_clusters=config.n_clusters,
        method=config.method,
        seed=settings.seed,
    )
    io.write_h5ad(adata, output)
    warn_if_stale(output)
    parts = adata.obs[cluster_key].value_counts()
    for part in adata.obs[cluster_key].cat.categories:
        if part.startswith(f"{name}."):
            typer.echo(f"{part:>6} {parts[part]:>9,} cells")
