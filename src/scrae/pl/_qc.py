"""Violins of quality measures by sample, with the limits of ``qc="mad"``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter
from numpy.typing import NDArray

from scrae.errors import ScraeError, did_you_mean
from scrae.pl._cells import MEASURES
from scrae.pl._colors import category_column
from scrae.pl._draw import ACCENT, INK, label_axes, literal, shorten
from scrae.pp._outliers import NAMES, mad_table

__all__ = ["qc"]

_MOST_SAMPLES = 30
_LIMIT = "#b3261e"
_TICKS = np.log10(np.multiply.outer(10.0 ** np.arange(8), [1, 1.5, 2, 3, 5, 7])).ravel().tolist()


def qc(
    adata: AnnData, *, sample_key: str | None = None, panels: Sequence[str] | None = None
) -> NDArray[np.object_]:
    """Draw violins of counts, detected genes and mitochondrial share for each sample, with limits for outliers.

    The limits are those of ``scrae.pp.filter(qc="mad")``, computed from the cells that there are.

    Parameters
    ----------
    adata : AnnData
        Annotated cells after ``pp.filter``.
    sample_key : str or None
        Column of ``obs`` with the sample of each cell; None = one sample. Of more than 30 samples, those with most
        cells are drawn.
    panels : sequence of str or None
        Columns to draw, of ``scrae_n_counts``, ``scrae_n_genes`` and ``scrae_mito``; None = all.

    Returns
    -------
    numpy.ndarray
        The axes in one figure, shape [panels].

    Raises
    ------
    ScraeError
        If ``obs`` lacks one of these columns.
    """
    for key in (*MEASURES, *([] if sample_key is None else [sample_key])):
        if key not in adata.obs:
            raise ScraeError(
                f"qc: expected a column {key!r} in obs, found none; run scrae.pp.filter first"
                f"{did_you_mean(key, adata.obs)}"
            )
    columns = {key: adata.obs[key].to_numpy(dtype=np.float64) for key in MEASURES}
    names, codes = [""], np.zeros(adata.n_obs, dtype=np.int64)
    if sample_key is not None:
        column = category_column(adata, sample_key)
        names, codes = [str(name) for name in column.categories], np.asarray(column.codes)
    size = np.bincount(codes[codes >= 0], minlength=len(names))
    drawn = np.sort(np.argsort(-size, kind="stable")[:_MOST_SAMPLES])
    limits = mad_table(columns, None if sample_key is None else adata.obs[sample_key].astype(object))
    bounds = limits.set_index(["measure", "sample"])[["low", "high"]]
    chosen = list(panels or MEASURES)
    width = max(1.6, 0.35 * len(drawn) + 1.0)
    figure = Figure(figsize=(width * len(chosen), 2.6), layout="constrained")
    axes: NDArray[np.object_] = figure.subplots(1, len(chosen), squeeze=False).ravel()
    for ax, key in zip(axes, chosen, strict=True):
        title, factor, log = MEASURES[key]
        for place, code in enumerate(drawn):
            _violin(ax, place, factor * columns[key][codes == code], log)
            for bound in factor * bounds.loc[(NAMES[key], names[code])].to_numpy(dtype=np.float64):
                if np.isfinite(bound) and bound > 0:
                    ends = [place - 0.4, place + 0.4]
                    ax.plot(ends, [np.log10(bound) if log else bound] * 2, color=_LIMIT, linewidth=1.2)
        if log:
            ax.yaxis.set_major_locator(FixedLocator(_TICKS))
            ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{10**y:,.0f}"))
        ax.set_xticks(range(len(drawn)), [shorten(names[code], 18) for code in drawn], rotation=90)
        for label, code in zip(ax.get_xticklabels(), drawn, strict=True):
            literal(label, shorten(names[code], 18))
        label_axes(ax, "", title)
    return axes


def _violin(ax: Axes, place: int, values: NDArray[np.float64], log: bool) -> None:
    """Draw one violin with its median; a sample whose values are all equal is a line."""
    values = values[np.isfinite(values)]
    shown = np.log10(np.maximum(values, 1)) if log else values
    if not len(shown):
        return
    if np.ptp(shown) > 0:
        parts: Any = ax.violinplot([shown], [place], widths=0.8, showextrema=False)
        (body,) = parts["bodies"]
        body.set(facecolor=ACCENT, edgecolor="none", alpha=0.8)
    ax.plot([place - 0.15, place + 0.15], [np.median(shown)] * 2, color=INK, linewidth=1.5)
