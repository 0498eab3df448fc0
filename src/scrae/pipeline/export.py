"""Write the result of a run for other programs."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse
from scipy.io import mmwrite

from .. import io
from ..errors import ScraeError, did_you_mean
from ..files import atomic_path

__all__ = ["TARGETS", "export"]

TARGETS = ("mtx", "loupe-csv", "cellxgene", "seurat")
_EMBEDDINGS = {"X_umap": "umap", "X_tsne": "tsne"}

_READ_R = """library(Seurat)
cells <- CreateSeuratObject(Read10X("."), meta.data = read.csv("metadata.csv", row.names = 1, check.names = FALSE))
latent <- as.matrix(read.csv("latent.csv", row.names = 1))
cells[["scrae"]] <- CreateDimReducObject(latent, key = "scrae_", assay = "RNA")
if (file.exists("umap.csv")) cells[["umap"]] <- CreateDimReducObject(as.matrix(read.csv("umap.csv", row.names = 1)), key = "umap_", assay = "RNA")
"""  # noqa: E501  a line of R


def export(folder: str | Path, target: str, output: str | Path) -> Path:
    """Write the result of a run for another program.

    Parameters
    ----------
    folder : str or Path
        Folder of a run.
    target : {"mtx", "loupe-csv", "cellxgene", "seurat"}
        ``mtx``: raw counts in 10x's format, and ``clusters.csv``. ``loupe-csv``: clusters and projections as Loupe
        Browser imports them. ``cellxgene``: an h5ad with raw counts in ``raw``. ``seurat``: ``mtx`` with metadata,
        latent representation, UMAP and ``read.R``, which makes a Seurat object of them.
    output : str or Path
        Folder to write, for ``cellxgene`` the h5ad.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    ScraeError
        Not the folder of a run, an unknown target, or ``output`` holds something else.
    """
    if target not in TARGETS:
        raise ScraeError(
            f"--to: expected one of {', '.join(TARGETS)}, found {target!r}{did_you_mean(target, TARGETS)}"
        )
    adata, output = io.read_h5ad(Path(folder) / "result.h5ad"), Path(output)
    if "scrae" not in adata.obs or "counts" not in adata.layers:
        raise ScraeError(
            f"{folder}: expected clusters and raw counts in result.h5ad, found none; run scrae first"
        )
    if target == "cellxgene":
        io.write_h5ad(_for_cellxgene(adata), output)
        return output
    if output.is_dir() and any(output.iterdir()):
        raise ScraeError(f"{output}: expected a new or empty folder, found files in it; give another name")
    writers: dict[str, Callable[[AnnData, Path], None]] = {
        "mtx": _write_mtx,
        "loupe-csv": _write_loupe,
        "seurat": _write_seurat,
    }
    with atomic_path(output) as draft:
        draft.mkdir()
        writers[target](adata, draft)
    return output


def _write_mtx(adata: AnnData, folder: Path) -> None:
    plain = folder / "matrix.mtx"
    mmwrite(plain, sparse.coo_matrix(adata.layers["counts"].T), field="integer", symmetry="general")
    with plain.open("rb") as source, gzip.open(folder / "matrix.mtx.gz", "wb", compresslevel=6) as packed:
        shutil.copyfileobj(source, packed)
    plain.unlink()
    ids = adata.var.get("gene_ids", adata.var_names)
    features = pd.DataFrame({"id": np.asarray(ids), "name": adata.var_names, "type": "Gene Expression"})
    for name, table in (("features", features), ("barcodes", pd.DataFrame({"barcode": adata.obs_names}))):
        table.to_csv(folder / f"{name}.tsv.gz", sep="\t", header=False, index=False)
    _clusters(adata).to_csv(folder / "clusters.csv", index_label="barcode")


def _clusters(adata: AnnData) -> pd.DataFrame:
    names = {"scrae": "cluster", "scrae_name": "name"}
    table: pd.DataFrame = adata.obs[[key for key in names if key in adata.obs]].rename(columns=names)
    return table


def _write_loupe(adata: AnnData, folder: Path) -> None:
    for name, column in _clusters(adata).items():
        column.to_frame(f"scrae {name}").to_csv(folder / f"{name}.csv", index_label="Barcode")
    for key, name in _EMBEDDINGS.items():
        _projection(adata, key, ["X Coordinate", "Y Coordinate"], folder / f"{name}.csv", "Barcode")


def _write_seurat(adata: AnnData, folder: Path) -> None:
    _write_mtx(adata, folder)
    adata.obs.to_csv(folder / "metadata.csv", index_label="barcode")
    latent = adata.obsm["X_scrae"]
    names = [f"scrae_{i + 1}" for i in range(latent.shape[1])]
    pd.DataFrame(latent, index=adata.obs_names, columns=names).to_csv(
        folder / "latent.csv", index_label="barcode"
    )
    _projection(adata, "X_umap", ["umap_1", "umap_2"], folder / "umap.csv", "barcode")
    (folder / "read.R").write_text(_READ_R, encoding="utf-8")


def _projection(adata: AnnData, key: str, columns: list[str], path: Path, index: str) -> None:
    """Write the coordinates of the cells that have any."""
    if key in adata.obsm:
        table = pd.DataFrame(adata.obsm[key], index=adata.obs_names, columns=columns).dropna()
        table.to_csv(path, index_label=index)


def _for_cellxgene(adata: AnnData) -> AnnData:
    """Return what CELLxGENE reads: normalized ``X``, counts in ``raw``, complete embeddings, no facts of the run."""
    counts = sparse.csr_matrix(adata.layers["counts"], dtype=np.float32)
    embeddings = {
        key: np.asarray(value, dtype=np.float32)
        for key, value in adata.obsm.items()
        if key in _EMBEDDINGS and np.isfinite(value).all()
    }
    made = AnnData(adata.X, obs=adata.obs.copy(), var=pd.DataFrame(index=adata.var_names), obsm=embeddings)
    made.raw = AnnData(counts, obs=pd.DataFrame(index=adata.obs_names), var=made.var.copy())
    made.var["feature_is_filtered"] = False
    made.uns = {key: value for key, value in adata.uns.items() if key.endswith("_colors")}
    made.uns["title"] = "Clusters of scrae"
    if embeddings:
        made.uns["default_embedding"] = next(iter(embeddings))
    return made
