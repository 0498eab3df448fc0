"""Codes of cells with few molecules: the encoder's, refined by the likelihood of the counts and the density of codes.

An encoder sends a cell of few molecules towards its bias, since it reads a zero where a molecule was not captured. The
likelihood weighs what was counted, and the density says where cells are (a maximum a posteriori estimate; compare the
semi-amortized inference of Kim et al., ICML 2018).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.optim import Adam

from .data import CountData, Minibatch
from .mixture import Density, Mixture
from .model import SCRAE

__all__ = ["refine_codes"]

_STEPS = 60
_RATE = 0.08
"""Learning rate, in units of the standard deviation of the codes in each dimension; it decays to zero."""
_ROWS = 1024


def refine_codes(model: SCRAE, density: Density, data: CountData) -> np.ndarray:
    """Return the codes that maximize log p(x | z) + log p(z), by gradient ascent.

    The ascent starts at the encoder's code or at the mean of a component of the density, whichever is better.

    Parameters
    ----------
    model : SCRAE
        The trained model, without experimental batches.
    density : Density
        Its density: p(z), and the dispersions of the counts.
    data : CountData
        Counts of the model's genes.

    Returns
    -------
    numpy.ndarray
        float32 [cells, latent]. A cell without molecules, or without a better code, keeps the encoder's.
    """
    was_training = model.training
    model.eval()
    device = model.library_mean.device
    prior = _CodeDensity(density.mixtures[0], device)
    log_theta = torch.as_tensor(density.theta, dtype=torch.float32, device=device).log()
    parts = [_refined(model, cells, prior, log_theta).cpu() for cells in data.minibatches(_ROWS)]
    model.train(was_training)
    return np.asarray(torch.cat(parts).numpy())


def _refined(model: SCRAE, cells: Minibatch, prior: _CodeDensity, log_theta: Tensor) -> Tensor:
    def log_likelihood(z: Tensor) -> Tensor:
        share_logits, zi_logits = model.decoder(z)
        return -cells.nll(share_logits, cells.log_library, log_theta, zi_logits)

    def log_posterior(z: Tensor) -> Tensor:
        return log_likelihood(z) + prior.log_density(z)

    with torch.no_grad():
        encoded = model.encoder(model.encoder_input(cells)).z
        best, start = log_posterior(encoded), encoded
        for mean, weight in zip(prior.means, prior.log_weights, strict=True):
            value = log_likelihood(mean.expand_as(encoded)) + weight
            better = value > best
            best, start = torch.where(better, value, best), torch.where(better[:, None], mean, start)
    shift = torch.zeros_like(start, requires_grad=True)
    optimizer = Adam([shift])
    for step in range(_STEPS):
        optimizer.param_groups[0]["lr"] = _RATE * (1 - step / _STEPS)
        (gradient,) = torch.autograd.grad(log_posterior(start + shift * prior.scale).sum(), shift)
        shift.grad = -gradient
        optimizer.step()
    with torch.no_grad():
        z = start + shift * prior.scale
        improved = (log_posterior(z) > log_posterior(encoded)) & (cells.total > 0)
        return torch.where(improved[:, None], z, encoded)


class _CodeDensity:
    """The mixture without the library size, on the device."""

    def __init__(self, mixture: Mixture, device: torch.device) -> None:
        def tensor(values: np.ndarray) -> Tensor:
            return torch.as_tensor(values, dtype=torch.float32, device=device)

        # the root is lower triangular and the library size is last: without both it is that of the marginal
        means, roots = mixture.means[:, :-1], mixture.roots[:, :-1, :-1]
        variance = np.einsum("cij,cij->ci", roots, roots) + means**2
        center = mixture.weights @ means
        self.scale = tensor(np.sqrt(np.maximum(mixture.weights @ variance - center**2, 0)))
        self.means = tensor(means)
        self.inverse = tensor(np.linalg.inv(roots))
        log_volume = np.log(np.einsum("cii->ci", roots)).sum(axis=1)
        self.log_weights = tensor(np.log(mixture.weights) - log_volume)

    def log_density(self, z: Tensor) -> Tensor:
        """Return log p(z) of each code, without its constant."""
        scaled = torch.einsum("cij,ncj->nci", self.inverse, z[:, None] - self.means)
        return torch.logsumexp(self.log_weights - scaled.square().sum(dim=2) / 2, dim=1)
