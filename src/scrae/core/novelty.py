"""How well a trained model explains the counts of a cell."""

from __future__ import annotations

import numpy as np
import torch

from .data import CountData
from .density import codes_and_means
from .mixture import Density
from .model import SCRAE, evaluating

__all__ = ["deviance"]

_ROWS = 1024


def deviance(model: SCRAE, density: Density, data: CountData, genes: np.ndarray | None = None) -> np.ndarray:
    """Return the negative binomial deviance of each cell's counts around the decoder's means.

    It is twice the difference between the log-likelihoods of means equal to the counts and of the decoder's means
    (McCullagh and Nelder, Generalized Linear Models, 1989), divided by the number of genes.

    Parameters
    ----------
    model : SCRAE
        The trained model, without experimental batches.
    density : Density
        Has the dispersions.
    data : CountData
        Counts of the model's genes.
    genes : ndarray of bool, optional
        Which of the model's genes count; None: all.

    Returns
    -------
    ndarray of float64, shape (n_cells,)
    """
    chosen = torch.from_numpy(np.ones(data.n_genes, dtype=bool) if genes is None else genes).to(data.device)
    theta = torch.as_tensor(density.theta, device=data.device)[chosen]
    parts = []
    with evaluating(model):
        for cells in data.minibatches(_ROWS):
            mean = codes_and_means(model, cells)[1][:, chosen].clamp(min=1e-12)
            counts = cells.dense(cells.nonzeros.value).double()[:, chosen]
            terms = torch.xlogy(counts, counts / mean)
            terms -= (counts + theta) * ((counts + theta) / (mean + theta)).log()
            parts.append(2 * terms.mean(dim=1).cpu())
    return np.asarray(torch.cat(parts).numpy())
