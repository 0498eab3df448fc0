"""Conformal p-values: how unusual a new cell is among cells that the model was not trained on."""

from __future__ import annotations

import numpy as np

__all__ = ["conformal_p"]


def conformal_p(scores: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the p-value of "this cell is like the known ones", from several scores of unusualness.

    The combined score of a cell is the smallest rank of its scores among the known cells (Tippett's statistic), and
    the rank of this combined score among those of the known cells is the p-value. It is uniform for a cell that is
    exchangeable with the known ones, whatever the scores are and however they depend on each other (Vovk, Gammerman
    and Shafer, Algorithmic Learning in a Random World, 2005; Bates et al., Ann. Stat. 51, 2023, for outliers).

    Parameters
    ----------
    scores : ndarray of shape (n_cells, n_scores)
        Of new cells; larger is more unusual.
    known : ndarray of shape (n_known, n_scores)
        Of known cells, which did not take part in the training.

    Returns
    -------
    ndarray of float64, shape (n_cells,)
        At least 1 / (1 + n_known).
    """
    pairs = list(zip(scores.T, known.T, strict=True))
    # Half a rank: between two ranks of known cells, which count themselves.
    combined = np.min([_at_least(new, old) + 0.5 for new, old in pairs], axis=0)
    combined_known = np.min([_at_least(old, old) for _, old in pairs], axis=0)
    return (1 + _at_least(-combined, -combined_known)) / (1 + len(known))


def _at_least(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return how many of the others are at least as large as each value."""
    return len(others) - np.searchsorted(np.sort(others), values, side="left")
