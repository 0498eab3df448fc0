"""SAUCIE (Amodio et al., Nature Methods 16:1139, 2019), without its batch correction.

An autoencoder with squared error, whose last hidden layer is made nearly binary: information-dimension
regularisation is the entropy of how the layer's activity is shared among its units, and a second penalty is the
distance between cells that have the same code. Which units are on is a cell's cluster.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from benchmarks.peers.common import Cells, Coded, Encode, batches, squared_distances
from scrae.core.networks import MLP, Linear

__all__ = ["DEFAULTS", "information_dimension", "intracluster_distance", "train"]

DEFAULTS: dict[str, Any] = {
    "n_latent": 2,
    "layers": [512, 256, 128],
    "entropy_weight": 0.1,
    "distance_weight": 0.2,
    "batch_size": 256,
    "learning_rate": 0.001,
    "n_steps": 1000,
    "min_cells": 100,
}

_LEAK = 0.2
_ON = 1e-6  # of the largest activity
_WIDTHS = (
    *(10.0**power for power in range(-6, 1)),
    *(5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 100.0),
    *(10.0**power for power in range(3, 7)),
)  # of the Gaussian kernel that says which codes are alike


def information_dimension(activity: Tensor) -> Tensor:
    """Entropy of the share that every unit has of the activity of all; `activity` [cells, units] is not negative."""
    totals = activity.sum(dim=0)
    share = totals / totals.sum()
    return -(share * torch.log(share + 1e-9)).sum()


def intracluster_distance(activity: Tensor, inputs: Tensor) -> Tensor:
    """Mean over pairs of the distance of their inputs times how alike their codes are, from 0 to 1.

    Alike is a mean of Gaussian kernels of many widths, brought to 0...1 within the batch.
    """
    gaps = squared_distances(activity, activity)
    alike = torch.stack([torch.exp(-gaps / (2 * width)) for width in _WIDTHS]).mean(dim=0)
    alike = alike - alike.min()
    alike = alike / alike.max().clamp(min=1e-12)
    return ((squared_distances(inputs, inputs) + 1e-3).sqrt() * alike).mean()


class _Autoencoder(nn.Module):
    def __init__(self, n_genes: int, n_latent: int, layers: list[int], generator: Generator) -> None:
        super().__init__()
        first, *rest = layers
        self.encoder = MLP(n_genes, layers, _LEAK, 0.0, generator)
        self.code = Linear(layers[-1], n_latent, generator)
        self.decoder = MLP(n_latent, rest[::-1], _LEAK, 0.0, generator)
        self.units = Linear(self.decoder.n_out, first, generator)
        self.output = Linear(first, n_genes, generator)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Codes [cells, latent] and the activity of the binary layer [cells, units]."""
        codes: Tensor = self.code(self.encoder(inputs))
        activity = functional.relu(self.units(self.decoder(codes)))
        return codes, activity


def train(cells: Cells, *, n_clusters: int, config: dict[str, Any], generator: Generator) -> Iterator[Encode]:
    """Train for a number of steps; the clusters are as many as there are common codes, whatever K is."""
    del n_clusters
    device = cells.counts.device
    model = _Autoencoder(cells.counts.shape[1], config["n_latent"], config["layers"], generator).to(device)
    adam = torch.optim.Adam(model.parameters(), lr=config["learning_rate"], fused=True)

    def encode(cells: Cells) -> Coded:
        codes, activity = model(cells.inputs)
        return Coded(codes, _clusters(activity, config["min_cells"]))

    steps = 0
    while steps < config["n_steps"]:
        for index in batches(len(cells.counts), config["batch_size"], generator):
            inputs = cells.inputs[index]
            _, activity = model(inputs)
            loss = functional.mse_loss(model.output(activity), inputs)
            activity = activity / activity.max().clamp(min=1e-12)
            loss = loss + config["entropy_weight"] * information_dimension(activity)
            loss = loss + config["distance_weight"] * intracluster_distance(activity, inputs)
            adam.zero_grad()
            loss.backward()
            adam.step()
            steps += 1
            if steps == config["n_steps"]:
                break
        yield encode


def _clusters(activity: Tensor, min_cells: int) -> Tensor:
    """The number of each cell's code; codes of at most `min_cells` cells share the number 0."""
    on = activity > _ON * activity.max()
    _, code, sizes = torch.unique(on, dim=0, return_inverse=True, return_counts=True)
    return torch.where((sizes > min_cells)[code], code + 1, 0)
