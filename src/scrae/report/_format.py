"""Numbers, durations, settings and charts as the page shows them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from scrae import pl

__all__ = ["chart", "duration", "number", "setting", "spaced", "with_commands"]


def number(value: float) -> str:
    """Format a number: ``12,345``, ``0.812``, ``3.1e-05``."""
    value = float(value)
    if not math.isfinite(value):
        return "–"
    if abs(value) >= 1000 or value == round(value):
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.1e}"


def duration(seconds: float) -> str:
    """Format a duration: ``4.2 s``, ``3 min 5 s``, ``2 h 10 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def spaced(name: object) -> str:
    """Replace underscores by spaces."""
    return str(name).replace("_", " ")


def with_commands(sentence: str) -> Markup:
    """Escape a sentence and show what is between backticks as a command."""
    parts = sentence.split("`")
    if len(parts) % 2 == 0:  # a backtick of the data
        return escape(sentence)
    shown = [
        Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(parts)
    ]
    return Markup("").join(shown)


def setting(value: object) -> str:
    """Format the value of a setting."""
    if value is None:
        return "–"
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple, np.ndarray)):
        return ", ".join(setting(part) for part in value)
    return f"{value:g}" if isinstance(value, (float, np.floating)) else str(value)


def chart(axes: Any, title: str, description: str = "") -> Markup:
    """Return the figure of these axes as inline SVG; its texts are escaped."""
    return Markup(pl.inline_svg(axes.figure, title=title, description=description))  # noqa: S704
