"""Histograms of quality measures of the cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter
from numpy.typing import NDArray

from scrae.errors import ScraeError
from scrae.pl._draw import ACCENT, INK, label_axes, label_decades, run_facts

__all__ = ["quality"]

N_BINS = 48
MEASURES = {  # column of obs: name, factor, logarithmic axis
    "scrae_n_counts": ("counts per cell", 1.0, True),
    "scrae_n_genes": ("detected genes per cell", 1.0, True),
    "scrae_mito": ("% mitochondrial counts", 100.0, False),
}


def quality(adata: AnnData, *, panels: Sequence[str] | None = None) -> NDArray[np.object_]:
    """Draw histograms of counts, detected genes and mitochondrial share per cell, with their medians.

    Where the filters removed cells, an outline shows all cells before the filters.

    Parameters
    ----------
    adata : AnnData
        Annotated cells after ``pp.filter``.
    panels : sequence of str or None
        Columns to draw, of ``scrae_n_counts``, ``scrae_n_genes`` and ``scrae_mito``; None = all that hold values.

    Returns
    -------
    numpy.ndarray
        The axes in one figure, shape [panels].

    Raises
    ------
    ScraeError
        If ``obs`` has none of these columns.

    Examples
    --------
    >>> axes = scrae.pl.quality(adata)
    """
    columns = {
        key: adata.obs[key].to_numpy(dtype=np.float64) for key in panels or MEASURES if key in adata.obs
    }
    columns = {key: values for key, values in columns.items() if np.nan_to_num(values).any()}
    if not columns:
        raise ScraeError(
            f"expected one of {', '.join(MEASURES)} in obs, found none; run scrae.pp.filter first"
        )
    figure = Figure(figsize=(3.4 * len(columns), 2.3), layout="constrained")
    axes: NDArray[np.object_] = figure.subplots(1, len(columns), squeeze=False).ravel()
    removed = run_facts(adata, "filter").get("n_cells_before", adata.n_obs) > adata.n_obs
    before = run_facts(adata, "before_filter") if removed else {}
    for ax, (key, values) in zip(axes, columns.items(), strict=True):
        name, factor, log = MEASURES[key]
        earlier = None
        if key in before:
            earlier = (
                factor * np.asarray(before[key]["edges"], dtype=np.float64),
                np.asarray(before[key]["cells"]),
            )
        _histogram(ax, factor * values, log, earlier)
        label_axes(ax, name, "cells")
    return axes


def _histogram(
    ax: Axes,
    values: NDArray[np.float64],
    log: bool,
    before: tuple[NDArray[np.float64], NDArray[np.int64]] | None,
) -> None:
    values = values[np.isfinite(values) & ((values > 0) | (not log))]
    low, high = values.min(), values.max()
    if high == low:
        low, high = low * 0.9, high * 1.1
    edges = np.geomspace(low, high, N_BINS + 1) if log else np.linspace(low, high, N_BINS + 1)
    if before is not None:
        edges = before[0]
        ax.stairs(before[1], edges, color=INK, linewidth=1, label="before the filters")
    ax.stairs(
        np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0],
        edges,
        fill=True,
        color=ACCENT,
        alpha=0.8,
    )
    middle = float(np.median(values))
    shown = f"{middle:,.0f}" if middle >= 100 else f"{middle:.3g}"
    ax.axvline(middle, color=INK, linewidth=1, linestyle=(0, (3, 3)), label=f"median {shown}")
    if log:
        ax.set_xscale("log")
        label_decades(ax.xaxis, edges)
    ax.margins(y=0.25)
    ax.set_ylim(bottom=0)
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.legend(frameon=False, fontsize=7, labelcolor=INK)
