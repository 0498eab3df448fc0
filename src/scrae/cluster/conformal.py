"""Conformal p-values: how unusual a new cell is among cells that the model was not trained on."""

from __future__ import annotations

import numpy as np

__all__ = ["conformal_p"]


def conformal_p(scores: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the p-value of "this cell is like the known ones", from several scores of unusualness.

    Each score is turned into a conformal p-value, (1 + number of known cells with at least this score) / (1 + number of
    known cells). Their product is one score (Fisher's statistic), and its rank among the known cells is the p-value.
    It is uniform for a cell that is exchangeable with the known ones, whatever the scores are and however they
    depend on each other (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005; Bates et al., Ann.
    Stat. 51, 2023, for outliers).

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
    combined, combined_known = np.zeros(len(scores)), np.zeros(len(known))
    for new, old in zip(scores.T, known.T, strict=True):
        combined -= np.log(_at_least(new, old) + 0.5)  # between the ranks of two known cells
        combined_known -= np.log(_at_least(old, old))
    return (1 + _at_least(combined, combined_known)) / (1 + len(known))


def _at_least(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return how many of the others are at least as large as each value."""
    return len(others) - np.searchsorted(np.sort(others), values, side="left")
