"""Neighbor targets: in training, the decoder explains the counts of a cell similar to the one that was encoded."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int
from torch import Generator, Tensor

from ..cluster.neighbors import find_neighbors
from .alignment import align_batches
from .data import CountData
from .input_pca import input_components, log_components
from .model import SCRAE

__all__ = ["NeighborTargets"]

_NEIGHBORS = 15
"""In each of two representations of the counts."""
_SEARCHED = 100_000
"""Most cells with neighbors: a random sample of more."""
_OWN = 6
"""Of 36 draws, this many are the cell itself."""


class NeighborTargets:
    """The cells whose counts the decoder explains, drawn at random for each encoded cell.

    A cell's target is the cell itself in a sixth of the draws, otherwise one of its 15 nearest neighbors in the
    principal components of the encoder's input or of its 15 nearest in those of the unscaled log expression. What a
    cell does not share with its neighbors is mostly noise, and the code has no reason to keep it. With experimental
    batches the components are aligned first (:func:`scrae.core.alignment.fit_alignment`), so that the neighbors are
    of any batch, and neither has the code a reason to keep the batch. Neighbors are searched among the given cells: no
    held-out cell is a target. Of more than 100,000 cells a random sample of 100,000 has neighbors, within
    the sample; each other cell is its own target.

    Parameters
    ----------
    model : SCRAE
        Normalizes and scales the counts.
    data : CountData
        Training and held-out cells.
    rows : Tensor
        The training cells, int64.
    seed : int
        Seed of the principal components and of the sample.

    Attributes
    ----------
    components : ndarray
        Principal components of the encoder's input (:func:`~scrae.core.input_pca.input_components`).
    neighbors : Tensor
        Candidates of each cell, int32 [cells, 30], on the CPU; fewer columns for fewer than 16 cells. A cell with
        fewer neighbors is its own candidate in the remaining columns.
    """

    def __init__(self, model: SCRAE, data: CountData, rows: Tensor, *, seed: int) -> None:
        self.components = input_components(model, data, seed=seed)
        representations = self.components, log_components(model, data, seed=seed)
        sample = np.sort(rows.cpu().numpy())
        if len(sample) > _SEARCHED:
            sample = np.sort(np.random.default_rng(seed).permutation(sample)[:_SEARCHED])
        found = []
        for points in representations:
            chosen = points[sample]
            if data.batch_codes is not None:
                chosen = align_batches(chosen, data.batch_codes.cpu().numpy()[sample], seed=seed)
            found.append(_within(chosen, sample, len(data)))
        self.neighbors = torch.from_numpy(np.hstack(found))

    def draw(self, cells: Int[Tensor, " cells"], generator: Generator) -> Int[Tensor, " cells"]:
        """Draw a target for each of the given cells; ``generator`` is on the CPU."""
        place = torch.randint(self.neighbors.shape[1] + _OWN, (len(cells),), generator=generator) - _OWN
        rows = cells.cpu()
        drawn = self.neighbors[rows, place.clamp(min=0)].long() if self.neighbors.shape[1] else rows
        return torch.where(place < 0, rows, drawn).to(cells.device)


def _within(points: np.ndarray, sample: np.ndarray, n_cells: int) -> np.ndarray:
    """Return the nearest sampled cells of each sampled cell, int32 [cells, at most 15].

    Cells without neighbors, and columns without one, hold the cell itself.
    """
    found = np.repeat(np.arange(n_cells, dtype=np.int32)[:, None], min(_NEIGHBORS, n_cells - 1), axis=1)
    n_neighbors = min(_NEIGHBORS, len(sample) - 1)
    if n_neighbors > 0:
        found[sample, :n_neighbors] = sample[find_neighbors(points, n_neighbors)[1]]
    return found
