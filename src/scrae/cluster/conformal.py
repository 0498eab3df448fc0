"""Conformal p-values: how unusual a new cell is among cells that the model was not trained on."""

from __future__ import annotations

import numpy as np

__all__ = ["conformal_p"]


def conformal_p(scores: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the p-value of "this cell is like the known ones".

    It is (1 + number of known cells with at least this score) / (1 + number of known cells), and uniform for a cell
    that is exchangeable with the known ones, whatever the score is (Vovk, Gammerman and Shafer, Algorithmic Learning
    in a Random World, 2005; Bates et al., Ann. Stat. 51, 2023, for outliers).

    Parameters
    ----------
    scores : ndarray of shape (n_cells,)
        Of new cells; larger is more unusual.
    known : ndarray of shape (n_known,)
        Of known cells, which did not take part in the training.

    Returns
    -------
    ndarray of float64, shape (n_cells,)
        At least 1 / (1 + n_known).
    """
    at_least = len(known) - np.searchsorted(np.sort(known), scores, side="left")
    return (1 + at_least) / (1 + len(known))
