"""The codes that an AnnData holds, samples of them, and their graph."""

from __future__ import annotations

import numpy as np
from anndata import AnnData

from scrae.errors import ScraeError
from scrae.graph import neighbours as graph_of

__all__ = ["FEW", "MOST", "codes_of", "neighbours", "sample_of"]

FEW = 4  # cells: too few for a neighbour graph
MOST = 100_000  # cells of a neighbour graph; of more, a sample stands for all


def codes_of(adata: AnnData, use_rep: str) -> np.ndarray:
    """Return ``obsm[use_rep]``, or say what is there instead."""
    if use_rep not in adata.obsm:
        raise ScraeError(
            f"expected codes in obsm[{use_rep!r}], found {', '.join(adata.obsm) or 'none'}; embed the cells first"
        )
    return np.asarray(adata.obsm[use_rep])


def sample_of(n_cells: int, most: int, *, seed: int) -> np.ndarray:
    """Return which cells stand for all, int64 [at most ``most``], in order; a smaller sample is a part of a larger."""
    if n_cells <= most:
        return np.arange(n_cells)
    return np.sort(np.random.default_rng(seed).permutation(n_cells)[:most])


def neighbours(adata: AnnData, *, use_rep: str = "X_scrae", seed: int = 0) -> AnnData | None:
    """Return the neighbour graph of the codes, to be given to several steps; None for 4 cells or fewer.

    See :func:`scrae.graph.neighbours`. It is no part of ``adata``, so that a result does not carry it about. Of more
    than 100,000 cells it is the graph of a random sample of so many; ``obs["cell"]`` of the graph says which.

    Raises
    ------
    ScraeError : no such codes.
    """
    z = codes_of(adata, use_rep)
    if len(z) <= FEW:
        return None
    sample = sample_of(len(z), MOST, seed=seed)
    graph = graph_of(z[sample])
    graph.obs["cell"] = sample
    return graph
