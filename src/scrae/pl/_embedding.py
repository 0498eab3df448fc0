"""Cells as points in two dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import overload

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from scrae.errors import ScraeError, did_you_mean
from scrae.pl._colors import MISSING, category_colors, category_column, is_category
from scrae.pl._draw import INK, literal, new_axes, shorten, spaced

__all__ = ["BASES", "embedding"]

RASTER_ABOVE = 5_000  # points; editors are slow with larger vector files
MOST_POINTS = 100_000  # more take long and look the same
LEGEND_ROWS = 25
MOST_COLUMNS = 3  # of panels side by side
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
    "scrae_name": "names of the clusters",
    "scrae_n_counts": "counts per cell",
    "scrae_n_genes": "detected genes",
    "scrae_mito": "mitochondrial share",
}
"""Titles of our own columns of ``obs``."""


@overload
def embedding(adata: AnnData, basis: str = ..., *, color: str, ax: Axes | None = ...) -> Axes: ...
@overload
def embedding(
    adata: AnnData, basis: str = ..., *, color: Sequence[str], ax: None = ...
) -> NDArray[np.object_]: ...
def embedding(
    adata: AnnData, basis: str = "umap", *, color: str | Sequence[str], ax: Axes | None = None
) -> Axes | NDArray[np.object_]:
    """Draw the cells at ``obsm[basis]``, colored by a column of ``obs`` or a gene.

    Cells are drawn in random order (the same each time), so that no group covers another; at most 100,000 are drawn.
    Vector files hold more than 5,000 points as an image. Categories with names of up to three letters are also
    written into the plot.

    Parameters
    ----------
    adata : AnnData
        Annotated cells. Cells without coordinates are not drawn.
    basis : str
        Key of ``obsm`` with coordinates of shape [cells, 2], with or without ``X_``: ``"umap"``, ``"tsne"``; of more
        columns the first two are drawn.
    color : str or sequence of str
        Column of ``obs`` (categories or numbers), or a gene, whose values in ``X`` are shown; several make a figure
        with one panel each. Cells without a value are gray.
    ax : matplotlib.axes.Axes or None
        Where to draw a single ``color``; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes or numpy.ndarray
        The axes; of several colors those in one figure, shape [colors]. Slots written: ``uns[f"{color}_colors"]`` for
        categories, where it is missing or too short.

    Raises
    ------
    ScraeError
        If ``obsm`` has no such basis, or neither ``obs`` nor ``var_names`` has such a color.

    Examples
    --------
    >>> ax = scrae.pl.embedding(adata, color="scrae")
    >>> axes = scrae.pl.embedding(adata, color=["NKG7", "LYZ"])
    """
    key = _basis_key(adata, basis)
    xy = _coordinates(adata, key)
    if isinstance(color, str):
        return _draw(adata, key, xy, color, ax)
    if ax is not None:
        raise ScraeError(
            "ax: expected None with several colors, found axes; call embedding once for each color"
        )
    columns = max(min(len(color), MOST_COLUMNS), 1)
    rows = max(math.ceil(len(color) / columns), 1)
    figure = Figure(figsize=(6.0 * columns, 5.0 * rows), layout="constrained")
    grid: NDArray[np.object_] = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, name in zip(grid, color, strict=False):
        _draw(adata, key, xy, name, panel)
    for panel in grid[len(color) :]:
        panel.remove()
    return grid[: len(color)]


def _draw(adata: AnnData, basis: str, xy: NDArray[np.float64], color: str, ax: Axes | None) -> Axes:
    order = np.random.default_rng(0).permutation(adata.n_obs)
    order = order[np.isfinite(xy[order]).all(axis=1)][:MOST_POINTS]
    if color in adata.obs and is_category(adata.obs[color]):
        ax = _by_category(adata, color, xy, order, ax)
    else:
        ax = _by_value(_values(adata, color), xy, order, ax)
    name = BASES.get(basis, basis.removeprefix("X_"))
    for axis, number in ((ax.xaxis, 1), (ax.yaxis, 2)):
        literal(axis.label, f"{name} {number}")
        axis.label.set(fontsize=9, color=INK)
    title = TITLES.get(color, spaced(color) if color in adata.obs else color)
    literal(ax.title, f"{name}, {shorten(title, 60)}")
    ax.title.set(fontsize=11, color=INK)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    return ax


def _values(adata: AnnData, color: str) -> NDArray[np.float64]:
    """Return a numeric column of ``obs`` or the values of a gene, shape [cells]."""
    if color in adata.obs:
        return np.asarray(adata.obs[color].to_numpy(dtype=np.float64, na_value=np.nan))
    if color not in adata.var_names:
        known = ", ".join(map(str, adata.obs.columns)) or "none"
        raise ScraeError(
            f"color: expected a column of obs or a gene, found {color!r}; the columns are: {known}"
            f"{did_you_mean(color, [*adata.obs, *adata.var_names])}"
        )
    column = adata.X[:, int(adata.var_names.get_indexer(pd.Index([color]))[0])]
    return np.asarray(column.toarray() if hasattr(column, "toarray") else column, dtype=np.float64).ravel()


def _basis_key(adata: AnnData, basis: str) -> str:
    """Return the key of ``obsm`` for a basis with or without ``X_``, or as version 0.1.0 called it."""
    keys = (basis, f"X_{basis}", f"X_{basis}_scrae", basis.removesuffix("_scrae"))
    return next((key for key in keys if key in adata.obsm), basis)


def _coordinates(adata: AnnData, basis: str) -> NDArray[np.float64]:
    if basis not in adata.obsm:
        known = ", ".join(adata.obsm) or "none"
        raise ScraeError(
            f"basis: expected an embedding in obsm, found no {basis!r}; there are: {known}"
            f"{did_you_mean(basis, adata.obsm)}"
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
