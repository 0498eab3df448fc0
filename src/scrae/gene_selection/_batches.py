"""Combine rankings of several batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scrae.errors import ScraeError
from scrae.gene_selection._result import GeneScores, rank_genes

__all__ = ["combine_batches"]


def combine_batches(scores: Sequence[GeneScores], *, n_top_genes: int) -> GeneScores:
    """Rank genes by their median rank over the batches that have them among their best ``n_top_genes``.

    The rule of scanpy's ``flavor="seurat_v3"`` with a batch key: ties go to the gene that more batches chose,
    and genes that no batch chose come after all others, here by their median rank.

    Parameters
    ----------
    scores
        One per batch, over the same genes.
    n_top_genes
        How many genes to select, and how many of each batch count.

    Returns
    -------
    GeneScores
        ``score`` is minus the median rank. ``p_value`` and ``fit`` are None. ``notes`` say of which batch
        they are, by its position from 1.

    Raises
    ------
    ScraeError
        Without batches, for batches of different numbers of genes, and for ``n_top_genes`` below 1.
    """
    lengths = sorted({batch.rank.size for batch in scores})
    if len(lengths) != 1:
        raise ScraeError(
            f"combine_batches expected batches over the same genes, found {lengths} genes: align them"
        )
    ranks = np.stack([batch.rank for batch in scores])  # [batches, genes]
    known = np.stack([batch.score > -np.inf for batch in scores])
    chosen = known & (ranks < n_top_genes)
    times = chosen.sum(axis=0)
    kept: NDArray[np.bool_] = np.any(known, axis=0)
    counted = np.where(times > 0, chosen, known)
    median = np.nanmedian(np.where(counted, ranks, np.nan)[:, kept], axis=0)
    return rank_genes(
        -median,
        ties=[times[kept]],
        kept=kept,
        choice=n_top_genes,
        fit=None,
        notes=[f"batch {i}: {note}" for i, batch in enumerate(scores, 1) for note in batch.notes],
    )
