"""Result of every method: score, rank and selection of each gene, and the fitted curve for plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from scrae.errors import ScraeError

__all__ = [
    "Correction",
    "DispersionTrend",
    "GeneFit",
    "GeneScores",
    "MichaelisMenten",
    "adjust",
    "expand",
    "quantity",
    "rank_genes",
]

Correction = Literal["bonferroni", "fdr"]


class MichaelisMenten(NamedTuple):
    """The fitted curve of M3Drop: drop-out rate = K / (K + mean)."""

    K: float
    """The mean at which half of the cells show no transcript."""
    sigma: float
    """Root mean square of the residuals of the drop-out rate."""


class DispersionTrend(NamedTuple):
    """The fitted line of NBumi: ln size = intercept + slope · ln mean."""

    intercept: float
    slope: float


@dataclass(frozen=True, kw_only=True)
class GeneFit:
    """Values for a plot: ``mean`` against ``statistic``, with the curve ``expected``.

    Sort by ``mean`` to draw ``expected`` as a curve. Dropped genes have mean 0, and NaN elsewhere.
    """

    mean: NDArray[np.float64]
    """[genes] mean over cells, on the scale that the method looks at."""
    statistic: NDArray[np.float64]
    """[genes] what is plotted against the mean; ``statistic_name`` says what it is."""
    statistic_name: str
    """In words, for an axis: "drop-out rate", "deviance", ..."""
    expected: NDArray[np.float64] | None = None
    """[genes] the statistic that the null model expects; None where there is no null model."""
    parameters: MichaelisMenten | DispersionTrend | None = None
    """The fitted parameters; None where nothing is fitted."""


@dataclass(frozen=True, kw_only=True)
class GeneScores:
    """Result of a gene selection method. All arrays are [genes], in the order of the input."""

    score: NDArray[np.float64]
    """Larger is more informative; never increases with the rank. Dropped genes have -inf."""
    rank: NDArray[np.int64]
    """0 is best; a permutation of the genes. Dropped genes come last."""
    selected: NDArray[np.bool_]
    """The genes to keep."""
    p_value: NDArray[np.float64] | None
    """One-sided, not adjusted; 1 for dropped genes. None where the method has no test."""
    fit: GeneFit | None
    """What a plot needs. None after `combine_batches`: there is one fit per batch."""
    notes: tuple[str, ...]
    """Messages about dropped cells and genes."""


def quantity(number: int, noun: str) -> str:
    """A number with its noun: "1 cell", "2 cells"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def expand(values: NDArray[np.float64], kept: NDArray[np.bool_], fill: float) -> NDArray[np.float64]:
    """Expand values of the kept genes to all genes: [kept genes] -> [genes]."""
    out = np.full(kept.shape, fill, dtype=np.float64)
    out[kept] = values
    return out


def adjust(p_value: NDArray[np.float64], correction: Correction) -> NDArray[np.float64]:
    """Adjust p-values for many tests, by Bonferroni or by Benjamini and Hochberg (the false discovery rate)."""
    if correction == "bonferroni":
        return np.minimum(1.0, p_value * p_value.size)
    if correction == "fdr":
        return np.asarray(false_discovery_control(p_value))
    raise ScraeError(f'expected correction="bonferroni" or "fdr", found {correction!r}: use one of the two')


def rank_genes(
    score: NDArray[np.float64],
    *,
    ties: Sequence[NDArray[Any]] = (),
    kept: NDArray[np.bool_],
    choice: int | NDArray[np.bool_],
    p_value: NDArray[np.float64] | None = None,
    fit: GeneFit | None,
    notes: Sequence[str],
) -> GeneScores:
    """Rank the kept genes and mark the chosen ones.

    Parameters
    ----------
    score
        [kept genes], larger is better.
    ties
        [kept genes] each; between genes of equal score the larger one goes first, then the order of the
        input.
    kept
        [genes]; the others rank last.
    choice
        How many of the best genes to select, or [kept genes], which.
    p_value
        [kept genes], or None without a test.
    fit, notes
        Passed on.

    Raises
    ------
    ScraeError
        If the number of genes to select is not positive.
    """
    index = np.flatnonzero(kept)
    order = np.lexsort([-key for key in (*reversed(ties), score)])
    dropped = np.flatnonzero(~kept)
    rank = np.empty(kept.size, dtype=np.int64)
    rank[np.concatenate([index[order], dropped])] = np.arange(kept.size)
    selected = np.zeros(kept.size, dtype=np.bool_)
    notes = list(notes)
    if isinstance(choice, np.ndarray):
        selected[index] = choice
    else:
        if choice < 1:
            raise ScraeError(f"expected n_top_genes of at least 1, found {choice}: ask for one gene or more")
        selected[index[order[:choice]]] = True
        if choice > index.size:
            notes.append(
                f"{quantity(choice, 'gene')} requested, {index.size} available: all of them are selected"
            )
    return GeneScores(
        score=expand(score, kept, -np.inf),
        rank=rank,
        selected=selected,
        p_value=None if p_value is None else expand(p_value, kept, 1.0),
        fit=fit,
        notes=tuple(notes),
    )
