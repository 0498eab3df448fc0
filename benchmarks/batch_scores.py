"""Scores of codes that should forget the batch and keep the types."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from benchmarks import own
from benchmarks.methods import CLUSTERERS
from scrae.cluster.metrics import score

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["cilisi", "cluster_scores", "clusters", "kept_neighbors", "neighbors_of_type", "scib_scores"]

_NEIGHBORS, _PERPLEXITY = 90, 30
_FEWEST = 10
"""Cells of a type in CiLISI; there is little to mix among fewer."""
_BISECTIONS = 50


def cilisi(codes: NDArray[np.float32], batch: NDArray[np.object_], types: NDArray[np.object_]) -> float:
    """Mixing of batches among the cells of one type: 0 = apart, 1 = evenly mixed (CiLISI: Andreatta et al. 2024).

    The inverse Simpson index of the batch (LISI: Korsunsky et al. 2019) of a cell's 90 nearest neighbors of its own
    type, with a perplexity of 30, or of all others if there are fewer (perplexity: a third of them). One is
    subtracted, and it is divided by the number of batches with this type minus one. The mean over all cells whose type
    has at least 10 cells and two batches; NaN if there is none.
    """
    found = []
    for one in np.unique(types[pd.notna(types)]):
        rows = np.flatnonzero(types == one)
        names, place = np.unique(batch[rows].astype(str), return_inverse=True)
        if len(rows) < _FEWEST or len(names) < 2:
            continue
        n_neighbors = min(_NEIGHBORS, len(rows) - 1)
        distance, index = NearestNeighbors(n_neighbors=n_neighbors).fit(codes[rows]).kneighbors()
        weight = _weights(distance, n_neighbors * _PERPLEXITY / _NEIGHBORS)
        share = np.stack([(weight * (place[index] == k)).sum(axis=1) for k in range(len(names))])
        found.append((1 / (share**2).sum(axis=0) - 1) / (len(names) - 1))
    return float(np.concatenate(found).mean()) if found else float("nan")


def _weights(distance: NDArray[np.float64], perplexity: float) -> NDArray[np.float64]:
    """exp(-d / width) of each row, which sum to 1 and whose entropy is log(perplexity)."""
    beyond = distance - distance.min(axis=1, keepdims=True)
    low, high = np.full((len(distance), 1), -30.0), np.full((len(distance), 1), 30.0)  # log of 1 / width
    for _ in range(_BISECTIONS):
        rate = (low + high) / 2
        weight = np.exp(-beyond * np.exp(rate))
        weight /= weight.sum(axis=1, keepdims=True)
        entropy = -(weight * np.log(np.maximum(weight, 1e-300))).sum(axis=1, keepdims=True)
        flat = entropy > np.log(perplexity)
        low, high = np.where(flat, rate, low), np.where(flat, high, rate)
    return weight


def clusters(
    codes: NDArray[np.float32], beside: NDArray[np.float32] | None, *, n_clusters: int | None, seed: int
) -> NDArray[np.int64]:
    """Clusters of the default method at a K, or at one of its own choice."""
    config = CLUSTERERS["scrae" if n_clusters else "scrae-auto"][1]
    found = own.cluster(codes, n_clusters=n_clusters or 0, seed=seed, config=config, beside=beside)
    return found.clusters


def cluster_scores(
    codes: NDArray[np.float32],
    beside: NDArray[np.float32] | None,
    types: NDArray[np.object_],
    seed: int,
) -> dict[str, float]:
    """NMI and ARI at the true K and with K unknown, each with neighbors in the codes alone and in `beside` too."""
    known = pd.notna(types)
    n_types, scores = len(np.unique(types[known])), {}
    for view, second in (("codes", None), ("own", beside)):
        for kind, n_clusters in (("k", n_types), ("auto", None)):
            if view == "own" and second is None:
                continue  # the same as that of the codes
            found = clusters(codes, second, n_clusters=n_clusters, seed=seed)
            agreement = score(types[known], found[known])
            scores |= {f"{view}_{kind}_nmi": agreement.nmi, f"{view}_{kind}_ari": agreement.ari}
            scores[f"{view}_{kind}_clusters"] = int(found.max()) + 1
    for key in [key for key in scores if beside is None and key.startswith("codes")]:
        scores[key.replace("codes", "own")] = scores[key]
    return scores


def scib_scores(cells: AnnData, codes: NDArray[np.float32]) -> dict[str, float]:
    """All scores of scib-metrics, not rescaled.

    Parameters
    ----------
    cells
        `obsm["X_pca"]` before correction, `obs["batch"]` and `obs["cell_type"]`.
    codes
        What is scored.
    """
    from scib_metrics.benchmark import BatchCorrection, Benchmarker, BioConservation

    cells.obsm["codes"] = codes
    judge = Benchmarker(
        cells,
        batch_key="batch",
        label_key="cell_type",
        embedding_obsm_keys=["codes"],
        bio_conservation_metrics=BioConservation(),
        batch_correction_metrics=BatchCorrection(),
        pre_integrated_embedding_obsm_key="X_pca",
        progress_bar=False,
    )
    judge.benchmark()
    row = judge.get_results(min_max_scale=False).loc["codes"]
    return {str(name): float(row[name]) for name in row.index}


def kept_neighbors(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """Mean share of the 15 nearest neighbors of a cell that stay among its 15 nearest, 0 to 1."""
    found = [
        NearestNeighbors(n_neighbors=15).fit(codes).kneighbors(return_distance=False)
        for codes in (before, after)
    ]
    return float((found[0][:, :, None] == found[1][:, None, :]).any(axis=2).mean())


def neighbors_of_type(codes: NDArray[np.float32], types: NDArray[np.object_], one: str) -> float:
    """Mean share of the 15 nearest neighbors of the cells of a type that are of that type, 0 to 1."""
    index = NearestNeighbors(n_neighbors=15).fit(codes).kneighbors(return_distance=False)
    return float((types[index] == one)[types == one].mean())
