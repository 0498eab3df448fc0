"""How the training went."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from scrae.errors import ScraeError
from scrae.pl._draw import ACCENT, INK, MUTED, run_facts, tidy

__all__ = ["PANELS", "history", "panels_of"]

PANELS: dict[str, tuple[str, ...]] = {
    "Reconstruction": ("reconstruction", "validation"),
    "Library size (KL)": ("library",),
    "Critic": ("critic",),
    "Latent generator": ("generator",),
    "Encoder, adversarial": ("encoder",),
    "Gradient penalty": ("gradient_penalty",),
    "Learning rate": ("learning_rate",),
}
"""Title of each panel, and the terms of the history that it shows."""


def panels_of(history: Mapping[str, Any]) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Return title → term → values, shape [epochs], of the terms that were used: not all NaN, not all zero."""
    panels = {}
    for title, terms in PANELS.items():
        curves = {term: np.asarray(history[term], dtype=np.float64) for term in terms if term in history}
        curves = {term: values for term, values in curves.items() if np.nan_to_num(values).any()}
        if curves:
            panels[title] = curves
    return panels


def history(source: AnnData | Mapping[str, Any]) -> NDArray[np.object_]:
    """Draw every loss against the epoch, and the epoch whose weights were kept.

    Parameters
    ----------
    source
        AnnData with ``uns["scrae"]["history"]`` and, for the stopping point, ``uns["scrae"]["train"]``; or that
        history itself: a dict of arrays of shape [epochs], with or without each term.

    Returns
    -------
    numpy.ndarray
        The axes, one a panel, shape [panels].

    Raises
    ------
    ScraeError
        When there is no history.
    """
    curves: Mapping[str, Any]
    train: Mapping[str, Any]
    if isinstance(source, AnnData):
        curves, train = run_facts(source, "history"), run_facts(source, "train")
    else:
        curves, train = source, {}
    panels = panels_of(curves)
    if not panels:
        raise ScraeError(
            'expected a training history in uns["scrae"]["history"], found none; train a model first'
        )
    n_columns = min(len(panels), 3)
    n_rows = math.ceil(len(panels) / n_columns)
    figure = Figure(figsize=(3.6 * n_columns, 2.6 * n_rows), layout="constrained")
    grid = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    best_epoch = int(train["best_epoch"]) if "best_epoch" in train else None
    for ax, (title, terms) in zip(grid, panels.items(), strict=False):
        _panel(ax, title, terms, curves.get("epoch"), best_epoch)
    for ax in grid[len(panels) :]:
        ax.remove()
    axes: NDArray[np.object_] = grid[: len(panels)]
    return axes


def _panel(
    ax: Axes, title: str, terms: Mapping[str, NDArray[np.float64]], epochs: Any | None, best_epoch: int | None
) -> None:
    names = {"reconstruction": "training", "validation": "held-out"}
    for (term, values), color in zip(terms.items(), (INK, ACCENT), strict=False):
        x = np.arange(len(values)) if epochs is None else np.asarray(epochs)
        ax.plot(x, values, color=color, linewidth=1.4, label=names.get(term, term))
    if best_epoch is not None:
        ax.axvline(float(best_epoch), color=MUTED, linewidth=1, linestyle=(0, (3, 3)), label="kept")
    if len(terms) > 1 or (best_epoch is not None and "reconstruction" in terms):
        ax.legend(frameon=False, fontsize=7)
    ax.set_title(title, fontsize=9, color=INK, loc="left")
    ax.set_xlabel("epoch", fontsize=8)
    if "learning_rate" in terms:
        ax.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
        ax.yaxis.get_offset_text().set_fontsize(7)
    tidy(ax)
