"""Layout of a neighbor graph, beside UMAP's own code."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from scrae.cluster import layout as room
from scrae.cluster.graph import NeighborGraph, neighbor_graph
from scrae.cluster.layout import layout


@pytest.fixture(scope="module")
def cells() -> tuple[np.ndarray, np.ndarray, NeighborGraph]:
    """Codes of eight groups, two of them close, the groups and the graph."""
    rng = np.random.default_rng(0)
    center = rng.normal(0, 4, (8, 6))
    center[1] = center[0] + 2
    group = np.repeat(np.arange(8), 60)
    z = center[group] + rng.normal(size=(480, 6))
    return z, group, neighbor_graph(z)


def _kept(z: np.ndarray, xy: np.ndarray) -> float:
    """Share of the 14 nearest cells that are among the 30 nearest in the layout."""
    before = NearestNeighbors(n_neighbors=14).fit(z).kneighbors(None, return_distance=False)
    after = NearestNeighbors(n_neighbors=30).fit(xy).kneighbors(None, return_distance=False)
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(before, after, strict=True)]))


def test_it_keeps_as_many_neighbors_as_umap(cells: tuple[np.ndarray, np.ndarray, NeighborGraph]) -> None:
    umap_ = pytest.importorskip("umap.umap_")
    z, group, graph = cells
    xy = layout(graph.connectivities, z[:, :2], seed=0)
    a, b = umap_.find_ab_params(1.0, 0.5)
    np.testing.assert_allclose((room._A, room._B), (a, b), atol=5e-4)
    edges, random = graph.connectivities.tocoo(), np.random.RandomState(0)
    shape, options = (2, 1.0, a, b, 1.0, 5, 500, "spectral"), ("euclidean", {}, False, {}, False)
    theirs, _ = umap_.simplicial_set_embedding(z, edges, *shape, random, *options)
    assert _kept(z, xy) > _kept(z, theirs) - 0.02 > 0.5
    votes = group[NearestNeighbors(n_neighbors=5).fit(xy).kneighbors(None, return_distance=False)]
    assert (votes == group[:, None]).mean() > 0.95


def test_it_depends_on_its_arguments_alone(cells: tuple[np.ndarray, np.ndarray, NeighborGraph]) -> None:
    z, _, graph = cells
    start = z[:, :2].copy()
    first = layout(graph.connectivities, start, seed=1)
    np.random.default_rng(5).random(3)
    assert np.array_equal(first, layout(graph.connectivities, 7 * start + 100, seed=1)) is False
    assert np.array_equal(first, layout(graph.connectivities, start, seed=1))
    assert np.array_equal(start, z[:, :2])
    assert np.ptp(layout(graph.connectivities, start, seed=2) - first) > 0


def test_equal_cells_and_cells_on_a_line_get_places() -> None:
    z = np.zeros((40, 2))
    graph = neighbor_graph(z)
    xy = layout(graph.connectivities, z, seed=0)
    assert np.isfinite(xy).all()
    assert len(np.unique(xy, axis=0)) == 40
    line = np.column_stack([np.arange(40.0), np.zeros(40)])
    assert np.isfinite(layout(neighbor_graph(line).connectivities, line, seed=0)).all()
