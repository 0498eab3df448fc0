"""Principal components of the counts as the model normalizes them, which do not depend on the training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy import sparse
from sklearn.decomposition import PCA
from torch import Tensor

from .data import CountData, Minibatch
from .model import SCRAE

__all__ = ["input_components", "log_components"]

_INPUT_COMPONENTS, _LOG_COMPONENTS = 15, 50
_FITTED = 20_000
"""Most cells that the axes are computed from: a random sample of more."""
_ROWS = 1024


def input_components(model: SCRAE, data: CountData, *, seed: int) -> np.ndarray:
    """Return the first 15 principal components of the encoder's input.

    They depend on the genes and their scale in ``model``, not on its weights. The axes are computed from at most
    20,000 cells.

    Parameters
    ----------
    model : SCRAE
        Scales the input.
    data : CountData
        Counts of the model's genes.
    seed : int
        Draws the sample of cells and the start of the iterations.

    Returns
    -------
    numpy.ndarray
        float32 [cells, at most 15]; one column of zeros if all cells are equal.
    """

    def expression(cells: Minibatch) -> Tensor:
        return cells.scaled_expression(model.target_total, model.gene_scale)

    return _components(expression, data, _INPUT_COMPONENTS, seed)


def log_components(model: SCRAE, data: CountData, *, seed: int) -> np.ndarray:
    """Return the first 50 principal components of the normalized log expression, genes not scaled.

    Parameters and result are those of :func:`input_components`.
    """
    return _components(lambda cells: cells.log_expression(model.target_total), data, _LOG_COMPONENTS, seed)


def _components(
    expression: Callable[[Minibatch], Tensor], data: CountData, n_components: int, seed: int
) -> np.ndarray:
    rows = np.arange(len(data))
    if len(rows) > _FITTED:
        rows = np.sort(np.random.default_rng(seed).permutation(len(rows))[:_FITTED])
    n_components = min(n_components, len(rows) - 1, data.n_genes - 1)
    fitted = _matrix(expression, data, rows)
    spread = (fitted.max(axis=0) - fitted.min(axis=0)).nnz if n_components else 0
    if not spread:
        return np.zeros((len(data), 1), dtype=np.float32)
    pca = PCA(n_components, svd_solver="arpack", random_state=seed).fit(fitted)
    starts = range(0, len(data), _ROWS)
    parts = [np.arange(start, min(start + _ROWS, len(data))) for start in starts]
    return np.concatenate(
        [pca.transform(_matrix(expression, data, part)).astype(np.float32) for part in parts]
    )


def _matrix(
    expression: Callable[[Minibatch], Tensor], data: CountData, rows: np.ndarray
) -> sparse.csr_matrix:
    """Return the expression of some cells, float64 [rows, genes]."""
    with torch.no_grad():
        cells = data.minibatch(torch.from_numpy(rows).to(data.device))
        value = expression(cells).cpu().numpy().astype(np.float64)
    gene, start = cells.nonzeros.gene.cpu().numpy(), cells.start.cpu().numpy()
    return sparse.csr_matrix((value, gene, start), (len(rows), data.n_genes))
