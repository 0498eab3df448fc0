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
_THETA_RANGE = 1e-3, 1e6
_ROWS = 1024


def fit_density(model: SCRAE, data: CountData, *, seed: int, held_out: np.ndarray | None = None) -> Density:
    """Fit the density of the training cells' codes, and the dispersions of their counts.

    The number of components, 1 to 64, is the one with the lowest BIC. The dispersions are moment estimates over the
    cells' own counts: the decoder's were learned in too few steps to converge, and with neighbor targets they include
    the differences between neighbors. A model with zero inflation keeps the decoder's.

    Parameters
    ----------
    model : SCRAE
        The trained model.
    data : CountData
        Its training cells.
    seed : int
        Seed of the sample of 20,000 cells of more, and of the mixtures.
    held_out : ndarray of int64, optional
        Cells that are left out, so that the density knows them as little as it knows new cells; None: none.

    Returns
    -------
    Density
    """
    rows = np.setdiff1d(np.arange(len(data)), [] if held_out is None else held_out)
    if len(rows) > _FITTED:
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:_FITTED])
    codes, excess, square = [], np.zeros(data.n_genes), np.zeros(data.n_genes)
    with evaluating(model):
        for cells in data.minibatches(_ROWS, rows=torch.from_numpy(rows)):
            latent, mean = codes_and_means(model, cells)
            codes.append(latent.double().cpu().numpy())
            counts = cells.dense(cells.nonzeros.value).double()
            excess += ((counts - mean).square() - mean).sum(dim=0).cpu().numpy()
            square += mean.square().sum(dim=0).cpu().numpy()
    z = np.concatenate(codes)
    log_library = np.log(np.maximum(data.totals[torch.from_numpy(rows)].cpu().numpy(), 1))
    points = np.column_stack([z, log_library])
    groups = [np.arange(len(rows))]
    if data.batch_codes is not None:
        code = data.batch_codes.cpu().numpy()[rows]
        groups = [np.flatnonzero(code == batch) for batch in range(len(data.batch_names))]
        groups = [group if len(group) else np.arange(len(rows)) for group in groups]  # outside the sample
    theta = square / np.maximum(excess, square / _THETA_RANGE[1] + np.finfo(float).tiny)
    if model.config.likelihood == "zinb":
        theta = model.decoder.log_theta.detach().double().exp().cpu().numpy()
    return Density(
        mixtures=tuple(fit_mixture(points[group], seed=seed) for group in groups),
        theta=np.clip(theta, *_THETA_RANGE),
    )


def codes_and_means(model: SCRAE, cells: Minibatch) -> tuple[Tensor, Tensor]:
    """Return the codes, float32 [cells, latent], and the decoder's mean counts at them, float64 [cells, genes]."""
    z = model.encoder(model.encoder_input(cells)).z
    share = torch.softmax(model.decoder(z, one_hot=model.one_hot(cells))[0].double(), dim=1)
    return z, share * cells.total[:, None].double()
