"""Cells as points in two dimensions."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from scrae.errors import ScraeError, did_you_mean
from scrae.pl._colors import MISSING, category_colors, category_column, is_category
from scrae.pl._draw import INK, literal, new_axes, shorten

__all__ = ["BASES", "embedding"]

RASTER_ABOVE = 5_000  # points; editors are slow with larger vector files
MOST_POINTS = 100_000  # more take long and look the same
LEGEND_ROWS = 25
BASES = {
    "X_umap": "UMAP",
    "X_tsne": "t-SNE",
    "X_umap_scrae": "UMAP",  # of files that version 0.1.0 wrote
    "X_tsne_scrae": "t-SNE",
    "X_pca_scrae": "PCA",
    "X_scrae_2d": "scRAE 2-D latent",
    "X_scrae": "scRAE latent",
}
"""Slots of ``obsm`` that this package writes, and the names of these embeddings."""

TITLES = {
    "scrae": "clusters",
    "scrae_n_counts": "counts per cell",
    "scrae_n_genes": "detected genes",
    "scrae_mito": "mitochondrial share",
}
"""Titles of our own columns of ``obs``."""


def embedding(adata: AnnData, basis: str, *, color: str, ax: Axes | None = None) -> Axes:
    """Draw the cells at ``obsm[basis]``, colored by a column of ``obs``.

    Cells are drawn in random order (the same each time), so that no group covers another; at most 100,000 are drawn.
    Vector files hold more than 5,000 points as an image. Categories with names of up to three letters are also
    written into the plot.

    Parameters
    ----------
    adata : AnnData
        Annotated cells. Cells without coordinates are not drawn.
    basis : str
        Key of ``obsm`` with coordinates of shape [cells, 2]; of more columns the first two are drawn.
    color : str
        Column of ``obs``: categories or numbers. Cells without a value are gray.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes. Slots written: ``uns[f"{color}_colors"]`` for categories, where it is missing or too short.

    Raises
    ------
    ScraeError
        If ``obsm`` has no such basis or ``obs`` no such column.

    Examples
    --------
    >>> scrae.pl.embedding(adata, "X_umap", color="scrae")  # doctest: +SKIP
    """
    xy = _coordinates(adata, basis)
    if color not in adata.obs:
        category_column(adata, color)  # raises, and names the columns
    order = np.random.default_rng(0).permutation(adata.n_obs)
    order = order[np.isfinite(xy[order]).all(axis=1)][:MOST_POINTS]
    column = adata.obs[color]
    if is_category(column):
        ax = _by_category(adata, color, xy, order, ax)
    else:
        ax = _by_value(column.to_numpy(dtype=np.float64, na_value=np.nan), xy, order, ax)
    name = BASES.get(basis, basis.removeprefix("X_"))
    for axis, number in ((ax.xaxis, 1), (ax.yaxis, 2)):
        literal(axis.label, f"{name} {number}")
        axis.label.set(fontsize=9, color=INK)
    literal(ax.title, f"{name}, {TITLES.get(color, shorten(color, 60))}")
    ax.title.set(fontsize=11, color=INK)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    return ax


def _coordinates(adata: AnnData, basis: str) -> NDArray[np.float64]:
    if basis not in adata.obsm:
        known = ", ".join(adata.obsm) or "none"
        raise ScraeError(
            f"expected an embedding in obsm, found no {basis!r}; there are: {known}{did_you_mean(basis, adata.obsm)}"
        )
    xy = np.asarray(adata.obsm[basis], dtype=np.float64)
    if xy.ndim != 2 or xy.shape[1] < 2:
        raise ScraeError(f"expected obsm[{basis!r}] of shape [cells, 2], found {list(xy.shape)}")
    return xy[:, :2]


def _by_category(
    adata: AnnData, key: str, xy: NDArray[np.float64], order: NDArray[np.int64], ax: Axes | None
) -> Axes:
    column = category_column(adata, key)
    colors = category_colors(adata, key)
    names = [shorten(name) for name in column.categories]
    columns = math.ceil(len(names) / LEGEND_ROWS)
    letters = max(map(len, names), default=0)
    ax = new_axes(5.2 + columns * (0.35 + 0.075 * letters), 5.0) if ax is None else ax
    _scatter(ax, xy[order], np.array([*colors, MISSING])[column.codes[order]])
    _legend(ax, names, colors, missing=bool((column.codes < 0).any()), n_columns=max(columns, 1))
    if letters <= 3:
        _write_names(ax, xy, column)
    return ax


def _legend(ax: Axes, names: list[str], colors: list[str], *, missing: bool, n_columns: int) -> None:
    """Name the colors at the right of the axes."""
    if missing:
        names, colors = [*names, "no value"], [*colors, MISSING]
    legend = ax.legend(
        [Line2D([], [], marker="o", linestyle="", markersize=5, color=color) for color in colors],
        ["·"] * len(colors),  # replaced below: the legend would leave out names that begin with _
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        frameon=False,
        ncols=n_columns,
        fontsize=8 if n_columns == 1 else 6.5,
        handletextpad=0.2,
        columnspacing=1.0,
        borderaxespad=0.3,
        labelcolor=INK,
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        literal(text, name)


def _write_names(ax: Axes, xy: NDArray[np.float64], column: pd.Categorical) -> None:
    """Write each name at the median of its cells, with a white outline."""
    for code, name in enumerate(column.categories):
        points = xy[(column.codes == code) & np.isfinite(xy).all(axis=1)]
        if not len(points):
            continue
        x, y = np.median(points, axis=0)
        text = ax.text(x, y, "", ha="center", va="center", fontsize=9, weight="bold", color=INK)
        text.set_path_effects([patheffects.withStroke(linewidth=2.5, foreground="white")])
        literal(text, name)


def _by_value(
    values: NDArray[np.float64], xy: NDArray[np.float64], order: NDArray[np.int64], ax: Axes | None
) -> Axes:
    ax = new_axes(6.0, 5.0) if ax is None else ax
    known = np.isfinite(values[order])
    _scatter(ax, xy[order[~known]], MISSING)
    order = order[known]
    low, high = np.percentile(values[order], [1, 99]) if len(order) else (0.0, 1.0)
    points = _scatter(ax, xy[order], values[order])
    points.set_cmap("viridis")
    points.set_clim(low, high if high > low else low + 1)
    bar = ax.figure.colorbar(points, ax=ax, shrink=0.5, aspect=18, pad=0.02, extend="both")
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, width=0.8)
    return ax


def _scatter(ax: Axes, xy: NDArray[np.float64], color: str | NDArray[np.generic]) -> PathCollection:
    n_points = max(len(xy), 1)
    return ax.scatter(
        xy[:, 0], xy[:, 1], c=color, s=float(np.clip(60_000 / n_points, 0.6, 18)), linewidths=0,
        rasterized=n_points > RASTER_ABOVE,
    )  # fmt: skip
