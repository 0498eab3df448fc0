"""Commands on the folder of a run. Heavy imports wait inside the commands."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scrae.cli.options import print_scores
from scrae.errors import ScraeError

if TYPE_CHECKING:
    from scrae.config import ClusterConfig

RunFolder = Annotated[Path, typer.Argument(help="Folder of a run.")]


def recluster(
    folder: RunFolder,
    n_clusters: Annotated[
        str | None,
        typer.Option(
            "-k", "--n-clusters", metavar="N|auto", help="Number of clusters; auto = chosen without labels."
        ),
    ] = None,
    resolution: Annotated[
        float | None, typer.Option(help="Resolution of Leiden, instead of a number of clusters.")
    ] = None,
    cut: Annotated[
        int | None,
        typer.Option(metavar="N", help="Take the clusters that the slider of the report shows at N."),
    ] = None,
    names: Annotated[
        Path | None, typer.Option(metavar="FILE", help="csv with the columns cluster and name.")
    ] = None,
) -> None:
    """Change or name the clusters of a run and renew all its files together; the model stays."""
    from scrae import io
    from scrae.cli.progress import Bar
    from scrae.pipeline.recluster import read_names
    from scrae.pipeline.recluster import recluster as run_recluster

    if cut is not None and (n_clusters, resolution) != (None, None):
        raise ScraeError("--cut, --n-clusters and --resolution all set the clusters: give one of them")
    given = None if names is None else read_names(names)
    io.try_hdf5(folder / "result.h5ad")
    with Bar() as progress:
        adata = run_recluster(
            folder,
            cluster=_config(folder, n_clusters, resolution),
            cut=cut,
            names=given,
            command=shlex.join(["scrae", *sys.argv[1:]]),
            progress=progress,
        )
    typer.echo(f"clusters  {adata.uns['scrae']['clusters']['n_clusters']}")
    print_scores(adata)
    typer.echo(f"report    {folder / 'report.html'}")


def export(
    folder: RunFolder,
    to: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="mtx: counts as 10x writes them, and clusters; loupe-csv: clusters and projections for Loupe Browser; "
            "cellxgene: h5ad; seurat: a folder with an R script.",
            autocompletion=lambda: ["mtx", "loupe-csv", "cellxgene", "seurat"],
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Folder, or h5ad of cellxgene; default beside the run, e.g. OUT_mtx."
        ),
    ] = None,
) -> None:
    """Write the result of a run for another program."""
    from scrae import io
    from scrae.pipeline.export import export as write

    io.try_hdf5(folder / "result.h5ad")
    beside = folder.with_name(f"{folder.name}_{to}{'.h5ad' if to == 'cellxgene' else ''}")
    typer.echo(write(folder, to, output or beside))


def _config(folder: Path, n_clusters: str | None, resolution: float | None) -> ClusterConfig | None:
    """Return the clustering that the options ask for; None if they ask for none."""
    from scrae.config import ClusterConfig
    from scrae.report import read_run

    if n_clusters is not None and resolution is not None:
        raise ScraeError("--n-clusters and --resolution both set the clusters: leave one out")
    if resolution is not None:
        return ClusterConfig(method="leiden", resolution=resolution)
    if n_clusters is None:
        return None
    if n_clusters != "auto" and not n_clusters.isdecimal():
        raise ScraeError(f"--n-clusters: expected a whole number or auto, found {n_clusters!r}")
    used = (read_run(folder).record.get("config") or {}).get("cluster") or {}
    method = used.get("method", ClusterConfig.method)
    return ClusterConfig(method=method, n_clusters=None if n_clusters == "auto" else int(n_clusters))
