"""Names of scrae 0.1.0, until 0.3."""

from __future__ import annotations

import warnings

from anndata import AnnData

from scrae.cluster.graph import NeighborGraph
from scrae.tl._codes import neighbors

__all__ = ["neighbours"]  # old name


def neighbours(  # old name
    adata: AnnData, *, use_rep: str = "X_scrae", beside: str | None = "X_scrae_input", seed: int = 0
) -> NeighborGraph | None:
    """Deprecated: use :func:`scrae.tl.neighbors`; ``beside`` is its ``input_rep``."""
    warnings.warn(
        "scrae.tl.neighbours is deprecated; use scrae.tl.neighbors, with input_rep instead of beside",  # old name
        FutureWarning,
        stacklevel=2,
    )
    return neighbors(adata, use_rep=use_rep, input_rep=beside if beside in adata.obsm else None, seed=seed)
