"""The codes that an AnnData holds, and their graph."""

from __future__ import annotations

import numpy as np
from anndata import AnnData

from scrae.errors import ScraeError
from scrae.graph import neighbours as graph_of

__all__ = ["FEW", "codes_of", "neighbours"]

FEW = 4  # cells: too few for a neighbour graph


def codes_of(adata: AnnData, use_rep: str) -> np.ndarray:
    """Return ``obsm[use_rep]``, or say what is there instead."""
    if use_rep not in adata.obsm:
        raise ScraeError(
            f"expected codes in obsm[{use_rep!r}], found {', '.join(adata.obsm) or 'none'}; embed the cells first"
        )
    return np.asarray(adata.obsm[use_rep])


def neighbours(adata: AnnData, *, use_rep: str = "X_scrae") -> AnnData | None:
    """Return the neighbour graph of the codes, to be given to several steps; None for 4 cells or fewer.

    See :func:`scrae.graph.neighbours`. It is no part of ``adata``, so that a result does not carry it about.

    Raises
    ------
    ScraeError : no such codes.
    """
    z = codes_of(adata, use_rep)
    return graph_of(z) if len(z) > FEW else None
