"""Neighbor graphs, and latent representations averaged over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from .neighbors import find_neighbors

__all__ = ["N_NEIGHBORS", "NeighborGraph", "neighbor_graph", "smooth"]

N_NEIGHBORS = 15
"""Including the cell itself, as scanpy counts."""
_VARIANCE_KEPT, _MAX_ROUNDS = 1 / 3, 40
_OWN_WEIGHT = 0.01
_BISECTIONS = 60
_MIN_WIDTH = 1e-3
"""Smallest kernel width, as a fraction of the mean distance to the neighbors; UMAP's value."""


@dataclass(frozen=True, kw_only=True)
class NeighborGraph:
    """Weighted neighbor graph of cells.

    Attributes
    ----------
    codes : ndarray of shape (n_cells, n_latent)
        The latent representation that the graph was computed from.
    connectivities : csr_matrix of float32, shape (n_cells, n_cells)
        Symmetric weights, 0 to 1 (UMAP's).
    distances : csr_matrix of float64, shape (n_cells, n_cells)
        Euclidean distance of each cell to its neighbors.
    joined : csr_matrix of float32, shape (n_cells, n_cells)
        The weights that clustering uses: the larger of the connectivities in the codes and in a second
        representation; without one, ``connectivities``.
    cells : ndarray of int64, shape (n_cells,)
        The rows of the data set that the graph covers.
    """

    codes: np.ndarray
    connectivities: sparse.csr_matrix
    distances: sparse.csr_matrix
    joined: sparse.csr_matrix
    cells: np.ndarray

    def subset(self, rows: np.ndarray) -> NeighborGraph:
        """Return the induced graph of some rows (positions or a mask)."""
        within = (matrix[rows][:, rows] for matrix in (self.connectivities, self.distances, self.joined))
        connectivities, distances, joined = within
        return NeighborGraph(
            codes=self.codes[rows],
            connectivities=connectivities,
            distances=distances,
            joined=joined,
            cells=self.cells[rows],
        )


def neighbor_graph(
    z: np.ndarray, second: np.ndarray | None = None, *, cells: np.ndarray | None = None
) -> NeighborGraph:
    """Compute the neighbor graph of codes.

    Each graph equals that of ``scanpy.pp.neighbors`` with 15 neighbors, the cell itself included, and UMAP's weights
    (McInnes et al., 2018, section 3.1), without the ten seconds that compiling UMAP takes. The neighbors come from
    :class:`scrae.cluster.neighbors.NeighborIndex`.

    Parameters
    ----------
    z : ndarray of shape (n_cells, n_latent)
        Latent codes.
    second : ndarray of shape (n_cells, n_dimensions), optional
        A second representation of the same cells, whose graph is joined; None = none.
    cells : ndarray of int64, shape (n_cells,), optional
        The rows of the data set that these are; None = all, in order.

    Returns
    -------
    NeighborGraph
    """
    weights, distances = _weighted_graph(z)
    return NeighborGraph(
        codes=z,
        connectivities=weights,
        distances=distances,
        joined=weights if second is None else weights.maximum(_weighted_graph(second)[0]),
        cells=np.arange(len(z)) if cells is None else cells,
    )


def _weighted_graph(z: np.ndarray) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Return the weights and the distances of each point's neighbors, [cells, cells]."""
    n_neighbors = min(N_NEIGHBORS, len(z))
    distance, index = find_neighbors(z, n_neighbors - 1)  # [cells, neighbors], without the cell itself
    rows = np.arange(len(z) + 1) * (n_neighbors - 1)
    shape = (len(z), len(z))
    weights = _weights(distance, np.log2(n_neighbors))
    one_way = sparse.csr_matrix((weights.ravel(), index.ravel(), rows), shape)
    both = one_way + one_way.T - one_way.multiply(one_way.T)
    distances = sparse.csr_matrix((distance.ravel(), index.ravel(), rows), shape)
    return sparse.csr_matrix(both, dtype=np.float32), distances


def _weights(distance: np.ndarray, total: float) -> np.ndarray:
    """Return exp(-(d - d_nearest) / width), with each cell's width such that its weights sum to ``total``."""
    nearest = np.where(distance > 0, distance, np.inf).min(axis=1, keepdims=True)
    beyond = np.maximum(distance - np.where(np.isfinite(nearest), nearest, 0.0), 0.0)
    low, high = np.zeros_like(nearest), np.full_like(nearest, 2 * beyond.max() + 1e-12)
    for _ in range(_BISECTIONS):
        width = (low + high) / 2
        too_wide = np.exp(-beyond / width).sum(axis=1, keepdims=True) > total
        low, high = np.where(too_wide, low, width), np.where(too_wide, width, high)
    mean = distance.mean(axis=1, keepdims=True)
    least = _MIN_WIDTH * np.where(np.isfinite(nearest), mean, mean.mean())
    return np.asarray(np.exp(-beyond / np.maximum(width, least + np.finfo(float).tiny)))


def smooth(graph: NeighborGraph) -> np.ndarray:
    """Average the codes over the joined graph.

    Each round replaces every code by the weighted mean of its neighbors' codes (graph convolution without learned
    weights: Zhang et al., IJCAI 2019), at most 40 times and while at least a third of the total variance is left.
    A broad cell type contracts toward its center; different types, connected by few edges, stay apart. A hundredth
    of each result is the cell's own code, so that disconnected cells do not collapse onto one point.

    Parameters
    ----------
    graph : NeighborGraph
        The graph and its codes.

    Returns
    -------
    ndarray of float64, shape (n_cells, n_latent)
    """
    weights = sparse.csr_matrix(graph.joined, dtype=np.float64)
    average = sparse.diags_array(1 / np.asarray(weights.sum(axis=1)).ravel()) @ weights
    z = own = np.asarray(graph.codes, dtype=np.float64)
    least = _VARIANCE_KEPT * z.var(axis=0).sum()
    for _ in range(_MAX_ROUNDS):
        after = np.asarray(average @ z)
        if after.var(axis=0).sum() < least:
            break
        z = after
    return (1 - _OWN_WEIGHT) * z + _OWN_WEIGHT * own
