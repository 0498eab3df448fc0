"""Marker genes of the clusters."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from scrae.pl import category_column
from scrae.tl._markers import shown

__all__ = ["ROWS", "Expression", "choose_genes", "marker_tables", "row_blocks", "summarize"]

N_GENES = 10
ROWS = 10_000  # cells read at a time


def row_blocks(x: Any) -> Iterator[tuple[int, csr_matrix]]:
    """Yield the first cell's number and the values [at most 10,000 cells, genes] of a matrix in memory or in a file."""
    for start in range(0, x.shape[0], ROWS):
        yield start, csr_matrix(x[start : start + ROWS])


@dataclass(frozen=True, kw_only=True)
class Expression:
    """Sums of ``X`` per cluster; clusters and genes in the order of the AnnData."""

    clusters: list[str]
    genes: pd.Index
    size: NDArray[np.int64]
    """[clusters] cells."""
    total: NDArray[np.float64]
    """[clusters, genes] sum of ``X``."""
    seen: NDArray[np.float64]
    """[clusters, genes] cells with the gene."""

    @property
    def share(self) -> NDArray[np.float64]:
        """[clusters, genes] share of the cluster's cells with the gene, 0 to 1."""
        return self.seen / np.maximum(self.size, 1)[:, None]

    @property
    def mean(self) -> NDArray[np.float64]:
        """[clusters, genes] mean of ``X``."""
        return self.total / np.maximum(self.size, 1)[:, None]


def summarize(adata: AnnData) -> Expression:
    """Sum ``X`` over each cluster in one pass over the cells."""
    column = category_column(adata, "scrae")
    n_clusters = len(column.categories)
    total, seen = np.zeros((2, n_clusters, adata.n_vars))
    for start, x in row_blocks(adata.X):
        codes = column.codes[start : start + x.shape[0]]
        cells = np.flatnonzero(codes >= 0)
        member = csr_matrix((np.ones(len(cells)), (codes[cells], cells)), shape=(n_clusters, x.shape[0]))
        values = x.data.astype(np.float64)
        for into, part in ((total, values), (seen, (values > 0).astype(np.float64))):
            into += (member @ csr_matrix((part, x.indices, x.indptr), shape=x.shape)).toarray()
    return Expression(
        clusters=column.categories.tolist(),
        genes=adata.var_names,
        size=np.bincount(column.codes[column.codes >= 0], minlength=n_clusters),
        total=total,
        seen=seen,
    )


def marker_tables(table: pd.DataFrame | None) -> dict[str, pd.DataFrame]:
    """Return for each cluster its at most ten best significant genes of ``tl.markers``, without the omitted kinds."""
    if table is None:
        return {}
    best = shown(table).groupby("cluster", observed=False, sort=False)
    return {str(name): rows.head(N_GENES) for name, rows in best}


def choose_genes(tables: Mapping[str, pd.DataFrame], n_genes: int) -> dict[str, str]:
    """Return at most ``n_genes`` genes, gene → cluster: every cluster's best, then every cluster's second, ..."""
    chosen: dict[str, str] = {}
    columns = [[(gene, name) for gene in table["gene"]] for name, table in tables.items()]
    for entries in itertools.zip_longest(*columns):
        for entry in entries:
            if entry is not None and len(chosen) < n_genes:
                chosen.setdefault(*entry)
    return chosen
