"""A tree over clusters, its cuts, and clusters within a cluster."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData

from scrae.cluster.graph import NeighborGraph, smooth
from scrae.cluster.transfer import vote
from scrae.cluster.tree import ClusterTree, nested_tree
from scrae.cluster.tree import cluster_tree as tree_of
from scrae.config import ClusterConfig, ClusterMethod
from scrae.errors import ScraeError, did_you_mean
from scrae.tl._cluster import cluster
from scrae.tl._codes import ABOUT_CLUSTERS, cluster_facts, codes_of, neighbors

__all__ = ["cluster_levels", "cluster_tree", "cut_tree", "stored_tree", "subcluster"]

_MOST_LEVELS = 40


def cluster_tree(
    adata: AnnData, *, cluster_key: str = "scrae", graph: NeighborGraph | None = None, seed: int = 0
) -> None:
    """Join the clusters step by step into a tree, nearest first, by Ward's method on the smoothed codes.

    Parameters
    ----------
    adata : AnnData
        Cells clustered by :func:`cluster`. To choose among many numbers, start from many clusters.
    cluster_key : str
        Column of ``obs`` with the clusters, the leaves of the tree.
    graph : NeighborGraph, optional
        Result of :func:`neighbors` for these clusters' representation, if it was computed before.
    seed : int
        Seed of the sample of very many cells, see :func:`neighbors`.

    Raises
    ------
    ScraeError
        No clusters, fewer than two, or not the representation that they were computed from.

    Notes
    -----
    Writes ``uns[cluster_key]["tree"]``: ``children`` [clusters - 1, 2], ``height`` [clusters - 1] and ``sizes``
    [clusters], see :class:`scrae.cluster.tree.ClusterTree`. :func:`cut_tree` reads it.

    Examples
    --------
    >>> scrae.tl.cluster(adata, n_clusters=5)
    >>> scrae.tl.cluster_tree(adata)
    >>> adata.uns["scrae"]["tree"]["children"].shape
    (4, 2)
    """
    facts = cluster_facts(adata, cluster_key)
    column = adata.obs[cluster_key].cat.remove_unused_categories()
    if len(column.cat.categories) < 2:
        raise ScraeError(f"cluster_tree: expected at least two clusters in obs[{cluster_key!r}], found one")
    use_rep, second = str(facts["use_rep"]), str(facts.get("input_rep", "")) or None
    if graph is None:
        graph = neighbors(adata, use_rep=use_rep, input_rep=second, seed=seed)
    labels, points = column.cat.codes.to_numpy().astype(np.int64), codes_of(adata, use_rep)
    if graph is not None and len(np.unique(labels[graph.cells])) == len(column.cat.categories):
        labels, points = labels[graph.cells], smooth(graph)
    found = tree_of(points, labels)
    _store(adata, cluster_key, found, column)


def _store(adata: AnnData, key: str, tree: ClusterTree, column: pd.Series) -> None:
    adata.uns.setdefault(key, {})["tree"] = {
        "children": tree.children,
        "height": tree.height,
        "sizes": np.bincount(column.cat.codes),
        "names": column.cat.categories.astype(str).to_numpy(dtype=object),
    }


def cluster_levels(
    adata: AnnData, *, cluster_key: str = "scrae", graph: NeighborGraph | None = None, seed: int = 0
) -> None:
    """Write clusters at many numbers, nested in each other and in the given clusters.

    Each cluster is divided into at most eight parts by K-means on the smoothed codes. Ward's method joins the parts,
    first within the clusters, then the clusters. :func:`cut_tree` gives the clusters at a number, and the report a
    slider over all numbers.

    Parameters
    ----------
    adata : AnnData
        Cells clustered by :func:`cluster`.
    cluster_key : str
        Column of ``obs`` with the clusters.
    graph : NeighborGraph, optional
        Result of :func:`neighbors` for these clusters' representation, if it was computed before.
    seed : int
        Seed of K-means, and of the sample of very many cells, see :func:`neighbors`.

    Raises
    ------
    ScraeError
        No clusters, or not the representation that they were computed from.

    Notes
    -----
    Writes ``obs[f"{cluster_key}_fine"]``, the finest clusters (twice as many as the given ones and at least ten more,
    but at most 40, and fewer if the clusters are small), and for the same key of ``uns`` the slots ``"clusters"`` and
    ``"tree"``, as :func:`cluster_tree` does. The cut at the given number is the given clusters.
    """
    facts = cluster_facts(adata, cluster_key)
    codes = adata.obs[cluster_key].cat.remove_unused_categories().cat.codes.to_numpy().astype(np.int64)
    n_clusters = int(codes.max()) + 1
    use_rep, second = str(facts["use_rep"]), str(facts.get("input_rep", "")) or None
    if graph is None:
        graph = neighbors(adata, use_rep=use_rep, input_rep=second, seed=seed)
    z = codes_of(adata, use_rep)
    cells, points = (np.arange(len(z)), z) if graph is None else (graph.cells, smooth(graph))
    if len(np.unique(codes[cells])) < n_clusters:  # a small cluster is not in the sample
        cells, points = np.arange(len(z)), z
    most = max(n_clusters, min(max(2 * n_clusters, n_clusters + 10), _MOST_LEVELS))
    leaves, tree = nested_tree(points, codes[cells], most=most, seed=seed)
    fine, known = np.empty(len(z), dtype=np.int64), np.zeros(len(z), dtype=bool)
    fine[cells], known[cells] = leaves, True
    for k in range(n_clusters):  # cells outside the sample stay in their cluster
        there, others = cells[codes[cells] == k], np.flatnonzero(~known & (codes == k))
        if len(others):
            fine[others] = vote(z[others], z[there], fine[there])
    names = [str(leaf) for leaf in range(tree.n_leaves)]
    key = f"{cluster_key}_fine"
    adata.obs[key] = pd.Categorical(fine.astype(str), names)
    kept = {name: value for name, value in facts.items() if name in _KEPT}
    adata.uns[key] = {"clusters": {**kept, "n_clusters": tree.n_leaves, "levels_of": cluster_key}}
    _store(adata, key, tree, adata.obs[key])


def cut_tree(adata: AnnData, n_clusters: int, *, cluster_key: str = "scrae", key_added: str) -> None:
    """Join clusters along their tree until ``n_clusters`` are left.

    The clusters for different numbers are nested: a smaller number joins clusters of a larger one.

    Parameters
    ----------
    adata : AnnData
        Cells with a tree, see :func:`cluster_tree`.
    n_clusters : int
        Number of clusters, at most that of the tree.
    cluster_key : str
        Column of ``obs`` whose tree is cut.
    key_added : str
        Column of ``obs`` to write, and key of ``uns`` for how it was made.

    Raises
    ------
    ScraeError
        No tree, or a number that it does not have.

    Notes
    -----
    Writes ``obs[key_added]``, categorical, named "0", "1", ... by decreasing size, and
    ``uns[key_added]["clusters"]``.

    Examples
    --------
    >>> scrae.tl.cluster_tree(adata)
    >>> scrae.tl.cut_tree(adata, 3, key_added="coarse")
    >>> list(adata.obs["coarse"].cat.categories)
    ['0', '1', '2']
    """
    tree, names = stored_tree(adata, cluster_key)
    if not 1 <= n_clusters <= tree.n_leaves:
        raise ScraeError(
            f"cut_tree: expected 1 to {tree.n_leaves} clusters, found {n_clusters}; "
            "for more, compute the tree of more clusters"
        )
    group = dict(zip(names, tree.cut(n_clusters).astype(str), strict=True))
    labels = adata.obs[cluster_key].astype(str).map(group)
    adata.obs[key_added] = pd.Categorical(labels, [str(k) for k in range(n_clusters)])
    adata.uns.setdefault(key_added, {})["clusters"] = {
        **{k: v for k, v in cluster_facts(adata, cluster_key).items() if k in _KEPT},
        "tree_of": cluster_key,
        "n_clusters": n_clusters,
    }


_KEPT = ("method", "use_rep", "input_rep", "seed")


def stored_tree(adata: AnnData, cluster_key: str) -> tuple[ClusterTree, list[str]]:
    """Return the tree in ``uns[cluster_key]["tree"]`` and the names of its leaves.

    Raises
    ------
    ScraeError
        There is none, or the clusters changed since.
    """
    stored = adata.uns.get(cluster_key, {}).get("tree")
    if stored is None:
        raise ScraeError(
            f"expected a tree in uns[{cluster_key!r}]['tree'], found none; use scrae.tl.cluster_tree(adata)"
        )
    names = [str(name) for name in np.atleast_1d(stored["names"])]
    sizes = np.atleast_1d(np.asarray(stored["sizes"]))
    now = adata.obs[cluster_key].astype(str).value_counts()
    if set(now.index) != set(names) or any(now[n] != s for n, s in zip(names, sizes, strict=True)):
        raise ScraeError(
            f"expected the tree of the clusters in obs[{cluster_key!r}], found that of other clusters; "
            "use scrae.tl.cluster_tree(adata) again"
        )
    tree = ClusterTree(
        children=np.asarray(stored["children"]).reshape(-1, 2),
        height=np.atleast_1d(np.asarray(stored["height"])),
        sizes=sizes,
    )
    return tree, names


def subcluster(
    adata: AnnData,
    name: str,
    *,
    cluster_key: str = "scrae",
    n_clusters: int | None = None,
    method: ClusterMethod = ClusterConfig.method,
    key_added: str | None = None,
    seed: int = 0,
) -> None:
    """Divide one cluster by clustering its cells alone.

    The representation stays that of all cells; the neighbor graph is computed anew within the cluster. For genes and
    codes of the cluster's own, run the whole analysis on ``adata[adata.obs["scrae"] == name]``.

    Parameters
    ----------
    adata : AnnData
        Cells clustered by :func:`cluster`.
    name : str
        The cluster to divide.
    cluster_key : str
        Column of ``obs`` with the clusters.
    n_clusters : int, optional
        Number of parts; None = chosen as in :func:`cluster`.
    method : {"smoothed", "leiden", "kmeans", "gmm"}
        As for :func:`cluster`.
    key_added : str, optional
        Column of ``obs`` to write, and key of ``uns``; None = ``cluster_key``, whose clusters are replaced. Facts
        about the old clusters, such as their stability, are then removed.
    seed : int
        Seed of the clustering.

    Raises
    ------
    ScraeError
        No such cluster, or too few cells in it.

    Notes
    -----
    Writes ``obs[key_added]``: cluster "3" becomes "3.0", "3.1", ... by decreasing size, the others keep their names.

    Examples
    --------
    >>> scrae.tl.cluster(adata, n_clusters=3)
    >>> scrae.tl.subcluster(adata, "0", n_clusters=2, key_added="finer")
    >>> list(adata.obs["finer"].cat.categories)
    ['0.0', '0.1', '1', '2']
    """
    facts, column = cluster_facts(adata, cluster_key), adata.obs[cluster_key].astype(str)
    names = list(adata.obs[cluster_key].cat.categories.astype(str))
    if name not in names:
        raise ScraeError(
            f"subcluster: expected a cluster of obs[{cluster_key!r}] ({', '.join(names)}), found {name!r}"
            f"{did_you_mean(name, names)}"
        )
    rows = np.flatnonzero((column == name).to_numpy())
    use_rep, second = str(facts["use_rep"]), str(facts.get("input_rep", "")) or None
    keys = [key for key in (use_rep, second) if key is not None]
    part = AnnData(codes_of(adata, use_rep)[rows], obsm={key: codes_of(adata, key)[rows] for key in keys})
    cluster(part, n_clusters=n_clusters, method=method, use_rep=use_rep, input_rep=second, seed=seed)
    column = column.to_numpy(dtype=object)
    column[rows] = name + "." + part.obs["scrae"].astype(str).to_numpy(dtype=object)
    at, parts = names.index(name), [f"{name}.{k}" for k in part.obs["scrae"].cat.categories]
    names[at : at + 1] = parts
    key_added = key_added or cluster_key
    adata.obs[key_added] = pd.Categorical(column, names)
    kept = {key: value for key, value in facts.items() if key in _KEPT}
    others = {k: v for k, v in adata.uns.get(key_added, {}).items() if k not in ABOUT_CLUSTERS}
    adata.uns[key_added] = others | {"clusters": {**kept, "n_clusters": len(names), "subclustered": name}}
