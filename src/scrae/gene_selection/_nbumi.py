"""Depth-adjusted negative binomial selection of genes (NBumi, also DANB; Andrews & Hemberg 2019)."""

from __future__ import annotations

from typing import Literal

from scrae.gene_selection._blocks import Counts
from scrae.gene_selection._result import GeneScores

__all__ = ["nbumi"]


def nbumi(
    counts: Counts,
    *,
    variant: Literal["dropout", "high_variance"] = "dropout",
    n_top_genes: int | None = None,
    alpha: float = 0.05,
    correction: Literal["bonferroni", "fdr"] = "fdr",
) -> GeneScores:
    """Genes with more zeros (or more variance) than a depth-adjusted negative binomial expects.

    ``variant="high_variance"`` has no test: ``n_top_genes`` must be given.
    """
    raise NotImplementedError
