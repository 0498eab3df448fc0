"""Agreement of a clustering with published labels (METHOD section 5)."""

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
    """How well clusters agree with labels; every score is 1 for a perfect match.

    Attributes
    ----------
    nmi
        Normalised mutual information with the **geometric** mean of the entropies (the paper's eq. 15),
        in [0, 1].
    ari
        Adjusted Rand index (Hubert and Arabie, 1985); 0 is chance, below 0 is worse than chance.
    ami
        Adjusted mutual information with the arithmetic mean (the paper's eq. 16); 0 is chance.
    homogeneity
        1 where every cluster holds cells of one label only, in [0, 1].
    completeness
        1 where all cells of a label are in one cluster, in [0, 1].
    """

    nmi: float
    ari: float
    ami: float
    homogeneity: float
    completeness: float


def score(labels: ArrayLike, clusters: ArrayLike) -> Scores:
    """Compare clusters with published labels.

    Parameters
    ----------
    labels
        The published label of each cell, [cells]; numbers or names.
    clusters
        The cluster of each cell, [cells], in the same order; numbers or names.

    Returns
    -------
    Scores
        Independent of how labels and clusters are named. Homogeneity and completeness swap if the two
        arguments do.

    Raises
    ------
    ScraeError
        If the two differ in length, hold no cell, are not one-dimensional, or have missing values.
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
    """Integer codes of names or numbers, [cells]; the dtype of the input no longer matters."""
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
            "leave these cells out of both arguments"
        )
    return codes
