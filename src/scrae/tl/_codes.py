"""The latent representation that an AnnData holds, samples of its cells, and its neighbor graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from anndata import AnnData
from scipy.sparse import csr_matrix

from scrae.cluster.graph import N_NEIGHBORS, NeighborGraph, neighbor_graph
from scrae.errors import ScraeError

__all__ = [
    "ABOUT_CLUSTERS",
    "MAX_CELLS",
    "cluster_facts",
    "codes_of",
    "input_key",
    "is_chosen",
    "neighbors",
    "sample_of",
    "write_neighbors",
]

ABOUT_CLUSTERS = (
    "agreement", "stability", "significance", "tree", "markers", "marker_test", "annotation", "doublets", "scores",
    "composition", "conditions", "differential_expression",
)  # fmt: skip
"""Keys of ``uns["scrae"]`` that describe the clusters, and do not hold for others."""

_MIN_CELLS = 5  # of a neighbor graph
MAX_CELLS = 100_000  # of a neighbor graph; a sample represents more


def codes_of(adata: AnnData, use_rep: str) -> np.ndarray:
    """Return ``obsm[use_rep]``, or list the keys that exist."""
    if use_rep not in adata.obsm:
        raise ScraeError(
            f"expected codes in obsm[{use_rep!r}], found {', '.join(adata.obsm) or 'none'}; embed the cells first"
        )
    return np.asarray(adata.obsm[use_rep])


def input_key(adata: AnnData, use_rep: str, input_rep: str | None = "auto") -> str | None:
    """Return the key of obsm with the second representation to join, as :func:`neighbors` describes it."""
    if input_rep != "auto":
        return input_rep
    return key if (key := f"{use_rep}_input") in adata.obsm else None


def sample_of(n_cells: int, most: int, *, seed: int) -> np.ndarray:
    """Return the sorted rows of a random sample, int64 [at most ``most``]; smaller samples are nested in larger."""
    if n_cells <= most:
        return np.arange(n_cells)
    return np.sort(np.random.default_rng(seed).permutation(n_cells)[:most])


def cluster_facts(adata: AnnData, key: str) -> dict[str, Any]:
    """Return how ``obs[key]`` was clustered: ``uns[key]["clusters"]``.

    Raises
    ------
    ScraeError
        ``obs`` has no such column, or :func:`scrae.tl.cluster` did not write it.
    """
    facts = adata.uns.get(key, {})
    if key not in adata.obs or "clusters" not in facts:
        raise ScraeError(
            f"expected clusters in obs[{key!r}] and uns[{key!r}], found none; "
            f"use scrae.tl.cluster(adata{'' if key == 'scrae' else f', key_added={key!r}'})"
        )
    return dict(facts["clusters"])


def is_chosen(facts: Mapping[str, Any]) -> bool:
    """Whether the number of clusters was chosen without labels; 0.1.0 recorded candidates in place of runs."""
    return "runs" in facts or "candidates" in facts


def neighbors(
    adata: AnnData, *, use_rep: str = "X_scrae", input_rep: str | None = "auto", seed: int = 0
) -> NeighborGraph | None:
    """Compute the neighbor graph of the cells, to share between several steps.

    The graph of more than 100,000 cells is that of a random sample of 100,000; its ``cells`` says which.

    Parameters
    ----------
    adata : AnnData
        Cells with a latent representation.
    use_rep : str
        Key of ``obsm`` with the latent representation.
    input_rep : str or None
        Key of ``obsm`` with a second representation, whose neighbors are joined for clustering. ``"auto"`` = the
        principal components of the model's input that :func:`train` wrote beside ``use_rep``, if any: they exist for
        models without batches. None = none.
    seed : int
        Seed of the sample.

    Returns
    -------
    NeighborGraph or None
        See :class:`scrae.cluster.graph.NeighborGraph`. None for fewer than five cells.

    Raises
    ------
    ScraeError
        ``obsm`` has no such key.

    Notes
    -----
    Writes the graph of at most 100,000 cells where ``scanpy.pp.neighbors`` does: ``obsp["connectivities"]``, the joined
    weights, ``obsp["distances"]``, those of the latent representation, and ``uns["neighbors"]``.
    """
    z, second = codes_of(adata, use_rep), input_key(adata, use_rep, input_rep)
    if len(z) < _MIN_CELLS:
        return None
    sample = sample_of(len(z), MAX_CELLS, seed=seed)
    graph = neighbor_graph(
        z[sample], None if second is None else codes_of(adata, second)[sample], cells=sample
    )
    if len(sample) == len(z):
        write_neighbors(adata, graph.joined, graph.distances, use_rep=use_rep)
    return graph


def write_neighbors(
    adata: AnnData, connectivities: csr_matrix, distances: csr_matrix, *, use_rep: str
) -> None:
    """Write a graph of all cells where ``scanpy.pp.neighbors`` does."""
    adata.obsp["connectivities"], adata.obsp["distances"] = connectivities, distances
    adata.uns["neighbors"] = {
        "connectivities_key": "connectivities",
        "distances_key": "distances",
        "params": {
            "n_neighbors": min(N_NEIGHBORS, adata.n_obs),
            "method": "umap",
            "metric": "euclidean",
            "use_rep": use_rep,
        },
    }
