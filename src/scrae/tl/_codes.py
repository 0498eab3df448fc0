"""The codes that an AnnData holds, samples of them, and their graph."""

from __future__ import annotations

import numpy as np
from anndata import AnnData

from scrae.cluster.graph import neighbours as graph_of
from scrae.errors import ScraeError

__all__ = ["FEW", "INPUT", "MOST", "codes_of", "neighbours", "sample_of"]

INPUT = "X_scrae_input"
"""Where the principal components of what the encoder reads are."""
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


def neighbours(
    adata: AnnData, *, use_rep: str = "X_scrae", beside: str | None = INPUT, seed: int = 0
) -> AnnData | None:
    """Return the neighbour graphs of the codes, to be given to several steps; None for 4 cells or fewer.

    See :func:`scrae.cluster.graph.neighbours`. They are not stored in ``adata``. Of
    more than 100,000 cells they are those of a random sample of so many; ``obs["cell"]`` of the graph says which.

    Parameters
    ----------
    beside : slot of obsm whose neighbours count too where clusters are made; None, or one that is not there, = the
        codes' neighbours alone. The usual one is not there where the codes forget batches, which the components do not.

    Raises
    ------
    ScraeError : no such codes.
    """
    z = codes_of(adata, use_rep)
    if len(z) <= FEW:
        return None
    sample = sample_of(len(z), MOST, seed=seed)
    others = None if beside is None or beside not in adata.obsm else np.asarray(adata.obsm[beside])[sample]
    graph = graph_of(z[sample], others)
    graph.obs["cell"] = sample
    return graph
