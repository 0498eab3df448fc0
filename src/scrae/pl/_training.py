"""Training curves and the choice of the number of clusters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from scrae.errors import ScraeError
from scrae.pl._draw import ACCENT, INK, MUTED, label_axes, run_facts

__all__ = ["history"]

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
NAMES = {"reconstruction": "training cells", "validation": "held-out cells"}


def history(
    source: AnnData | Mapping[str, Any], *, panels: Sequence[str] | None = None
) -> NDArray[np.object_]:
    """Draw every loss against the epoch, and the epoch whose weights were kept.

    Parameters
    ----------
    source : AnnData or mapping
        AnnData with ``uns["scrae"]["history"]`` and, for the best epoch, ``uns["scrae"]["train"]``; or that history
        itself: a mapping from term to an array of shape [epochs].
    panels : sequence of str or None
        Titles of the panels to draw, for example ``["Critic"]``; None = every loss that the training used.

    Returns
    -------
    numpy.ndarray
        The axes in one figure, shape [panels].

    Raises
    ------
    ScraeError
        If there is no history.

    Examples
    --------
    >>> axes = scrae.pl.history(adata)
    """
    curves: Mapping[str, Any] = run_facts(source, "history") if isinstance(source, AnnData) else source
    train = run_facts(source, "train") if isinstance(source, AnnData) else {}
    drawn = {
        title: used
        for title, terms in PANELS.items()
        if (panels is None or title in panels)
        and (
            used := [term for term in terms if np.nan_to_num(np.asarray(curves.get(term, 0.0), float)).any()]
        )
    }
    if not drawn:
        raise ScraeError(
            'expected a training history in uns["scrae"]["history"], found none; train a model first'
        )
    n_columns = min(len(drawn), 3)
    n_rows = math.ceil(len(drawn) / n_columns)
    figure = Figure(figsize=(3.4 * n_columns, 2.3 * n_rows), layout="constrained")
    grid: NDArray[np.object_] = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for ax, (title, terms) in zip(grid, drawn.items(), strict=False):
        _panel(
            ax, title, {term: np.asarray(curves[term], float) for term in terms}, curves.get("epoch"), train
        )
    for ax in grid[len(drawn) :]:
        ax.remove()
    return grid[: len(drawn)]


def _panel(
    ax: Axes,
    title: str,
    terms: Mapping[str, NDArray[np.float64]],
    epochs: Any | None,
    train: Mapping[str, Any],
) -> None:
    for (term, values), color in zip(terms.items(), (INK, ACCENT), strict=False):
        x = np.arange(len(values)) if epochs is None else np.asarray(epochs)
        ax.plot(x, values, color=color, linewidth=1.4, label=NAMES.get(term, term))
    if "best_epoch" in train:
        ax.axvline(
            float(train["best_epoch"]), color=MUTED, linewidth=1, linestyle=(0, (3, 3)), label="kept weights"
        )
    label_axes(ax, "epoch", title=title)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if "reconstruction" in terms:
        ax.legend(frameon=False, fontsize=7, labelcolor=INK)
    if "learning_rate" in terms:
        ax.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
        ax.yaxis.get_offset_text().set(fontsize=7, color=INK)
