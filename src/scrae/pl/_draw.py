"""Small things that every picture shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

__all__ = ["ACCENT", "INK", "MUTED", "literal", "new_axes", "run_facts", "shorten", "tidy"]

ACCENT = "#0b6b74"
INK = "#22262b"
MUTED = "#8a9099"


def new_axes(width: float, height: float) -> Axes:
    """Return the axes of a new figure of that size in inches, which belongs to no window and no global state."""
    return Figure(figsize=(width, height), layout="constrained").subplots()


def literal(text: Text, content: str) -> None:
    """Let ``text`` show a name from the data as it is: ``$`` and ``_`` mean nothing special in it."""
    text.set_parse_math(False)
    text.set_text(content)


def shorten(name: str, length: int = 36) -> str:
    """Return the name, its end replaced by an ellipsis where it is longer than ``length``."""
    return name if len(name) <= length else name[: length - 1] + "…"


def tidy(ax: Axes) -> None:
    """Leave of the frame what carries meaning: the left and the bottom axis, in grey."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(MUTED)
    ax.tick_params(colors=INK, width=0.8, labelsize=8)


def run_facts(adata: AnnData, part: str) -> Mapping[str, Any]:
    """Return ``uns["scrae"][part]``, empty where it was not written."""
    facts: Mapping[str, Any] = adata.uns.get("scrae", {}).get(part, {})
    return facts
