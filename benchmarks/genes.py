"""The genes that a method reads: scanpy's `seurat_v3` for the peers, or any of scrae's own selections."""

from __future__ import annotations

import numpy as np
import scanpy as sc
from anndata import AnnData
from numpy.typing import NDArray

from scrae import io, pp
from scrae.config import PreprocessConfig, from_dict

__all__ = ["choose_genes", "prepare"]


def choose_genes(counts: AnnData, name: str, n_top_genes: int) -> NDArray[np.bool_]:
    """The chosen genes as bool [genes]; all genes where there are no more than were asked for.

    Parameters
    ----------
    counts
        Not changed.
    name
        `seurat_v3` is scanpy's, over genes of at least 3 cells as in scanpy's tutorial. Any other name is one of
        scrae's selections.
    n_top_genes
        How many.
    """
    if name != "seurat_v3":
        copy = counts.copy()
        prepare(copy, from_dict(PreprocessConfig, {"gene_selection": name, "n_top_genes": n_top_genes}))
        return np.asarray(counts.var_names.isin(copy.var_names[copy.var["scrae_selected"]]))
    chosen = np.asarray((counts.X > 0).sum(axis=0)).ravel() >= 3
    if chosen.sum() > n_top_genes:
        table = sc.pp.highly_variable_genes(
            counts[:, chosen], flavor="seurat_v3", n_top_genes=n_top_genes, inplace=False
        )
        chosen[chosen] = table["highly_variable"].to_numpy()
    return chosen


def prepare(counts: AnnData, config: PreprocessConfig) -> None:
    """Take counts through scrae's filter, normalisation and gene selection, in place, but drop no cell."""
    n_cells = counts.n_obs
    io.use_counts(counts)
    pp.filter(counts, min_cells=config.min_cells, min_genes=0)
    pp.normalize(counts)
    pp.select_genes(counts, method=config.gene_selection, n_top_genes=config.n_top_genes)
    assert counts.n_obs == n_cells
