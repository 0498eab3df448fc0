"""The encoder's input as a dense matrix, whichever form the model would choose."""

from __future__ import annotations

from torch import Tensor

from scrae.core.data import Minibatch
from scrae.core.model import SCRAE


def dense_input(model: SCRAE, cells: Minibatch) -> Tensor:
    """Scaled expression of a minibatch, float32 [cells, genes]."""
    return cells.dense(cells.scaled_expression(model.target_total, model.gene_scale))
