"""Michaelis-Menten selection of genes by drop-out (M3Drop; Andrews & Hemberg 2019)."""

from __future__ import annotations

from typing import Literal

from scrae.gene_selection._blocks import Counts
from scrae.gene_selection._result import GeneScores

__all__ = ["m3drop"]


def m3drop(
    counts: Counts,
    *,
    n_top_genes: int | None = None,
    alpha: float = 0.05,
    correction: Literal["bonferroni", "fdr"] = "bonferroni",
    normalize: bool = True,
) -> GeneScores:
    """Genes with more zeros than a Michaelis-Menten curve expects at their mean."""
    raise NotImplementedError
