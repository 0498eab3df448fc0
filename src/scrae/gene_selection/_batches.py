"""One ranking out of several batches."""

from __future__ import annotations

from collections.abc import Sequence

from scrae.gene_selection._result import GeneScores

__all__ = ["combine_batches"]


def combine_batches(scores: Sequence[GeneScores], *, n_top_genes: int) -> GeneScores:
    """Rank genes by their median rank over the batches that have them among their best ``n_top_genes``."""
    raise NotImplementedError
