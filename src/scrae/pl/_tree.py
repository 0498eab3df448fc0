"""The tree of the clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from scipy.cluster.hierarchy import dendrogram

from scrae.errors import ScraeError
from scrae.pl._colors import category_colors
from scrae.pl._draw import ACCENT, INK, MUTED, label_axes, new_axes, shorten

__all__ = ["cluster_tree"]

_STYLE = {
    "real": (ACCENT, "solid", "gap"),
    "continuous": (MUTED, "dashed", "continuous"),
    "not supported": (MUTED, "dotted", "not supported"),
    "not tested": (MUTED, "dotted", "not tested"),
}


def cluster_tree(adata: AnnData, *, cluster_key: str = "scrae", ax: Axes | None = None) -> Axes:
    """Draw the tree of the clusters; joins that :func:`scrae.tl.significance` found to have a gap are solid.

    Parameters
    ----------
    adata : AnnData
        Cells with ``uns[cluster_key]["tree"]``, see :func:`scrae.tl.cluster_tree`.
    cluster_key : str
        Column of ``obs`` with the clusters.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ScraeError
        No tree.

    Examples
    --------
    >>> scrae.tl.cluster_tree(adata)
    >>> ax = scrae.pl.cluster_tree(adata)
    """
    facts = adata.uns.get(cluster_key, {})
    if "tree" not in facts:
        raise ScraeError(
            f"cluster_tree: expected a tree in uns[{cluster_key!r}]['tree'], found none; "
            "use scrae.tl.cluster_tree(adata)"
        )
    children = np.asarray(facts["tree"]["children"]).reshape(-1, 2)
    names = [str(name) for name in np.atleast_1d(facts["tree"]["names"])]
    height = np.atleast_1d(facts["tree"]["height"])
    linkage = np.column_stack([children, height, np.zeros(len(height))]).astype(np.float64)
    drawn: dict[str, Any] = dict(dendrogram(linkage, no_plot=True))
    verdicts = np.atleast_1d(facts.get("significance", {}).get("verdict", ["real"] * len(height)))
    order = np.argsort(height, kind="stable")  # dendrogram gives no join of its lines; heights do
    ax = new_axes(5.5, 1 + 0.24 * len(names)) if ax is None else ax
    used = {}
    for x, y in zip(drawn["dcoord"], drawn["icoord"], strict=True):
        join = int(order[np.searchsorted(height[order], x[1])])
        color, line, label = _STYLE[str(verdicts[join])]
        (used[label],) = ax.plot(x, y, color=color, linestyle=line, linewidth=1.4)
    places = 5 + 10 * np.arange(len(names))
    ax.set_yticks(places, [shorten(names[leaf]) for leaf in drawn["leaves"]], parse_math=False)
    categories = map(str, adata.obs[cluster_key].cat.categories)
    colors = dict(zip(categories, category_colors(adata, cluster_key), strict=True))
    for leaf, place in zip(drawn["leaves"], places, strict=True):
        ax.plot(0, place, "o", color=colors.get(names[leaf], INK), markersize=6, clip_on=False)
    if "significance" in facts:
        ax.legend(list(used.values()), list(used), frameon=False, fontsize=8)
    label_axes(ax, "distance (Ward)", "cluster")
    ax.spines["left"].set_visible(False)
    ax.invert_xaxis()
    return ax
