"""Agreement of a clustering with known labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn import metrics

from scrae.errors import ScraeError

__all__ = ["Scores", "score"]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Agreement of clusters with labels; every score is 1 for a perfect match.

    Attributes
    ----------
    nmi : float
        Normalized mutual information with the **geometric** mean of the entropies (the paper's eq. 15), 0 to 1.
    ari : float
        Adjusted Rand index (Hubert and Arabie, 1985); 0 is chance, below 0 is worse than chance.
    ami : float
        Adjusted mutual information with the arithmetic mean (the paper's eq. 16); 0 is chance.
    homogeneity : float
        1 if every cluster holds cells of one label only, 0 to 1.
    completeness : float
        1 if all cells of each label are in one cluster, 0 to 1.
    """

    nmi: float
    ari: float
    ami: float
    homogeneity: float
    completeness: float


def score(labels: ArrayLike, clusters: ArrayLike) -> Scores:
    """Compare clusters with known labels.

    Parameters
    ----------
    labels : array-like of shape (n_cells,)
        Label of each cell; numbers or names.
    clusters : array-like of shape (n_cells,)
        Cluster of each cell, in the same order; numbers or names.

    Returns
    -------
    Scores
        Independent of how labels and clusters are named. Swapping the arguments swaps homogeneity and completeness.

    Raises
    ------
    ScraeError
        The two differ in length, are empty, not one-dimensional, or have missing values.
    """
    truth, found = _codes(labels, "labels"), _codes(clusters, "clusters")
    if truth.size != found.size:
        raise ScraeError(
            f"expected one label and one cluster for each cell, found {truth.size} labels and "
            f"{found.size} clusters; pass both for the same cells in the same order"
        )
    homogeneity, completeness, _ = metrics.homogeneity_completeness_v_measure(truth, found)
    return Scores(
        nmi=float(metrics.normalized_mutual_info_score(truth, found, average_method="geometric")),
        ari=float(metrics.adjusted_rand_score(truth, found)),
        ami=float(metrics.adjusted_mutual_info_score(truth, found, average_method="arithmetic")),
        homogeneity=float(homogeneity),
        completeness=float(completeness),
    )


def _codes(values: ArrayLike, name: str) -> NDArray[np.intp]:
    """Return integer codes of names or numbers, [cells]."""
    array: NDArray[Any] = np.asarray(values)
    if array.ndim != 1 or array.size == 0:
        raise ScraeError(
            f"expected {name} as one value for each cell, found an array of shape {array.shape}; "
            "pass a column of at least one cell"
        )
    codes, _ = pd.factorize(array)
    missing = int((codes < 0).sum())
    if missing:
        raise ScraeError(
            f"expected a value for each cell in {name}, found {missing} of {array.size} missing; "
            "remove these cells from both arguments"
        )
    return codes
