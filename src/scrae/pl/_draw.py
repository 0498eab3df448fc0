"""Colors and small helpers that all plots share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

__all__ = [
    "ACCENT",
    "GRID",
    "INK",
    "MUTED",
    "RAMP",
    "label_axes",
    "literal",
    "new_axes",
    "run_facts",
    "shorten",
    "spaced",
]

ACCENT = "#0b6b74"
INK = "#22262b"
MUTED = "#8a9099"
GRID = "#e9ebee"
RAMP = tuple(
    to_hex(c) for c in LinearSegmentedColormap.from_list("", ["#d8dce1", ACCENT, "#08424a"], N=11)(range(11))
)
"""Eleven shades from low to high."""


def new_axes(width: float, height: float) -> Axes:
    """Return the axes of a new figure of that size in inches, outside pyplot's global state."""
    return Figure(figsize=(width, height), layout="constrained").subplots()


def literal(text: Text, content: str) -> None:
    """Show a name from the data unchanged: ``$`` and ``_`` are not markup."""
    text.set_parse_math(False)
    text.set_text(content)


def spaced(key: str) -> str:
    """Return a key as words: ``bulk_labels`` is "bulk labels"."""
    return key.replace("_", " ")


def shorten(name: str, length: int = 36) -> str:
    """Return the name, its end replaced by an ellipsis where it is longer than ``length``."""
    return name if len(name) <= length else name[: length - 1] + "…"


def label_axes(ax: Axes, x: str, y: str = "", title: str = "") -> None:
    """Write title and axis labels; keep the left and the bottom spine only."""
    for text, content in ((ax.xaxis.label, x), (ax.yaxis.label, y), (ax.title, title)):
        literal(text, content)
        text.set(fontsize=9, color=INK)
    ax.title.set_fontsize(10)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(MUTED)
    ax.tick_params(color=MUTED, labelcolor=INK, width=0.8, labelsize=8)


def label_decades(axis: Axis, values: NDArray[np.float64]) -> None:
    """Label powers of ten on a logarithmic axis, and 1, 2 and 5 of each decade where it spans few."""
    few = values.max() < 100 * values.min()
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}" if x >= 1 else f"{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def run_facts(adata: AnnData, part: str) -> Mapping[str, Any]:
    """Return ``uns["scrae"][part]``, empty where it was not written."""
    facts: Mapping[str, Any] = adata.uns.get("scrae", {}).get(part, {})
    return facts
