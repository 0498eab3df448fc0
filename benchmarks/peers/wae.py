"""WAE with maximum mean discrepancy (Tolstikhin et al., ICLR 2018), on scrae's own encoder and decoder.

The codes of a batch are drawn to N(0, I) by the discrepancy under inverse multiquadratic kernels, where scrae and
AAE have a critic.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Generator, Tensor

from benchmarks.peers.common import Cells, Coded, Encode, batches, squared_distances
from benchmarks.peers.likelihood import ZINB, zinb_nll
from scrae.core.networks import Decoder, Encoder

__all__ = ["DEFAULTS", "discrepancy", "train"]

DEFAULTS: dict[str, Any] = {
    "n_latent": 10,
    "layers": [256],
    "leak": 0.2,
    "weight": 10.0,
    "learning_rate": 0.002,
    "batch_size": 128,
    "epochs": 100,
}

_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def discrepancy(a: Tensor, b: Tensor) -> Tensor:
    """Unbiased squared maximum mean discrepancy of two samples of the same number of codes, [cells, latent].

    The kernel is the sum over scales s of c / (c + squared distance), c = 2 * latent * s, as for a unit normal prior.
    """
    n, n_latent = a.shape

    def kernel(left: Tensor, right: Tensor) -> Tensor:
        gaps = squared_distances(left, right)
        each = [2 * n_latent * scale / (2 * n_latent * scale + gaps) for scale in _SCALES]
        return torch.stack(each).sum(dim=0)

    within = kernel(a, a) + kernel(b, b)
    within = (within.sum() - within.diagonal().sum()) / (n * (n - 1))
    return within - 2 * kernel(a, b).mean()


def train(cells: Cells, *, n_clusters: int, config: dict[str, Any], generator: Generator) -> Iterator[Encode]:
    """Minus log-likelihood summed over genes, plus the weighted discrepancy from as many draws of N(0, I)."""
    del n_clusters
    n_genes, device = cells.counts.shape[1], cells.counts.device
    shape = (config["n_latent"], config["layers"], config["leak"], 0.0)
    encoder = Encoder(n_genes, *shape, generator).to(device)
    decoder = Decoder(n_genes, *shape, True, generator).to(device)
    adam = torch.optim.Adam(
        [*encoder.parameters(), *decoder.parameters()], lr=config["learning_rate"], fused=True
    )

    def encode(cells: Cells) -> Coded:
        return Coded(encoder(cells.inputs).z)

    for _ in range(config["epochs"]):
        for index in batches(len(cells.counts), config["batch_size"], generator):
            part = cells.take(index)
            codes = encoder(part.inputs).z
            share, zi_logits = decoder(codes)
            mu = part.counts.sum(dim=1, keepdim=True).clamp(min=1) * torch.softmax(share, dim=1)
            loss = zinb_nll(part.counts, ZINB(mu.clamp(min=1e-8), decoder.log_theta.exp(), zi_logits))
            prior = torch.randn(codes.shape, generator=generator, device=device)
            loss = loss.sum(dim=1).mean() + config["weight"] * discrepancy(codes, prior)
            adam.zero_grad()
            loss.backward()
            adam.step()
        yield encode
