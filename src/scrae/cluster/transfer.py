"""Clusters of new codes by the votes of their nearest known ones, and how far these are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..errors import ScraeError
from .neighbors import nearest

__all__ = ["Nearest", "nearest_clusters", "vote"]

_ROWS = 200_000  # codes at a time
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
    own, own_index = nearest(reference, k)  # [reference cells, neighbours], without the cell itself
    away, index = nearest(z, k, among=reference)  # [cells, neighbours]
    width = own.mean(axis=1)
    floor = _LEAST * width.mean() or 1.0  # 1: all codes of the reference are one
    around = np.maximum(width, floor)
    limit = np.quantile(width / np.maximum(width[own_index].mean(axis=1), floor), _QUANTILE)
    votes = _votes(labels[index])
    return Nearest(
        votes.argmax(axis=1), votes.max(axis=1), away.mean(axis=1) / around[index].mean(axis=1), float(limit)
    )


def vote(z: np.ndarray, reference: np.ndarray, labels: np.ndarray, *, n_neighbors: int = 15) -> np.ndarray:
    """Return the label that most of each code's nearest reference codes have; of equal votes the smaller one.

    Parameters
    ----------
    z : [cells, latent].
    reference, labels : [reference cells, latent], and their labels 0, 1, ... [reference cells].
    n_neighbors : how many vote; at most all of the reference.

    Returns
    -------
    int64 [cells].
    """
    k = min(n_neighbors, len(reference))
    found = np.empty(len(z), dtype=np.int64)
    for start in range(0, len(z), _ROWS):
        _, index = nearest(z[start : start + _ROWS], k, among=reference)
        found[start : start + _ROWS] = _votes(labels[index]).argmax(axis=1)
    return found


def _votes(labels: np.ndarray) -> np.ndarray:
    """Return the share of each label 0, 1, ... among the neighbours', [cells, labels], of their labels [cells, k]."""
    shares = np.zeros((len(labels), int(labels.max(initial=0)) + 1))
    np.add.at(shares, (np.arange(len(labels))[:, None], labels), 1 / labels.shape[1])
    return shares
