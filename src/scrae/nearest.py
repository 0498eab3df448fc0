"""Clusters of new codes by the votes of their nearest known ones, and how far these are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.neighbors import NearestNeighbors

from .errors import ScraeError

__all__ = ["Nearest", "nearest_clusters"]

_QUANTILE = 0.95
"""Of the reference's own distances; beyond it a new code counts as far. At 0.99 less than half as many cells of most
unseen types were flagged (types as in docs/tools.md)."""
_LEAST = 1e-3
"""Of the mean distance in the reference: no neighbourhood is taken to be denser, so that doubled codes harm none."""


class Nearest(NamedTuple):
    """What the reference says of each new code.

    Attributes
    ----------
    label : int64 [cells], the label most of its neighbours have; of equal votes the smaller one.
    share : float64 [cells], the share of the neighbours that have it.
    distance : float64 [cells], the mean distance to the neighbours, over what that is for the neighbours themselves:
        about 1 inside a cluster, whether dense or wide.
    limit : the distance that one in twenty codes of the reference exceeds.
    """

    label: np.ndarray
    share: np.ndarray
    distance: np.ndarray
    limit: float


def nearest_clusters(
    z: np.ndarray, reference: np.ndarray, labels: np.ndarray, *, n_neighbors: int = 15
) -> Nearest:
    """Let the nearest codes of a reference vote on new codes.

    The distance is the simplified local outlier factor (Breunig et al., SIGMOD 2000, without the reachability;
    Schubert et al., Data Min. Knowl. Discov. 28, 2014, section 4).

    Parameters
    ----------
    z : [cells, latent], the new codes.
    reference, labels : [reference cells, latent], and their labels 0, 1, ... [reference cells].
    n_neighbors : how many vote; at most all of the reference but one.

    Raises
    ------
    ScraeError : a reference of fewer than two codes, codes of another width, or no neighbours.
    """
    if len(reference) < 2 or z.shape[1:] != reference.shape[1:] or n_neighbors < 1:
        raise ScraeError(
            f"nearest_clusters: expected a reference of at least 2 codes, new codes of its width and at least 1 "
            f"neighbour, found {reference.shape}, {z.shape} and {n_neighbors}"
        )
    k = min(n_neighbors, len(reference) - 1)
    search = NearestNeighbors(n_neighbors=k, algorithm="kd_tree").fit(reference)
    own, own_index = search.kneighbors()  # [reference cells, neighbours], without the cell itself
    away, index = search.kneighbors(z)  # [cells, neighbours]
    width = own.mean(axis=1)
    floor = _LEAST * width.mean() or 1.0  # 1: all codes of the reference are one
    around = np.maximum(width, floor)
    limit = np.quantile(width / np.maximum(width[own_index].mean(axis=1), floor), _QUANTILE)
    votes = np.zeros((len(z), int(labels.max()) + 1))
    np.add.at(votes, (np.arange(len(z))[:, None], labels[index]), 1 / k)
    return Nearest(
        votes.argmax(axis=1), votes.max(axis=1), away.mean(axis=1) / around[index].mean(axis=1), float(limit)
    )
