"""The denoising autoencoder with ZINB loss that scDeepCluster and scziDesk share (Tian et al. 2019, after DCA)."""

from __future__ import annotations

import math
from collections.abc import Generator as EpochsOf
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional
from torch.optim import Adam

from benchmarks.peers.common import Cells, Coded, Encode, batches
from benchmarks.peers.likelihood import ZINB, zinb_nll
from scrae.core.networks import Linear

__all__ = ["DenoisingAutoencoder", "pretrain"]

_LOG_MEANS = (math.log(1e-5), math.log(1e6))
_THETAS = (1e-4, 1e4)


class DenoisingAutoencoder(nn.Module):
    """Standardised expression to a code and back to mean, dispersion and zero inflation of every count.

    Parameters
    ----------
    n_genes, n_latent
        Ends of the encoder.
    layers
        Hidden sizes of the encoder; the decoder has them backwards.
    noise
        Standard deviation of the Gaussian noise on the input and on every hidden layer before its ReLU.
    generator
        Draws the first weights.
    """

    def __init__(
        self, n_genes: int, n_latent: int, layers: Sequence[int], noise: float, generator: Generator
    ) -> None:
        super().__init__()
        there, back = [n_genes, *layers, n_latent], [n_latent, *reversed(layers)]
        self.encoder = nn.ModuleList(Linear(i, o, generator) for i, o in pairwise(there))
        self.decoder = nn.ModuleList(Linear(i, o, generator) for i, o in pairwise(back))
        self.log_mean, self.dispersion, self.zero = (Linear(back[-1], n_genes, generator) for _ in range(3))
        self.noise = noise

    def encode(self, inputs: Tensor, generator: Generator | None = None) -> Tensor:
        """Codes [cells, latent]; with a generator noise is added, without one nothing is drawn."""
        *hidden, code = self.encoder
        h = self._noisy(inputs, generator)
        for layer in hidden:
            h = functional.relu(self._noisy(layer(h), generator))
        codes: Tensor = code(h)
        return codes

    def decode(self, codes: Tensor, size_factor: Tensor) -> ZINB:
        """The ZINB of every count; its mean is scaled by the cell's size factor."""
        h = codes
        for layer in self.decoder:
            h = functional.relu(layer(h))
        mu = self.log_mean(h).clamp(*_LOG_MEANS).exp() * size_factor[:, None]
        return ZINB(mu, functional.softplus(self.dispersion(h)).clamp(*_THETAS), self.zero(h))

    def reconstruction_loss(self, cells: Cells, codes: Tensor, ridge: float) -> Tensor:
        """Mean over all counts of minus log-likelihood, plus `ridge` times the squared share of inflation."""
        zinb = self.decode(codes, cells.size_factor)
        return zinb_nll(cells.counts, zinb).mean() + ridge * zinb.zi_logits.sigmoid().square().mean()

    def _noisy(self, h: Tensor, generator: Generator | None) -> Tensor:
        if generator is None or not self.noise:
            return h
        drawn = torch.randn(h.shape, generator=generator, device=h.device)
        return h + self.noise * drawn


def pretrain(
    cells: Cells, config: dict[str, Any], *, ridge: float, amsgrad: bool, generator: Generator
) -> EpochsOf[Encode, None, tuple[DenoisingAutoencoder, Adam]]:
    """Make an autoencoder and fit it alone; every epoch gives what encodes cells, and the end model and optimiser."""
    n_genes, device = cells.counts.shape[1], cells.counts.device
    model = DenoisingAutoencoder(n_genes, config["n_latent"], config["layers"], config["noise"], generator)
    adam = Adam(model.to(device).parameters(), lr=config["learning_rate"], amsgrad=amsgrad, fused=True)
    for _ in range(config["pretrain_epochs"]):
        for index in batches(len(cells.counts), config["batch_size"], generator):
            part = cells.take(index)
            loss = model.reconstruction_loss(part, model.encode(part.inputs, generator), ridge)
            adam.zero_grad()
            loss.backward()
            adam.step()
        yield lambda some: Coded(model.encode(some.inputs))
    return model, adam
