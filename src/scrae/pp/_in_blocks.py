"""Preprocessing of counts in a file or a dask array, block by block."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from scrae.config import PreprocessConfig
from scrae.errors import ScraeError
from scrae.io import CountBlocks, open_backed
from scrae.io.empty_droplets import left_out, with_cell
from scrae.io.lazy import is_dask, lazy_counts, use_dask
from scrae.io.notes import add_note
from scrae.pp import _filter, _normalize
from scrae.pp._options import BY_SIZE_FACTOR, check_batches, check_options, check_streams
from scrae.pp._select import Cells, blocks_of, select

__all__ = ["preprocess_backed", "select_genes_of_file"]

_RANKING = ["scrae_selected", "scrae_score", "scrae_rank"]


class Filters(NamedTuple):
    """The thresholds of `scrae.pp.filter`."""

    min_cells: int = PreprocessConfig.min_cells
    min_genes: int = PreprocessConfig.min_genes
    min_counts: int | None = None
    max_mito: float | None = None
    mito_prefix: str | None = None
    qc: Literal["mad"] | None = None


def preprocess_backed(
    adata: AnnData,
    *,
    method: str = PreprocessConfig.gene_selection,
    n_top_genes: int = PreprocessConfig.n_top_genes,
    min_cells: int = PreprocessConfig.min_cells,
    min_genes: int = PreprocessConfig.min_genes,
    min_counts: int | None = None,
    max_mito: float | None = None,
    mito_prefix: str | None = None,
    qc: Literal["mad"] | None = None,
    sample_key: str | None = None,
    scratch: Path | None = None,
) -> None:
    """Filter, normalize and select genes of counts in a file or dask array; load the selected genes into memory.

    Gives the same result as `scrae.pp.filter`, `scrae.pp.normalize` and `scrae.pp.select_genes` in memory, restricted
    to the selected genes. The counts are read in blocks of cells, about eight times.

    Parameters
    ----------
    adata
        As `scrae.io.open_backed` gives it; or one whose ``layers["counts"]``, or ``X`` if there is none, is a dask
        array of counts in chunks of whole cells; dask's workers then reduce each chunk. Changed in place. Afterwards
        it needs neither the file nor the workers.
    method
        Any but ``pearson_residuals`` and ``scmarker``, which work in memory.
    n_top_genes
        As for `scrae.pp.select_genes`.
    min_cells, min_genes, min_counts, max_mito, mito_prefix, qc, sample_key
        As for `scrae.pp.filter`.
    scratch
        Folder for temporary unnamed files that hold the counts and values of the selected genes if these exceed the
        memory; they disappear with `adata`. None: they are held in memory.

    Raises
    ------
    ScraeError
        The counts are in memory already, the chunks cut cells, the file is damaged or an unfiltered 10x matrix, or as
        the three functions do.

    Notes
    -----
    Writes what the three functions write, for the selected genes: ``layers["counts"]``, ``X``, ``obs``, ``var`` and
    ``uns["scrae"]``. Of all genes that the filters leave there is ``uns["scrae"]["genes"]``, a table with
    ``scrae_selected``, ``scrae_score`` and ``scrae_rank``, in whose order the arrays of
    ``uns["scrae"]["gene_selection"]`` are.
    """
    check_options(method, n_top_genes, None, None)
    matrix = lazy_counts(adata)
    check_streams(method, dask=is_dask(matrix))
    if adata.isbacked or matrix is None:
        found = "a backed AnnData, which would change its file" if adata.isbacked else "counts in memory"
        raise ScraeError(
            "preprocess_backed: expected counts in a file as scrae.io.open_backed gives them, or a dask array, found "
            f"{found}; open the file with scrae.io.open_backed, or call scrae.pp.filter, normalize and select_genes on "
            "counts in memory"
        )
    blocks_of(adata)  # refuses chunks that cannot be read
    left_behind = "; obsm, layers and uns of the file are left out"
    if is_dask(matrix):
        use_dask(adata)
        left_behind = ""
    blocks = _filtered(
        adata, Filters(min_cells, min_genes, min_counts, max_mito, mito_prefix, qc), sample_key
    )
    factor = _size_factor(adata, blocks)
    select(adata, Cells(blocks, None, factor), method, n_top_genes, None, None)
    adata.uns["scrae"]["genes"] = adata.var[_RANKING].copy()
    chosen = adata.var["scrae_selected"].to_numpy(dtype=bool)
    counts = blocks.only(genes=chosen).gather(scratch)
    n_genes = adata.n_vars
    adata._inplace_subset_var(chosen)
    adata.layers["counts"] = counts
    adata.X = _normalize.log_normalized(counts, factor, scratch=scratch)
    add_note(
        adata,
        f"The counts were read block by block. Only the {adata.n_vars} selected of {n_genes} genes are "
        f"kept{left_behind}.",
    )


def select_genes_of_file(
    path: str | os.PathLike[str],
    *,
    method: str = PreprocessConfig.gene_selection,
    n_top_genes: int | None = PreprocessConfig.n_top_genes,
    fdr: float | None = None,
    batch_key: str | None = None,
    min_cells: int = PreprocessConfig.min_cells,
    layer: str | None = None,
) -> AnnData:
    """Select genes of an h5ad or zarr file that may be larger than the memory.

    The same as `scrae.io.read`, `scrae.pp.filter`, `scrae.pp.normalize` and `select_genes` one after the other,
    but the file is read in blocks of cells, several times.

    Parameters
    ----------
    path
        As for `scrae.io.open_backed`.
    method
        Any but ``pearson_residuals`` and ``scmarker``, which work in memory.
    n_top_genes, fdr, batch_key
        As for `select_genes`.
    min_cells
        Genes that fewer cells express are left out, and then cells that express none of the others.
    layer
        As for `scrae.io.open_backed`.

    Returns
    -------
    AnnData without ``X``: the cells and genes that are left, with the slots that `scrae.pp.filter` and
    `select_genes` write.

    Raises
    ------
    ScraeError
        As the four functions do.
    """
    check_options(method, n_top_genes, fdr, batch_key)
    check_streams(method)
    adata = open_backed(path, layer=layer)
    check_batches(adata, batch_key)
    blocks = _filtered(adata, Filters(min_cells=min_cells))
    factor = _size_factor(adata, blocks) if method in BY_SIZE_FACTOR else None
    select(adata, Cells(blocks, None, factor), method, n_top_genes, fdr, batch_key)
    return adata


def _filtered(adata: AnnData, filters: Filters, sample_key: str | None = None) -> CountBlocks:
    """Filter in place as `scrae.io.read` and `scrae.pp.filter` do; return what is left of the counts, and no X."""
    blocks = blocks_of(adata)
    columns = _filter.cell_statistics(blocks, adata.var_names, filters.mito_prefix)
    keep = with_cell(columns["scrae_n_counts"], filters.min_counts)
    adata.X = None
    if not keep.all():
        columns = {name: values[keep] for name, values in columns.items()}
        blocks = blocks.only(cells=keep)
        adata._inplace_subset_obs(keep)
        add_note(adata, left_out(keep, filters.min_counts))
    kept = _filter.apply_filters(
        blocks, columns, adata.var_names, samples=_filter.samples_of(adata, sample_key), **filters._asdict()
    )
    _filter.record(adata, kept)
    return blocks.only(cells=kept.cells, genes=kept.genes)


def _size_factor(adata: AnnData, blocks: CountBlocks) -> NDArray[np.float64]:
    """Write the size factors as `scrae.pp.normalize` does, and return them [cells]."""
    found = _normalize.size_factors(blocks, adata.n_vars)
    _normalize.record(adata, found)
    return found.factor
