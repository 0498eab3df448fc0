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
from scipy import stats
from scipy.sparse import csr_matrix

from scrae.pl import category_column

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
    squares: NDArray[np.float64]
    """[clusters, genes] sum of ``X`` squared."""
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
    total, squares, seen = np.zeros((3, n_clusters, adata.n_vars))
    for start, x in row_blocks(adata.X):
        codes = column.codes[start : start + x.shape[0]]
        cells = np.flatnonzero(codes >= 0)
        member = csr_matrix((np.ones(len(cells)), (codes[cells], cells)), shape=(n_clusters, x.shape[0]))
        values = x.data.astype(np.float64)
        for into, part in ((total, values), (squares, values**2), (seen, (values > 0).astype(np.float64))):
            into += (member @ csr_matrix((part, x.indices, x.indptr), shape=x.shape)).toarray()
    return Expression(
        clusters=column.categories.tolist(),
        genes=adata.var_names,
        size=np.bincount(column.codes[column.codes >= 0], minlength=n_clusters),
        total=total,
        squares=squares,
        seen=seen,
    )


def marker_tables(expression: Expression) -> dict[str, pd.DataFrame]:
    """Return for each cluster its at most ten best genes by Welch's t-test against all other cells.

    Equal to ``scanpy.tl.rank_genes_groups(method="t-test")``, but one pass over the data serves all clusters.
    A cluster is left out when it or the rest has fewer than two cells. ``X`` holds log-normalized values.

    Returns
    -------
    dict of str to pandas.DataFrame
        Columns: gene, score (t statistic, positive), log2_fold_change, p_adjusted (Benjamini-Hochberg),
        share_in and share_out (of the cells with the gene, 0 to 1).
    """
    e = expression
    rest = Expression(
        clusters=e.clusters,
        genes=e.genes,
        size=e.size.sum() - e.size,
        total=e.total.sum(axis=0) - e.total,
        squares=e.squares.sum(axis=0) - e.squares,
        seen=e.seen.sum(axis=0) - e.seen,
    )
    testable = np.flatnonzero((e.size >= 2) & (rest.size >= 2))
    return {e.clusters[i]: _table(e, rest, int(i)) for i in testable}


def _table(inside: Expression, outside: Expression, i: int) -> pd.DataFrame:
    sides = (inside, outside)
    sizes = [int(side.size[i]) for side in sides]
    means = [side.total[i] / n for side, n in zip(sides, sizes, strict=True)]
    variances = [
        np.maximum(side.squares[i] - n * mean**2, 0.0) / (n - 1)
        for side, n, mean in zip(sides, sizes, means, strict=True)
    ]
    with np.errstate(divide="ignore", invalid="ignore"):  # genes without variance have no t
        score, p_value = stats.ttest_ind_from_stats(
            means[0], np.sqrt(variances[0]), sizes[0], means[1], np.sqrt(variances[1]), sizes[1], equal_var=False
        )  # fmt: skip
    score, p_value = np.nan_to_num(score, nan=0.0), np.nan_to_num(p_value, nan=1.0)
    best = np.argsort(-score, kind="stable")[:N_GENES]
    best = best[score[best] > 0]
    change = np.log2((np.expm1(means[0]) + 1e-9) / (np.expm1(means[1]) + 1e-9))
    return pd.DataFrame(
        {
            "gene": inside.genes[best].astype(str),
            "score": score[best],
            "log2_fold_change": change[best],
            "p_adjusted": stats.false_discovery_control(p_value)[best],
            "share_in": inside.seen[i, best] / inside.size[i],
            "share_out": outside.seen[i, best] / outside.size[i],
        }
    )


def choose_genes(tables: Mapping[str, pd.DataFrame], n_genes: int) -> dict[str, str]:
    """Return at most ``n_genes`` genes, gene → cluster: every cluster's best, then every cluster's second, ..."""
    chosen: dict[str, str] = {}
    columns = [[(gene, name) for gene in table["gene"]] for name, table in tables.items()]
    for entries in itertools.zip_longest(*columns):
        for entry in entries:
            if entry is not None and len(chosen) < n_genes:
                chosen.setdefault(*entry)
    return chosen
