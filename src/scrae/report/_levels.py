"""Clusters at other numbers: all cuts of the tree of the finest clusters, for the slider of the page."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scrae.cluster.tree import ClusterTree
from scrae.errors import ScraeError
from scrae.pl import category_colors, category_column
from scrae.pl._colors import PALETTE
from scrae.pp._gene_kinds import gene_kinds
from scrae.report._format import number
from scrae.report._points import base64_of
from scrae.report._run import Run
from scrae.tl._tree import stored_tree

__all__ = ["level_data"]

FINE = "scrae_fine"


def level_data(run: Run, cells: NDArray[np.int64], genes: list[str]) -> dict[str, Any] | None:
    """Return every cut of the tree for JSON; None where there is no tree, or the clusters are none of its cuts.

    Nodes are the leaves, 0 to n_leaves - 1, and the joins of :class:`scrae.cluster.tree.ClusterTree`.

    Parameters
    ----------
    run : Run
        Its ``obs["scrae_fine"]`` and tree come from :func:`scrae.tl.cluster_levels`.
    cells : ndarray of int64, shape (n_shown,)
        The cells in the page.
    genes : list of str
        The genes in the page.

    Returns
    -------
    dict or None
        ``codes``: the leaf of each cell in the page; ``leaves`` of each node; ``size``, ``counts`` and ``genes``: cells
        and medians of each node; ``color`` of each node, that of its larger child; ``cuts``: the nodes of the cuts at
        1, 2, ... clusters in the order of their names; ``run`` and ``names``: number and names of the run's clusters;
        ``tables``: cells of each leaf and category, of labels and samples; ``omitted``: positions of genes that are
        not shown as markers.
    """
    if not run.has_clusters or FINE not in run.adata.obs:
        return None
    try:
        tree, names = stored_tree(run.adata, FINE)
    except ScraeError:
        return None
    fine = pd.Categorical(run.adata.obs[FINE].astype(str), names).codes
    clusters = category_column(run.adata, "scrae")
    cuts = [_cut(tree, k) for k in range(1, tree.n_leaves + 1)]
    leaves = [tree.leaves(node).tolist() for node in range(2 * tree.n_leaves - 1)]
    own = _in_order(cuts, leaves, _table(fine, clusters, tree.n_leaves))
    if own is None:
        return None
    cuts[len(own) - 1] = own
    tables = [(run.label_key, "Main label"), ("sample", "Main sample")]
    kinds = gene_kinds(run.adata.var_names)[run.adata.var_names.get_indexer(pd.Index(genes))]
    return {
        "codes": base64_of(fine[cells].astype("<u2")),
        "leaves": leaves,
        "size": [int(tree.sizes[below].sum()) for below in leaves],
        "counts": _medians(run, "scrae_n_counts", fine, leaves),
        "genes": _medians(run, "scrae_n_genes", fine, leaves),
        "color": _colors(tree, own, category_colors(run.adata, "scrae")),
        "cuts": cuts,
        "run": len(own),
        "names": clusters.categories.tolist(),
        "tables": [
            {
                "title": title,
                "categories": (column := category_column(run.adata, key)).categories.tolist(),
                "cells": _table(fine, column, tree.n_leaves).tolist(),
            }
            for key, title in tables
            if key is not None and key in run.adata.obs
        ],
        "omitted": np.flatnonzero(kinds != "").tolist(),
    }


def _cut(tree: ClusterTree, n_clusters: int) -> list[int]:
    """Return the nodes of a cut in the order of :meth:`ClusterTree.cut`."""
    nodes = set(range(tree.n_leaves))
    for join, pair in enumerate(tree.children[: tree.n_leaves - n_clusters]):
        nodes = (nodes - {int(node) for node in pair}) | {tree.n_leaves + join}
    return sorted(sorted(nodes), key=lambda node: -int(tree.sizes[tree.leaves(node)].sum()))


def _in_order(cuts: list[list[int]], leaves: list[list[int]], table: NDArray[np.int64]) -> list[int] | None:
    """Return the nodes that are the run's clusters, in their order; None where the clusters are no cut.

    ``table`` holds the cells of each leaf and cluster.
    """
    n_clusters = table.shape[1]
    if n_clusters > len(cuts):
        return None
    cells = np.array([table[leaves[node]].sum(axis=0) for node in cuts[n_clusters - 1]])
    if not ((cells > 0).sum(axis=0) == 1).all() or not ((cells > 0).sum(axis=1) == 1).all():
        return None
    return [cuts[n_clusters - 1][row] for row in cells.argmax(axis=0)]


def _table(fine: NDArray[Any], column: pd.Categorical, n_leaves: int) -> NDArray[np.int64]:
    """Count the cells of each leaf and category."""
    counts = np.zeros((n_leaves, len(column.categories)), dtype=np.int64)
    known = column.codes >= 0
    np.add.at(counts, (fine[known], column.codes[known]), 1)
    return counts


def _medians(run: Run, key: str, fine: NDArray[Any], leaves: list[list[int]]) -> list[str] | None:
    values = run.column(key)
    if values is None:
        return None
    return [number(round(float(np.nanmedian(values[np.isin(fine, below)])))) for below in leaves]


def _colors(tree: ClusterTree, own: list[int], colors: list[str]) -> list[str]:
    """Return a color of each node: the run's clusters keep theirs, and a join takes that of its larger side."""
    sizes = tree.sizes.tolist()
    larger = list(range(tree.n_leaves))  # of each node, the leaf that gives its color
    for first, second in tree.children.tolist():
        larger.append(larger[first if sizes[first] >= sizes[second] else second])
        sizes.append(sizes[first] + sizes[second])
    given = {larger[node]: color for node, color in zip(own, colors, strict=True)}
    others = iter(color for color in [*PALETTE, *PALETTE] if color not in colors)
    leaf_colors = [given.get(leaf) or next(others) for leaf in range(tree.n_leaves)]
    return [leaf_colors[leaf] for leaf in larger]
