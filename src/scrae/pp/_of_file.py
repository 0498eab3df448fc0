"""Filter, size factors and gene selection over a file that stays where it is."""

from __future__ import annotations

import os

from anndata import AnnData

from scrae.io import open_backed
from scrae.pp import _filter, _normalize
from scrae.pp._options import BY_SIZE_FACTOR, check_batches, check_options, check_streams
from scrae.pp._select import Cells, blocks_of, select

__all__ = ["select_genes_of_file"]


def select_genes_of_file(
    path: str | os.PathLike[str],
    *,
    method: str = "m3drop",
    n_top_genes: int | None = 2000,
    fdr: float | None = None,
    batch_key: str | None = None,
    min_cells: int = 10,
    layer: str | None = None,
) -> AnnData:
    """Select genes of an h5ad or zarr file that may be larger than the memory.

    The same as `scrae.io.read`, `scrae.pp.filter`, `scrae.pp.normalize` and `select_genes` one after the other,
    but the file is read in blocks of cells, a few times over.

    Parameters
    ----------
    path
        As for `scrae.io.open_backed`.
    method
        Any but ``seurat_v3``, ``pearson_residuals`` and ``scmarker``, which work in memory.
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
    backed = open_backed(path, layer=layer)
    check_batches(backed, batch_key)
    blocks = blocks_of(backed)
    kept = _filter.judge(blocks, backed.var_names, min_cells=min_cells)
    blocks = blocks.only(cells=kept.cells, genes=kept.genes)
    obs = backed.obs.assign(**kept.of_cells)
    adata = AnnData(obs=obs[kept.cells], var=backed.var[kept.genes], uns=backed.uns)
    _filter.record(adata, kept)
    factor = None
    if method in BY_SIZE_FACTOR:
        found = _normalize.size_factors(blocks, adata.n_vars)
        _normalize.record(adata, found)
        factor = found.factor
    select(adata, Cells(blocks, None, factor), method, n_top_genes, fdr, batch_key)
    return adata
