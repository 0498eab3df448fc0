"""scVAE (Grønbech et al., Bioinformatics 36:4415, 2020): a variational autoencoder of raw counts.

The prior of the codes is a Gaussian, or a mixture of K Gaussians whose component y is a second latent variable
(GMVAE): q(y | x) and q(z | x, y) are networks, p(z | y) has a mean and a variance for each component, p(y) is
uniform, and the bound sums over y. Counts are zero-inflated negative binomial or zero-inflated Poisson, each with
all of its parameters from the decoder.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from benchmarks.peers.common import Cells, Coded, Encode, batches
from benchmarks.peers.likelihood import ZINB, zinb_nll
from scrae.core.networks import Linear

__all__ = ["DEFAULTS", "SCVAE", "gaussian_kl", "train_gaussian", "train_mixture", "zip_nll"]

DEFAULTS: dict[str, Any] = {
    "n_latent": 2,
    "layers": [100],
    "likelihood": "zinb",
    "learning_rate": 0.0001,
    "batch_size": 100,
    "epochs": 200,
}

_LOG = (-10.0, 10.0)  # bounds of log rates


def gaussian_kl(mean: Tensor, log_var: Tensor, prior_mean: Tensor, prior_log_var: Tensor) -> Tensor:
    """KL of a diagonal Gaussian from another, summed over the last axis."""
    gap = (log_var.exp() + (mean - prior_mean).square()) / prior_log_var.exp()
    return 0.5 * (prior_log_var - log_var + gap - 1).sum(dim=-1)


def zip_nll(counts: Tensor, log_rate: Tensor, zi_logits: Tensor) -> Tensor:
    """Minus the log-likelihood of each count under the zero-inflated Poisson, [cells, genes]."""
    rate = log_rate.exp()
    zero = functional.softplus(-rate - zi_logits) - functional.softplus(-zi_logits)
    poisson = counts * log_rate - rate - torch.lgamma(counts + 1)
    return -torch.where(counts > 0, functional.logsigmoid(-zi_logits) + poisson, zero)


class _Hidden(nn.Module):
    """Hidden layers: linear, batch normalisation, ReLU; the first may also read the component."""

    def __init__(self, n_in: int, layers: list[int], n_components: int, generator: Generator) -> None:
        super().__init__()
        inputs = [n_in, *layers[:-1]]
        self.layers = nn.ModuleList(Linear(i, o, generator) for i, o in zip(inputs, layers, strict=True))
        self.norms = nn.ModuleList(nn.BatchNorm1d(size) for size in layers)
        self.component = Linear(n_components, layers[0], generator) if n_components else None

    def forward(self, x: Tensor) -> Tensor:
        """[cells, n_in] to [cells * components, hidden], the components of a cell one after the other."""
        for i, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            h = layer(x)
            if i == 0 and self.component is not None:  # the component is one-hot: its row of the weights
                h = (h[:, None] + self.component.weight).flatten(0, 1)
            x = functional.relu(norm(h))
        return x


class SCVAE(nn.Module):
    """Encoder and decoder, and for a mixture also q(y | x) and p(z | y).

    Parameters
    ----------
    n_genes
        Genes of the counts.
    n_components
        Components of the mixture; 1 = one Gaussian, N(0, I).
    config
        As in `DEFAULTS`.
    generator
        Draws the first weights.
    """

    def __init__(self, n_genes: int, n_components: int, config: dict[str, Any], generator: Generator) -> None:
        super().__init__()
        n_latent, layers = config["n_latent"], config["layers"]
        self.n_components, self.poisson = n_components, config["likelihood"] == "zip"
        mixture = n_components > 1
        self.encoder = _Hidden(n_genes, layers, n_components if mixture else 0, generator)
        self.posterior = Linear(layers[-1], 2 * n_latent, generator)
        self.decoder = _Hidden(n_latent, layers[::-1], 0, generator)
        heads = 2 if self.poisson else 3
        self.heads = nn.ModuleList(Linear(layers[0], n_genes, generator) for _ in range(heads))
        self.chooser = _Hidden(n_genes, layers, 0, generator) if mixture else None
        self.choice = Linear(layers[-1], n_components, generator) if mixture else None
        self.prior = Linear(n_components, 2 * n_latent, generator) if mixture else None

    def components(self, counts: Tensor) -> Tensor:
        """Log q(y | x), [cells, components]."""
        if self.chooser is None or self.choice is None:
            return counts.new_zeros(len(counts), 1)
        return torch.log_softmax(self.choice(self.chooser(counts)), dim=1)

    def codes(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log variances of q(z | x, y), each [cells, components, latent]."""
        parts = self.posterior(self.encoder(counts)).unflatten(0, (len(counts), self.n_components))
        mean, log_var = parts.chunk(2, dim=2)
        return mean, log_var.clamp(*_LOG)

    def prior_moments(self) -> tuple[Tensor, Tensor]:
        """Means and log variances of p(z | y), each [components, latent]; zeros for one Gaussian."""
        if self.prior is None:
            zeros = self.posterior.weight.new_zeros(1, self.posterior.weight.shape[1] // 2)
            return zeros, zeros
        mean, log_var = (self.prior.weight + self.prior.bias).chunk(2, dim=1)
        return mean, log_var.clamp(*_LOG)

    def nll(self, counts: Tensor, z: Tensor) -> Tensor:
        """Minus log p(x | z) of codes [cells, components, latent], [cells, components]."""
        h = self.decoder(z.flatten(0, 1))
        log_rate, zi_logits, *odds = (head(h) for head in self.heads)
        x, log_rate = counts.repeat_interleave(self.n_components, dim=0), log_rate.clamp(*_LOG)
        if self.poisson:
            each = zip_nll(x, log_rate, zi_logits)
        else:  # NB(r, p): dispersion r, mean r p / (1 - p)
            each = zinb_nll(x, ZINB((log_rate + odds[0].clamp(*_LOG)).exp(), log_rate.exp(), zi_logits))
        return each.sum(dim=1).unflatten(0, (len(counts), self.n_components))

    def bound(self, counts: Tensor, generator: Generator) -> Tensor:
        """Minus the evidence lower bound of each cell with one drawn z for each component, [cells]."""
        log_q = self.components(counts)
        mean, log_var = self.codes(counts)
        drawn = torch.randn(mean.shape, generator=generator, device=mean.device)
        each = self.nll(counts, mean + (log_var / 2).exp() * drawn)
        each = each + gaussian_kl(mean, log_var, *self.prior_moments())
        each = each + log_q + math.log(self.n_components)  # KL of q(y | x) from the uniform p(y)
        return (log_q.exp() * each).sum(dim=1)


def train_gaussian(
    cells: Cells, *, n_clusters: int, config: dict[str, Any], generator: Generator
) -> Iterator[Encode]:
    """The prior is N(0, I); K is not used."""
    del n_clusters
    yield from _train(SCVAE(cells.counts.shape[1], 1, config, generator), cells, config, generator)


def train_mixture(
    cells: Cells, *, n_clusters: int, config: dict[str, Any], generator: Generator
) -> Iterator[Encode]:
    """The prior is a mixture of K Gaussians; a cell's cluster is its likeliest component."""
    yield from _train(SCVAE(cells.counts.shape[1], n_clusters, config, generator), cells, config, generator)


def _train(model: SCVAE, cells: Cells, config: dict[str, Any], generator: Generator) -> Iterator[Encode]:
    model.to(cells.counts.device)
    adam = torch.optim.Adam(model.parameters(), lr=config["learning_rate"], fused=True)

    def encode(cells: Cells) -> Coded:
        model.eval()
        log_q, (mean, _) = model.components(cells.inputs), model.codes(cells.inputs)
        codes = (log_q.exp()[:, :, None] * mean).sum(dim=1)
        return Coded(codes, log_q.argmax(dim=1) if model.n_components > 1 else None)

    for _ in range(config["epochs"]):
        model.train()
        for index in batches(len(cells.counts), config["batch_size"], generator):
            loss = model.bound(cells.counts[index], generator).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
        yield encode
