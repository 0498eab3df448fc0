"""`read`: one file or several samples in, one AnnData of checked counts out."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from anndata import AnnData

from scrae.errors import ScraeError
from scrae.io.backed import read_zarr
from scrae.io.empty_droplets import left_out, with_cell
from scrae.io.find_counts import GENE_EXPRESSION, find_counts, layer_names, put_counts
from scrae.io.foreign import foreign_file, foreign_folder, is_text
from scrae.io.hdf5 import read_hdf5
from scrae.io.mtx import begins_as_mtx, holds_mtx, read_mtx
from scrae.io.names import some
from scrae.io.notes import add_note
from scrae.io.orientation import refuse_genes_as_cells
from scrae.io.read_errors import reading
from scrae.io.samples import join_samples
from scrae.io.storable import make_storable
from scrae.io.table import read_table

__all__ = ["read"]

_TABLES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
_FORMATS = "h5ad, 10x h5, a 10x mtx folder, loom, zarr, csv or tsv (.gz)"
_TENX_OTHERS = {
    "Antibody Capture",
    "CRISPR Guide Capture",
    "Multiplexing Capture",
    "Antigen Capture",
    "Peaks",
    "Custom",
}

PathLike = str | os.PathLike[str]


def read(
    paths: PathLike | Sequence[PathLike],
    *,
    layer: str | None = None,
    min_counts: int | None = None,
    transpose: bool = False,
    round: bool = False,
) -> AnnData:
    """Read raw counts from one file, or from several files as several samples.

    The format is recognized by the content, whatever the name.

    Parameters
    ----------
    paths
        h5ad, 10x h5, 10x mtx folder, loom, zarr, csv or tsv, also gzipped. Several: the cells of all files,
        the genes that all files have.
    layer
        Name of the layer that holds the counts, also ``"X"`` or ``"raw"``. None: the first of ``X``,
        ``layers["counts"]`` and ``raw`` that holds nothing but counts.
    min_counts
        Leave out cells with fewer counts than this. None: keep all, and refuse a file that has mostly
        nearly empty barcodes, as unfiltered 10x matrices do. 0 keeps all and refuses none.
    transpose
        For csv and tsv: the rows are genes and the columns are cells. For mtx: the rows are cells; needed only where
        there are as many cells as genes, since otherwise the lists beside the matrix say it.
    round
        Round estimated counts (SoupX, CellBender, alevin, RSEM). False: they are refused.

    Returns
    -------
    AnnData with ``layers["counts"]`` (csr_matrix int32), ``X`` (the same counts),
    ``uns["scrae"]["notes"]`` and, of several files, ``obs["sample"]``. What else a single h5ad or zarr
    holds is kept, but for ``raw``.

    Raises
    ------
    ScraeError
        A file is missing, cannot be opened, is damaged or of no known kind; or holds no counts, as
        `use_counts` and `check_counts` say; or the files share no gene.
    """
    if isinstance(paths, str | os.PathLike):
        return _read_one(Path(paths), layer, min_counts, transpose, round)
    files = [Path(path) for path in paths]
    if not files:
        raise ScraeError("No file was given to read; give at least one path.")
    if len(files) == 1:
        return _read_one(files[0], layer, min_counts, transpose, round)
    if len({file.resolve() for file in files}) < len(files):
        raise ScraeError("The same file was given twice; each file is one sample.")
    joined = join_samples([_read_one(file, layer, min_counts, transpose, round) for file in files], files)
    make_storable(joined)
    return joined


def _read_one(path: Path, layer: str | None, min_counts: int | None, transpose: bool, round: bool) -> AnnData:
    adata = _open(path, transpose)
    try:
        adata = _with_counts(adata, layer, round)
        refuse_genes_as_cells(adata)
        make_storable(adata)
        return _without_empty(_genes_only(adata), min_counts)
    except ScraeError as error:
        raise ScraeError(f"{path}: {error}") from error


def _open(path: Path, transpose: bool) -> AnnData:
    """Read `path` by the reader of its format."""
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
        names = {entry.name for entry in path.iterdir()} if is_folder else set()
        is_mtx = holds_mtx(path) if is_folder else path.name.lower().endswith((".mtx", ".mtx.gz"))
        is_hdf5 = is_file and h5py.is_hdf5(path)
    except OSError as error:
        raise ScraeError(f"{path} cannot be opened: {error.strerror}.") from error
    if not is_folder and not is_file:
        raise ScraeError(f"{path} does not exist; expected {_FORMATS}.")
    with reading(path, "a file"):
        is_mtx = is_mtx or (is_file and not is_hdf5 and begins_as_mtx(path))
        is_table = is_file and not is_hdf5 and not is_mtx and is_text(path)
        foreign = foreign_folder(path, names) if is_folder else foreign_file(path)
    if is_mtx:
        return read_mtx(path, transpose=transpose)
    if is_table or (not foreign and not is_hdf5 and path.name.lower().endswith(_TABLES)):
        return read_table(path, transpose=transpose)
    if foreign and not is_hdf5:
        raise ScraeError(f"{path} is {foreign}.")
    if transpose:
        raise ScraeError(f"{path} is no csv, tsv or mtx: transpose is for these only. Leave it out.")
    if is_hdf5:
        return read_hdf5(path)
    if is_folder and names & {".zgroup", ".zattrs", "zarr.json"}:
        return read_zarr(path)
    if is_folder:
        raise ScraeError(
            f"{path} is a folder without a matrix.mtx or zarr store; it holds {some(sorted(names)) or 'nothing'}."
        )
    raise ScraeError(f"{path} is of no known kind, damaged or cut short; expected {_FORMATS}.")


def _genes_only(adata: AnnData) -> AnnData:
    """Drop antibodies and other features of 10x files."""
    if "feature_types" not in adata.var:
        return adata
    types = adata.var["feature_types"].astype(str)
    genes = (types == GENE_EXPRESSION).to_numpy()
    others = types[~genes].value_counts()
    if genes.all() or (not genes.any() and not set(others.index) & _TENX_OTHERS):
        return adata
    if not genes.any():
        raise ScraeError(f"no feature is of the type {GENE_EXPRESSION}; found {some(others.index)}.")
    adata = adata[:, genes].copy()
    dropped = ", ".join(f"{number} {name}" for name, number in others.items())
    add_note(adata, f"Features other than {GENE_EXPRESSION} were dropped: {dropped}.")
    return adata


def _with_counts(adata: AnnData, layer: str | None, round: bool) -> AnnData:
    """Give the counts their slots. Where they are in raw, all genes of raw are kept; raw itself is not."""
    found = find_counts(adata, layer, round=round)
    if found.place == "raw":
        lost = [
            *(f"layers[{name!r}]" for name in layer_names(adata)),
            *(f"varm[{name!r}]" for name in adata.varm),
        ]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*names are not unique")  # put_counts makes them so
            adata = AnnData(
                obs=adata.obs, var=adata.raw.var, obsm=dict(adata.obsm), obsp=dict(adata.obsp), uns=adata.uns
            )
        if lost:
            add_note(
                adata,
                f"raw has genes of its own, so what belongs to those of X was left out: {', '.join(lost)}.",
            )
    elif adata.raw is not None:
        add_note(adata, f"raw ({adata.raw.n_vars} genes) was left out: the counts were elsewhere.")
        del adata.raw
    put_counts(adata, found)
    return adata


def _without_empty(adata: AnnData, min_counts: int | None) -> AnnData:
    totals = np.asarray(adata.layers["counts"].sum(axis=1, dtype=np.int64)).ravel()
    keep = with_cell(totals, min_counts)
    if not keep.all():
        adata = adata[keep].copy()
        add_note(adata, left_out(keep, min_counts))
    return adata
