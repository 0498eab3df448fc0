"""Binomial deviance of every gene (Townes et al. 2019)."""

from __future__ import annotations

from scrae.gene_selection._blocks import Counts
from scrae.gene_selection._result import GeneScores

__all__ = ["deviance"]


def deviance(counts: Counts, *, n_top_genes: int) -> GeneScores:
    """Genes whose counts a constant share of every cell's total explains worst."""
    raise NotImplementedError
