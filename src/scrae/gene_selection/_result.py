"""What every method returns: one score, rank and mark per gene, and what a picture of the fit needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


__all__ = ["DispersionTrend", "GeneFit", "GeneScores", "MichaelisMenten"]


class MichaelisMenten(NamedTuple):
    """The fitted curve of M3Drop: drop-out rate = K / (K + mean)."""

    K: float
    """The mean at which half of the cells show no transcript."""
    K_error: float
    """Standard error of ``K``, at least ``sigma`` (reported as the R package does, not used by the test)."""
    sigma: float
    """Root mean square of the residuals of the drop-out rate."""


class DispersionTrend(NamedTuple):
    """The fitted line of NBumi: ln size = intercept + slope · ln mean."""

    intercept: float
    slope: float


@dataclass(frozen=True, kw_only=True)
class GeneFit:
    """What a plot needs: ``mean`` against ``statistic``, and the line ``expected`` through them.

    Sort by ``mean`` to draw ``expected`` as a curve. Genes that were dropped have mean 0 and NaN elsewhere.
    """

    mean: NDArray[np.float64]
    """[genes] mean over cells, on the scale that the method looks at."""
    statistic: NDArray[np.float64]
    """[genes] what is plotted against the mean; ``statistic_name`` says what it is."""
    statistic_name: str
    """In words, for an axis: "drop-out rate", "dispersion", ..."""
    expected: NDArray[np.float64] | None = None
    """[genes] the statistic that the null model expects at this mean; None where there is no null model."""
    parameters: MichaelisMenten | DispersionTrend | None = None
    """The fitted parameters; None where nothing is fitted."""


@dataclass(frozen=True, kw_only=True)
class GeneScores:
    """The same answer from every method. All arrays are [genes], in the order of the input."""

    score: NDArray[np.float64]
    """Larger is more informative; never increases with the rank. Dropped genes have -inf."""
    rank: NDArray[np.int64]
    """0 is best; a permutation of the genes. Dropped genes come last."""
    selected: NDArray[np.bool_]
    """The genes to keep."""
    p_value: NDArray[np.float64] | None
    """One-sided; 1 for dropped genes. None where the method has no test."""
    fit: GeneFit | None
    """What a plot needs. None after `combine_batches`: there is one fit per batch."""
    notes: tuple[str, ...]
    """What was dropped or fell short, in plain words."""
