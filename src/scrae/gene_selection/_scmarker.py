"""Genes that split cells and go with other genes (SCMarker; Wang et al. 2019)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scrae.gene_selection._blocks import Matrix
from scrae.gene_selection._result import GeneScores

__all__ = ["scmarker"]


def scmarker(
    expression: Matrix,
    *,
    n_top_genes: int | None = None,
    width: float = 1.0,
    cutoff: float = 2.0,
    min_genes: int = 10,
    min_cells: int = 10,
    k: int = 300,
    n: int = 30,
    exclude: NDArray[np.bool_] | None = None,
) -> GeneScores:
    """Marker genes from log-normalised expression, in memory. ``n_top_genes=None`` takes SCMarker's own set."""
    raise NotImplementedError
