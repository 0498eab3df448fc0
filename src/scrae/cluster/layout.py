"""Two-dimensional layout of a neighbor graph."""

from __future__ import annotations

import numpy as np
from scipy import sparse

__all__ = ["layout"]

_A, _B = 0.583, 1.334
"""UMAP's curve for a spread of 1 and a minimum distance of 0.5, scanpy's defaults."""
_NEGATIVE, _DRAWN = 5, 5
"""Random cells that repel for each neighbor that attracts, and how many are drawn for a cell in an iteration."""
_ITERATIONS, _EXTENT, _RATE = 400, 10.0, 0.3
_DECAY_MEAN, _DECAY_SQUARE, _TINY = 0.9, 0.99, 1e-8


def layout(weights: sparse.csr_matrix, start: np.ndarray, *, seed: int) -> np.ndarray:
    """Place the cells of a graph in two dimensions such that neighbors are close, as UMAP does.

    The objective is UMAP's (McInnes et al., 2018, section 3.2): neighbors attract each other in proportion to their
    weight, and random cells repel. UMAP moves one pair of cells at a time, in code that is compiled in each process;
    here all cells move together by Adam (Kingma & Ba, 2015), whose rate decays to zero.

    Parameters
    ----------
    weights : csr_matrix, shape (n_cells, n_cells)
        Symmetric weights of the neighbors, 0 to 1.
    start : ndarray of shape (n_cells, 2)
        Positions to start from, for example principal components; at any scale.
    seed : int
        Draws the random cells.

    Returns
    -------
    ndarray of float32, shape (n_cells, 2)
    """
    rng, n_cells = np.random.default_rng(seed), len(start)
    place = np.ascontiguousarray(start, dtype=np.float32).T  # [2, cells]
    place = (place - place.mean(axis=1, keepdims=True)) / max(float(np.abs(place).max()), _TINY) * _EXTENT
    place += rng.normal(0, 1e-3, place.shape).astype(np.float32)  # equal cells come apart
    head = np.repeat(np.arange(n_cells), np.diff(weights.indptr))
    tail = weights.indices
    degree = np.asarray(weights.sum(axis=1), dtype=np.float32).ravel()
    weight = weights.data.astype(np.float32)
    mean, square = np.zeros_like(place), np.zeros_like(place)
    for iteration in range(1, _ITERATIONS + 1):
        apart = place[:, head] - place[:, tail]
        distance = (apart**2).sum(axis=0) + np.float32(_TINY)
        power = distance**_B
        pull = weight * (2 * _A * _B) * power / (distance * (1 + _A * power))
        step = np.stack([np.bincount(head, pull * one, n_cells) for one in apart])
        other = rng.integers(n_cells, size=(_DRAWN, n_cells))
        apart = place[:, None] - place[:, other]
        distance = (apart**2).sum(axis=0)
        push = (2 * _B) / ((1e-3 + distance) * (1 + _A * distance**_B))
        push = (push * apart).clip(-4, 4).sum(axis=1)
        step -= 0.5 * _NEGATIVE / _DRAWN * degree * push
        step = step.astype(np.float32)
        mean += (1 - _DECAY_MEAN) * (step - mean)
        square += (1 - _DECAY_SQUARE) * (step**2 - square)
        rate = _RATE * (1 - iteration / _ITERATIONS)
        bias = (1 - _DECAY_SQUARE**iteration) ** 0.5 / (1 - _DECAY_MEAN**iteration)
        place -= rate * bias * mean / (np.sqrt(square) + _TINY)
    return np.ascontiguousarray(place.T)
