"""Clusters as tables: how large they are, and which labels they hold."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from scipy.optimize import linear_sum_assignment

from scrae.pl._colors import category_colors, category_column
from scrae.pl._draw import INK, new_axes, shorten, tidy

__all__ = ["cluster_sizes", "cross_table", "label_table"]

NUMBERS_UP_TO = 20  # columns; beyond that numbers in the cells are too small to read


def cross_table(adata: AnnData, label_key: str) -> pd.DataFrame:
    """Count the cells of each label in each cluster; labels and clusters are ordered so that a diagonal shows.

    Returns
    -------
    pandas.DataFrame
        Index: labels; columns: clusters; values: cells. Cells without a label or a cluster are not counted.
    """
    table = pd.crosstab(
        pd.Series(category_column(adata, label_key), name=label_key),
        pd.Series(category_column(adata, "scrae"), name="cluster"),
    )
    if table.empty:
        return table
    share = table.to_numpy() / table.to_numpy().sum(axis=1, keepdims=True)
    rows, columns = linear_sum_assignment(-share)
    partner = dict(zip(rows.tolist(), columns.tolist(), strict=True))
    row_order = sorted(range(len(share)), key=lambda i: partner.get(i, int(share[i].argmax())))
    ordered: pd.DataFrame = table.iloc[row_order]
    return ordered


def label_table(adata: AnnData, label_key: str, *, ax: Axes | None = None) -> Axes:
    """Draw which share of each label's cells lies in which cluster (rows sum to 100 %).

    Parameters
    ----------
    adata
        Annotated cells with clusters in ``obs["scrae"]``.
    label_key
        Column of ``obs`` with the labels.
    ax
        Where to draw; None makes a figure.

    Raises
    ------
    ScraeError
        When ``obs`` has no such column, or no clusters yet.
    """
    table = cross_table(adata, label_key)
    share = 100.0 * table.to_numpy() / np.maximum(table.to_numpy().sum(axis=1, keepdims=True), 1)
    n_labels, n_clusters = table.shape
    ax = new_axes(2.6 + 0.34 * n_clusters, 1.2 + 0.24 * n_labels) if ax is None else ax
    image = ax.imshow(share, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    if n_clusters <= NUMBERS_UP_TO:
        for (row, column), value in np.ndenumerate(share):
            if value >= 1:
                color = "white" if value > 55 else INK
                ax.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=6.5, color=color)
    turn = 90 if n_clusters > 20 else 0
    ax.set_xticks(
        range(n_clusters), list(map(shorten, table.columns)), fontsize=8, rotation=turn, parse_math=False
    )
    ax.set_yticks(range(n_labels), list(map(shorten, table.index)), fontsize=8, parse_math=False)
    ax.set_xlabel("cluster", fontsize=9)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.6, pad=0.02)
    bar.set_label("% of the label's cells", fontsize=8)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7)
    return ax


def cluster_sizes(adata: AnnData, *, ax: Axes | None = None) -> Axes:
    """Draw the number of cells of each cluster, as bars in the clusters' colours.

    Parameters
    ----------
    adata
        Annotated cells with clusters in ``obs["scrae"]``.
    ax
        Where to draw; None makes a figure.

    Raises
    ------
    ScraeError
        When there are no clusters yet.
    """
    column = category_column(adata, "scrae")
    sizes = np.bincount(column.codes[column.codes >= 0], minlength=len(column.categories))
    ax = new_axes(4.2, 0.8 + 0.22 * len(sizes)) if ax is None else ax
    ax.barh(range(len(sizes)), sizes, color=category_colors(adata, "scrae"), height=0.75)
    ax.set_yticks(range(len(sizes)), list(map(shorten, column.categories)), parse_math=False)
    for row, size in enumerate(sizes):
        ax.text(size, row, f" {size:,}", va="center", fontsize=7, color=INK)
    ax.invert_yaxis()
    ax.margins(x=0.12)
    ax.set_xlabel("cells", fontsize=9)
    ax.set_ylabel("cluster", fontsize=9)
    tidy(ax)
    return ax
