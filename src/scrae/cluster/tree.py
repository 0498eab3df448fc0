"""Tree of clusters: which are nearest, and nested cuts at every number of clusters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans

__all__ = ["ClusterTree", "cluster_tree", "nested_tree"]

_PARTS, _CELLS_PER_PART = 8, 20
"""Of each cluster: the largest number of parts, and the smallest average size of a part."""


@dataclass(frozen=True, kw_only=True)
class ClusterTree:
    """Binary tree over clusters, in the form of a SciPy linkage.

    Leaves are 0 to n_leaves - 1; join i makes the node n_leaves + i.

    Attributes
    ----------
    children : ndarray of int64, shape (n_leaves - 1, 2)
        The two nodes of each join, closest join first.
    height : ndarray of float64, shape (n_leaves - 1,)
        Ward distance of the two, not decreasing.
    sizes : ndarray of int64, shape (n_leaves,)
        Cells of each leaf.
    """

    children: np.ndarray
    height: np.ndarray
    sizes: np.ndarray

    @property
    def n_leaves(self) -> int:
        """Number of clusters."""
        return len(self.sizes)

    def leaves(self, node: int) -> np.ndarray:
        """Return the leaves below a node, int64, in the order of a drawing."""
        if node < self.n_leaves:
            return np.array([node])
        left, right = self.children[node - self.n_leaves]
        return np.concatenate([self.leaves(int(left)), self.leaves(int(right))])

    def cut(self, n_clusters: int) -> np.ndarray:
        """Return the group of each leaf, int64 [n_leaves], in 0 to ``n_clusters - 1`` by decreasing number of cells.

        The cuts are nested: that into K + 1 groups divides one group of that into K.
        """
        group = np.arange(self.n_leaves)
        for join in range(self.n_leaves - n_clusters):
            group[self.leaves(self.n_leaves + join)] = self.n_leaves + join
        named, index = np.unique(group, return_inverse=True)
        cells = np.bincount(index, weights=self.sizes, minlength=len(named))
        return np.asarray(np.argsort(np.argsort(-cells, kind="stable"))[index], dtype=np.int64)


def cluster_tree(points: np.ndarray, labels: np.ndarray, *, within: np.ndarray | None = None) -> ClusterTree:
    """Join clusters by Ward's method (Journal of the American Statistical Association 58:236, 1963).

    Each step joins the two clusters whose union adds least to the sum of squared distances from the means.

    Parameters
    ----------
    points : ndarray of shape (n_cells, n_dimensions)
        Smoothed codes.
    labels : ndarray of int64, shape (n_cells,)
        Cluster of each cell, 0 to n_clusters - 1, none empty.
    within : ndarray of int64, shape (n_clusters,), optional
        Group of each cluster: clusters of one group are joined before groups are. Heights are then raised where they
        would decrease.

    Returns
    -------
    ClusterTree
        Its heights are those of ``scipy.cluster.hierarchy.ward`` where every cluster is one point.
    """
    sizes = np.bincount(labels)
    n_leaves = len(sizes)
    sums = np.zeros((n_leaves, points.shape[1]))
    np.add.at(sums, labels, points)
    nodes, weight, mean = np.arange(n_leaves), sizes.astype(np.float64), sums / sizes[:, None]
    children, height = np.zeros((n_leaves - 1, 2), dtype=np.int64), np.zeros(n_leaves - 1)
    group = np.zeros(n_leaves, dtype=np.int64) if within is None else within
    for join in range(n_leaves - 1):
        squares = ((mean[:, None] - mean[None]) ** 2).sum(axis=2)
        cost = 2 * squares * np.outer(weight, weight) / np.add.outer(weight, weight)
        np.fill_diagonal(cost, np.inf)
        if len(np.unique(group)) < len(group):
            cost[group[:, None] != group] = np.inf
        first, second = sorted(map(int, np.unravel_index(cost.argmin(), cost.shape)))
        children[join], height[join] = sorted((nodes[first], nodes[second])), np.sqrt(cost[first, second])
        both = weight[first] + weight[second]
        mean[first] = (weight[first] * mean[first] + weight[second] * mean[second]) / both
        weight[first], nodes[first] = both, n_leaves + join
        nodes, weight = np.delete(nodes, second), np.delete(weight, second)
        mean, group = np.delete(mean, second, axis=0), np.delete(group, second)
    return ClusterTree(children=children, height=np.maximum.accumulate(height), sizes=sizes)


def nested_tree(
    points: np.ndarray, labels: np.ndarray, *, most: int, seed: int
) -> tuple[np.ndarray, ClusterTree]:
    """Divide clusters into parts, and join these by Ward's method: first within the clusters, then the clusters.

    Parameters
    ----------
    points : ndarray of shape (n_cells, n_dimensions)
        Smoothed codes.
    labels : ndarray of int64, shape (n_cells,)
        Cluster of each cell, 0 to n_clusters - 1, none empty.
    most : int
        Largest number of leaves; at least the clusters themselves are leaves.
    seed : int
        Seed of K-means, which divides each cluster into at most 8 parts before they are joined.

    Returns
    -------
    leaves : ndarray of int64, shape (n_cells,)
        Leaf of each cell.
    tree : ClusterTree
        Its cut at n_clusters is ``labels``.
    """
    parts, n_parts = np.zeros(len(labels), dtype=np.int64), 0
    for k in range(int(labels.max()) + 1):
        cells = np.flatnonzero(labels == k)
        distinct = len(np.unique(points[cells], axis=0))
        wanted = max(1, min(_PARTS, len(cells) // _CELLS_PER_PART, distinct))
        found = KMeans(wanted, n_init=3, random_state=seed).fit_predict(points[cells])
        parts[cells] = n_parts + np.unique(found, return_inverse=True)[1]
        n_parts = int(parts[cells].max()) + 1
    within = labels[np.unique(parts, return_index=True)[1]]
    tree = cluster_tree(points, parts, within=within)
    leaves = tree.cut(min(max(most, int(labels.max()) + 1), n_parts))[parts]
    within = labels[np.unique(leaves, return_index=True)[1]]
    return leaves, cluster_tree(points, leaves, within=within)
