"""Points at which likelihoods are compared with mpmath."""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from torch import Tensor

from scrae.core._kernels import Nonzeros

COUNTS = [0, 1, 2, 8, 9, 500, 70_000, 100_000]
LOG_MU = np.linspace(np.log(1e-6), np.log(1e5), 8).astype(np.float32)
LOG_THETA = np.linspace(np.log(1e-3), np.log(1e4), 6).astype(np.float32)
LOGITS = [-30.0, -15.0, -3.0, 0.0, 0.5, 10.0, 30.0, None]
GRID = list(product(COUNTS, LOG_MU.tolist(), LOG_THETA.tolist(), LOGITS))
# Zeros are the delicate case: log(1 - q) with q anywhere between 0 and 1.
ZEROS = list(
    product(
        [0], np.linspace(-14, 12, 60, dtype=np.float32).tolist(), [-7.0, -0.9, 1.2, 9.0], [-6.25, -0.1, 4.0]
    )
)


# Far from any data, but a network may output it for a strange cell: the loss must stay finite.
FAR = list(product([0, 1, 40], [-80.0, 0.0, 11.0], [-20.0, 0.0, 20.0], [-200.0, 95.0, 200.0]))


def nonzeros_of(counts: Tensor) -> Nonzeros:
    """The nonzero entries of a dense block, last first: any order must do."""
    index = counts.flatten().nonzero().squeeze(1).flip(0)
    value = counts.flatten()[index]
    cell, gene = index // counts.shape[1], index % counts.shape[1]
    return Nonzeros(index, cell, gene, value.float(), torch.lgamma(value.double() + 1))
