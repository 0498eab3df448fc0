"""A density of the codes, fitted after training: what generated cells are drawn from.

The latent generator of the paper is trained against the codes of a moving encoder and ends far from them. A mixture of
Gaussians, fitted to the codes of the trained encoder, describes them better and costs the clusters nothing (Ghosh et
al., ICLR 2020, "From variational to deterministic autoencoders").
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .data import CountData, Minibatch
from .mixture import Density, fit_mixture
from .model import SCRAE, evaluating

__all__ = ["codes_and_means", "fit_density"]

_FITTED = 20_000
"""Most cells that the mixture and the dispersions are fitted to: a random sample of more."""
_THETA_COUNTS = 4_000_000
"""Most counts, cells times genes, that the dispersions are estimated from: 2,000 cells of 2,000 genes."""
_GENES = 100
"""Genes whose dispersions are estimated at a time: all at once would take 250 MB."""
_THETA_RANGE = 1e-3, 1e6
_HALVINGS = 14
"""Of the logarithm of that range: the dispersion is exact to 0.1 %."""
_ROWS = 1024


def fit_density(model: SCRAE, data: CountData, *, seed: int, held_out: np.ndarray | None = None) -> Density:
    """Fit the density of the training cells' codes, and the dispersions of their counts.

    The number of components, 1 to 64, is the one with the lowest BIC. The dispersions are maximum likelihood estimates
    over the cells' own counts: the decoder's were learned in too few steps to converge, and with neighbor targets they
    include the differences between neighbors. A model with zero inflation keeps the decoder's.

    Parameters
    ----------
    model : SCRAE
        The trained model.
    data : CountData
        Its training cells.
    seed : int
        Seed of the samples (20,000 cells for the mixtures, 4 million counts for the dispersions) and of the mixtures.
    held_out : ndarray of int64, optional
        Cells that are left out, so that the density knows them as little as it knows new cells; None: none.

    Returns
    -------
    Density
    """
    rows = np.setdiff1d(np.arange(len(data)), [] if held_out is None else held_out)
    if len(rows) > _FITTED:
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:_FITTED])
    with evaluating(model):
        parts = [
            codes_and_means(model, cells)[0] for cells in data.minibatches(_ROWS, rows=torch.from_numpy(rows))
        ]
    z = torch.cat(parts).double().cpu().numpy()
    log_library = np.log(np.maximum(data.totals[torch.from_numpy(rows)].cpu().numpy(), 1))
    points = np.column_stack([z, log_library])
    groups = [np.arange(len(rows))]
    if data.batch_codes is not None:
        code = data.batch_codes.cpu().numpy()[rows]
        groups = [np.flatnonzero(code == batch) for batch in range(len(data.batch_names))]
        groups = [group if len(group) else np.arange(len(rows)) for group in groups]  # outside the sample
    mixtures = tuple(fit_mixture(points[group], seed=seed) for group in groups)
    if model.config.likelihood == "zinb":
        theta = model.decoder.log_theta.detach().double().exp().clamp(*_THETA_RANGE).cpu().numpy()
    else:
        n_cells = max(_THETA_COUNTS // data.n_genes, 1)
        some = np.sort(np.random.default_rng(seed).permutation(rows)[:n_cells])
        theta = _dispersions(model, data, torch.from_numpy(some))
    return Density(mixtures=mixtures, theta=theta)


def _dispersions(model: SCRAE, data: CountData, rows: Tensor) -> np.ndarray:
    """Return the inverse dispersion of each gene with the largest likelihood."""
    with evaluating(model):
        cells = next(iter(data.minibatches(len(rows), rows=rows)))
        mean = codes_and_means(model, cells)[1]
        counts = cells.dense(cells.nonzeros.value)
        parts = [slice(start, start + _GENES) for start in range(0, data.n_genes, _GENES)]
        found = [_bisected(counts[:, at].double(), mean[:, at].clamp(min=1e-12)) for at in parts]
        return np.asarray(torch.cat(found).cpu().numpy())


def _bisected(counts: Tensor, mean: Tensor) -> Tensor:
    """Bisect the derivative of each gene's likelihood in its inverse dispersion (Lawless, Can. J. Stat. 15, 1987)."""
    cell, gene = counts.nonzero(as_tuple=True)
    positive = counts[cell, gene]
    low, high = (torch.full_like(mean[0], limit).log() for limit in _THETA_RANGE)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        theta = middle.exp()
        spread = mean + theta
        slope = (1 + (theta / spread).log() - (counts + theta) / spread).sum(dim=0)
        terms = torch.digamma(positive + theta[gene]) - torch.digamma(theta)[gene]
        rising = slope.index_add(0, gene, terms) > 0
        low, high = torch.where(rising, middle, low), torch.where(rising, high, middle)
    return ((low + high) / 2).exp()


def codes_and_means(model: SCRAE, cells: Minibatch) -> tuple[Tensor, Tensor]:
    """Return the codes, float32 [cells, latent], and the decoder's mean counts at them, float64 [cells, genes]."""
    z = model.encoder(model.encoder_input(cells)).z
    share = torch.softmax(model.decoder(z, one_hot=model.one_hot(cells))[0].double(), dim=1)
    return z, share * cells.total[:, None].double()
