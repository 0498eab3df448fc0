"""Clusters as bars, as a table against labels, and as dots against genes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes

from scrae.pl._colors import category_colors, category_column
from scrae.pl._draw import GRID, INK, RAMP, label_axes, new_axes, shorten, spaced

__all__ = ["cluster_sizes", "cross_table", "dot_plot", "label_table"]

NUMBERS_UP_TO = 20  # columns; beyond that numbers in the cells are too small to read


def cross_table(adata: AnnData, label_key: str) -> pd.DataFrame:
    """Count the cells of each label in each cluster, with the labels in the order of their main clusters.

    Parameters
    ----------
    adata : AnnData
        Annotated cells with clusters in ``obs["scrae"]``.
    label_key : str
        Column of ``obs`` with the labels.

    Returns
    -------
    pandas.DataFrame
        Index: labels; columns: clusters; values: cells. Cells without a label or a cluster are not counted.

    Raises
    ------
    ScraeError
        If ``obs`` has no such column, or no clusters yet.

    Examples
    --------
    >>> table = scrae.pl.cross_table(adata, "bulk_labels")
    >>> int(table.to_numpy().sum()) == adata.n_obs
    True
    """
    table = pd.crosstab(
        pd.Series(category_column(adata, label_key), name=label_key),
        pd.Series(category_column(adata, "scrae"), name="cluster"),
    )
    if table.empty:
        return table
    share = table.to_numpy() / table.to_numpy().sum(axis=1, keepdims=True)
    order = np.lexsort(
        (-share.max(axis=1), share.argmax(axis=1))
    )  # by the main cluster, the purest label first
    ordered: pd.DataFrame = table.iloc[order]
    return ordered


def label_table(adata: AnnData, label_key: str, *, ax: Axes | None = None) -> Axes:
    """Draw which share of each label's cells lies in which cluster (rows sum to 100 %).

    Parameters
    ----------
    adata : AnnData
        Annotated cells with clusters in ``obs["scrae"]``.
    label_key : str
        Column of ``obs`` with the labels.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ScraeError
        If ``obs`` has no such column, or no clusters yet.

    Examples
    --------
    >>> ax = scrae.pl.label_table(adata, "bulk_labels")
    """
    table = cross_table(adata, label_key)
    share = 100.0 * table.to_numpy() / np.maximum(table.to_numpy().sum(axis=1, keepdims=True), 1)
    n_labels, n_clusters = table.shape
    ax = new_axes(2.6 + 0.34 * n_clusters, 1.4 + 0.24 * n_labels) if ax is None else ax
    image = ax.imshow(share, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    if n_clusters <= NUMBERS_UP_TO:
        for (row, column), value in np.ndenumerate(share):
            if value >= 1:
                color = "white" if value > 55 else INK
                ax.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=6.5, color=color)
    label_axes(ax, "cluster", title=f"{spaced(label_key)} by cluster")
    turn = 90 if n_clusters > 20 else 0
    ax.set_xticks(range(n_clusters), list(map(shorten, table.columns)), rotation=turn, parse_math=False)
    ax.set_yticks(range(n_labels), list(map(shorten, table.index)), parse_math=False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.6, pad=0.02)
    bar.set_label("% of the label's cells", fontsize=8)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7)
    return ax


def cluster_sizes(adata: AnnData, *, ax: Axes | None = None) -> Axes:
    """Draw the number of cells of each cluster, as bars in the clusters' colors.

    Parameters
    ----------
    adata : AnnData
        Annotated cells with clusters in ``obs["scrae"]``.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ScraeError
        If there are no clusters yet.

    Examples
    --------
    >>> ax = scrae.pl.cluster_sizes(adata)
    """
    column = category_column(adata, "scrae")
    sizes = np.bincount(column.codes[column.codes >= 0], minlength=len(column.categories))
    ax = new_axes(4.2, 1.0 + 0.22 * len(sizes)) if ax is None else ax
    ax.barh(range(len(sizes)), sizes, color=category_colors(adata, "scrae"), height=0.75)
    for row, size in enumerate(sizes.tolist()):
        ax.text(size, row, f" {size:,}", va="center", fontsize=7, color=INK)
    ax.invert_yaxis()
    ax.margins(x=0.12)
    label_axes(ax, "cells", "cluster", "Cluster sizes")
    ax.set_yticks(range(len(sizes)), list(map(shorten, column.categories)), parse_math=False)
    return ax


def dot_plot(share: pd.DataFrame, mean: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw one dot per cluster and gene: its area is the share of cells with the gene, its shade the scaled mean.

    Parameters
    ----------
    share : pandas.DataFrame
        Share of each cluster's cells that express the gene, 0 to 1, shape [clusters, genes]. Shares below 1 % are not
        drawn.
    mean : pandas.DataFrame
        Mean expression, shape [clusters, genes]; the shade runs from the smallest to the largest value of each gene.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Examples
    --------
    >>> genes = adata.to_df()[["CD79A", "NKG7", "LYZ"]]
    >>> by_label = genes.groupby(adata.obs["bulk_labels"], observed=True)
    >>> share = (genes > 0).groupby(adata.obs["bulk_labels"], observed=True).mean()
    >>> ax = scrae.pl.dot_plot(share, by_label.mean())
    """
    n_clusters, n_genes = share.shape
    clusters, genes = ([shorten(str(name), 24) for name in names] for names in (share.index, share.columns))
    if ax is None:
        ax = new_axes(
            0.3 + 0.08 * max(map(len, clusters), default=1) + 0.205 * n_genes,
            0.2 + 0.08 * max(map(len, genes), default=1) + 0.205 * n_clusters,
        )
    values = mean.to_numpy(dtype=np.float64)
    span = np.ptp(values, axis=0)
    level = np.rint(10 * (values - values.min(axis=0)) / np.where(span > 0, span, 1)).astype(int)
    rows, columns = np.nonzero(share.to_numpy() >= 0.01)
    shades = np.array(RAMP)[level[rows, columns]]
    ax.hlines(range(n_clusters), -0.5, n_genes - 0.5, color=GRID, linewidth=0.8, zorder=0)
    ax.scatter(columns, rows, s=150 * share.to_numpy()[rows, columns], c=shades, linewidths=0)
    label_axes(ax, "")
    ax.set_xticks(range(n_genes), genes, rotation=90, style="italic", fontsize=7.5, parse_math=False)
    ax.set_yticks(range(n_clusters), clusters, fontsize=8, parse_math=False)
    ax.set(xlim=(-0.7, n_genes - 0.3), ylim=(n_clusters - 0.4, -0.6))
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax
