"""Transfer of labels from reference codes to new codes, by their nearest neighbors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..errors import ScraeError
from .neighbors import NeighborIndex

__all__ = ["Transfer", "transfer_labels", "vote"]

_BLOCK = 200_000  # codes, to bound memory
_MIN_DISTANCE = 1e-3
"""Smallest neighborhood size, as a fraction of the reference's mean, so that duplicates divide by no zero."""


class Transfer(NamedTuple):
    """Labels of new codes, and how near the reference is.

    Attributes
    ----------
    label : ndarray of int64, shape (n_cells,)
        Majority label of the neighbors; the smaller one of a tie.
    share : ndarray of float64, shape (n_cells,)
        Fraction of the neighbors with that label.
    distance : ndarray of float64, shape (n_cells,)
        Mean distance to the neighbors, divided by the same mean of the neighbors themselves: about 1 inside a cluster,
        dense or sparse.
    reference_distance : ndarray of float64, shape (n_reference,)
        The same of the reference codes, each among the others.
    """

    label: np.ndarray
    share: np.ndarray
    distance: np.ndarray
    reference_distance: np.ndarray


def transfer_labels(
    z: np.ndarray, reference: np.ndarray, labels: np.ndarray, *, n_neighbors: int = 15
) -> Transfer:
    """Transfer labels to new codes and compute their outlier scores.

    The distance is the simplified local outlier factor (Breunig et al., SIGMOD 2000, without the reachability;
    Schubert et al., Data Min. Knowl. Discov. 28, 2014, section 4).

    Parameters
    ----------
    z : ndarray of shape (n_cells, n_latent)
        New codes.
    reference : ndarray of shape (n_reference, n_latent)
        Codes with known labels.
    labels : ndarray of int64, shape (n_reference,)
        Labels 0, 1, ... of the reference.
    n_neighbors : int
        Number of neighbors that vote; all reference codes but one if there are fewer.

    Returns
    -------
    Transfer

    Raises
    ------
    ScraeError
        Fewer than two reference codes, codes of another width, or ``n_neighbors`` below 1.
    """
    if len(reference) < 2 or z.shape[1:] != reference.shape[1:] or n_neighbors < 1:
        raise ScraeError(
            f"transfer_labels: expected a reference of at least 2 codes, new codes of its width and at least 1 "
            f"neighbor, found {reference.shape}, {z.shape} and {n_neighbors}"
        )
    k = min(n_neighbors, len(reference) - 1)
    index = NeighborIndex(reference)
    own, own_index = index.search_self(k)  # [reference cells, neighbors]
    away, nearest = index.search(z, k)  # [cells, neighbors]
    width = own.mean(axis=1)
    floor = _MIN_DISTANCE * width.mean() or 1.0  # 1: all reference codes are equal
    around = np.maximum(width, floor)
    reference_distance = width / np.maximum(width[own_index].mean(axis=1), floor)
    votes = _votes(labels[nearest])
    distance = away.mean(axis=1) / around[nearest].mean(axis=1)
    return Transfer(votes.argmax(axis=1), votes.max(axis=1), distance, reference_distance)


def vote(z: np.ndarray, reference: np.ndarray, labels: np.ndarray, *, n_neighbors: int = 15) -> np.ndarray:
    """Return the majority label among each code's nearest reference codes.

    Parameters
    ----------
    z, reference, labels, n_neighbors
        As for :func:`transfer_labels`.

    Returns
    -------
    ndarray of int64, shape (n_cells,)
        The smaller label of a tie.
    """
    k, index = min(n_neighbors, len(reference)), NeighborIndex(reference)
    blocks = [
        _votes(labels[index.search(z[start : start + _BLOCK], k)[1]]).argmax(axis=1)
        for start in range(0, len(z), _BLOCK)
    ]
    return np.concatenate([np.empty(0, dtype=np.int64), *blocks])


def _votes(labels: np.ndarray) -> np.ndarray:
    """Return the fraction of each label 0, 1, ... among the neighbors' labels [cells, k], [cells, labels]."""
    shares = np.zeros((len(labels), int(labels.max(initial=0)) + 1))
    np.add.at(shares, (np.arange(len(labels))[:, None], labels), 1 / labels.shape[1])
    return shares
