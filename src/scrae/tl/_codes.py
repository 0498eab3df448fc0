"""The codes that an AnnData holds."""

from __future__ import annotations

import numpy as np
from anndata import AnnData

from scrae.errors import ScraeError

__all__ = ["FEW", "codes_of"]

FEW = 4  # cells: too few for a neighbour graph


def codes_of(adata: AnnData, use_rep: str) -> np.ndarray:
    """Return ``obsm[use_rep]``, or say what is there instead."""
    if use_rep not in adata.obsm:
        raise ScraeError(
            f"expected codes in obsm[{use_rep!r}], found {', '.join(adata.obsm) or 'none'}; embed the cells first"
        )
    return np.asarray(adata.obsm[use_rep])
