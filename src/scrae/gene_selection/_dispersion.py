"""Seurat's dispersion, as scanpy's flavour of that name, from sums over cells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scrae.gene_selection._blocks import Counts
from scrae.gene_selection._result import GeneScores

__all__ = ["dispersion"]


def dispersion(
    counts: Counts,
    *,
    n_top_genes: int,
    size_factors: NDArray[np.floating] | None = None,
) -> GeneScores:
    """scanpy's ``flavor="seurat"`` on log1p(counts / size factor), from raw counts in one pass.

    ``size_factors`` is [cells]; None: cell totals over their median.
    """
    raise NotImplementedError
