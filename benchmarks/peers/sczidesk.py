"""scziDesk (Chen, Wang, Zhai and Deng, NAR Genomics and Bioinformatics 2:lqaa039, 2020).

A denoising ZINB autoencoder is fitted alone. Then two terms join it: a soft K-means whose weights are inflated
(squared and renormalised, as in Markov clustering), and a self-training term that sharpens the similarities between
the cells of a batch. It ends when fewer than a thousandth of the cells change cluster between two looks, ten
epochs apart. Dispersion and mean have the bounds of scDeepCluster; the share of inflation has a ridge penalty.
The published program asks for noise of 1.5. As it is run, which is how its values were made, none is added; so the
default here is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Generator, Tensor, nn

from benchmarks.peers.common import Cells, Coded, Encode, batches, squared_distances
from benchmarks.peers.denoising import pretrain
from benchmarks.peers.scdeepcluster import first_centres

__all__ = ["DEFAULTS", "kmeans_loss", "self_training_loss", "train"]

DEFAULTS: dict[str, Any] = {
    "n_latent": 32,
    "layers": [256, 64],
    "noise": 0.0,
    "ridge": 1.0,
    "pretrain_epochs": 1000,
    "max_epochs": 2000,
    "learning_rate": 0.0001,
    "batch_size": 256,
    "kmeans_weight": 0.001,
    "self_training_weight": 0.001,
    "look_every": 10,
    "tolerance": 0.001,
}


def kmeans_loss(codes: Tensor, centres: Tensor) -> Tensor:
    """Squared distances to all centres under inflated weights, summed over centres, mean over cells.

    The weights are the softmax of minus the squared distances, squared and brought back to sum 1.
    """
    distances = squared_distances(codes, centres)
    weights = torch.softmax(-2 * distances, dim=1)  # squaring a softmax and renormalising doubles its logits
    return (distances * weights).sum(dim=1).mean()


def self_training_loss(codes: Tensor) -> Tensor:
    """KL of the sharpened similarities between the cells of a batch from the similarities, summed over pairs.

    Similarities are Student's kernel without a cell's own, rows summing to 1; sharpened ones are their squares,
    rows summing to 1 again.
    """
    others = ~torch.eye(len(codes), dtype=torch.bool, device=codes.device)
    kernel = others / (1 + squared_distances(codes, codes))
    p = kernel / kernel.sum(dim=1, keepdim=True)
    q = p.square() / p.square().sum(dim=1, keepdim=True)
    return (torch.xlogy(q, q.clamp(min=1e-30)) - torch.xlogy(q, p.clamp(min=1e-30))).sum()


def train(cells: Cells, *, n_clusters: int, config: dict[str, Any], generator: Generator) -> Iterator[Encode]:
    """Fit the autoencoder, then all terms together; K is part of the model."""
    model, adam = yield from pretrain(
        cells, config, ridge=config["ridge"], amsgrad=False, generator=generator
    )
    with torch.no_grad():
        centres = nn.Parameter(first_centres(model.encode(cells.inputs), n_clusters, 10, generator))
    adam.add_param_group({"params": [centres]})

    def encode(cells: Cells) -> Coded:
        codes = model.encode(cells.inputs)
        return Coded(codes, squared_distances(codes, centres).argmin(dim=1))

    before = _clusters(encode, cells)
    for epoch in range(1, config["max_epochs"] + 1):
        for index in batches(len(cells.counts), config["batch_size"], generator):
            part = cells.take(index)
            codes = model.encode(part.inputs, generator)
            loss = model.reconstruction_loss(part, codes, config["ridge"])
            loss = loss + config["kmeans_weight"] * kmeans_loss(codes, centres)
            loss = loss + config["self_training_weight"] * self_training_loss(codes)
            adam.zero_grad()
            loss.backward()
            adam.step()
        yield encode
        if epoch % config["look_every"] == 0:
            now = _clusters(encode, cells)
            if (now != before).float().mean() < config["tolerance"]:
                break
            before = now


def _clusters(encode: Encode, cells: Cells) -> Tensor:
    with torch.no_grad():
        clusters = encode(cells).clusters
    assert clusters is not None
    return clusters
