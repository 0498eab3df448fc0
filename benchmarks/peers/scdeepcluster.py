"""scDeepCluster (Tian, Wan, Song and Wei, Nature Machine Intelligence 1:191, 2019).

A denoising ZINB autoencoder is fitted alone; then K centres, first those of K-means on the codes, are trained with
it: soft assignments q by Student's kernel are drawn to a sharper target p, renewed every epoch, by KL(p || q)
(deep embedded clustering, Xie et al. 2016). It ends when fewer than a thousandth of the cells change cluster.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from sklearn.cluster import KMeans
from torch import Generator, Tensor, nn

from benchmarks.peers.common import Cells, Coded, Encode, batches, squared_distances
from benchmarks.peers.denoising import DenoisingAutoencoder, pretrain

__all__ = ["DEFAULTS", "clustering_loss", "first_centres", "soft_assignment", "target", "train"]

DEFAULTS: dict[str, Any] = {
    "n_latent": 32,
    "layers": [256, 64],
    "noise": 2.5,
    "pretrain_epochs": 400,
    "learning_rate": 0.001,
    "batch_size": 256,
    "cluster_weight": 1.0,
    "max_iterations": 20_000,
    "tolerance": 0.001,
}


def soft_assignment(codes: Tensor, centres: Tensor) -> Tensor:
    """Student's kernel with one degree of freedom, rows summing to 1; [cells, clusters]."""
    kernel = 1 / (1 + squared_distances(codes, centres))
    return kernel / kernel.sum(dim=1, keepdim=True)


def target(q: Tensor) -> Tensor:
    """The sharper target: q² over the size of the cluster, rows summing to 1; [cells, clusters]."""
    weight = q.square() / q.sum(dim=0)
    return weight / weight.sum(dim=1, keepdim=True)


def clustering_loss(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q), mean over cells."""
    return (torch.xlogy(p, p) - p * q.log()).sum(dim=1).mean()


def first_centres(codes: Tensor, n_clusters: int, n_init: int, generator: Generator) -> Tensor:
    """Centres of K-means on the codes, [clusters, latent]."""
    seed = int(torch.randint(2**31 - 1, (), generator=generator, device=generator.device))
    found = KMeans(n_clusters, n_init=n_init, random_state=seed).fit(codes.cpu().numpy())
    return torch.from_numpy(found.cluster_centers_).to(codes)


def train(cells: Cells, *, n_clusters: int, config: dict[str, Any], generator: Generator) -> Iterator[Encode]:
    """Fit the autoencoder, then autoencoder and centres together; K is part of the model."""
    model, _ = yield from pretrain(cells, config, ridge=0.0, amsgrad=True, generator=generator)
    with torch.no_grad():
        centres = nn.Parameter(first_centres(model.encode(cells.inputs), n_clusters, 20, generator))

    def encode(cells: Cells) -> Coded:
        codes = model.encode(cells.inputs)
        return Coded(codes, squared_distances(codes, centres).argmin(dim=1))

    yield from _cluster(model, centres, cells, config, generator, encode)


def _cluster(
    model: DenoisingAutoencoder,
    centres: nn.Parameter,
    cells: Cells,
    config: dict[str, Any],
    generator: Generator,
    encode: Encode,
) -> Iterator[Encode]:
    adadelta = torch.optim.Adadelta([*model.parameters(), centres], lr=1.0, rho=0.95, eps=1e-7)
    n_cells, before = len(cells.counts), None
    for _ in range(max(1, config["max_iterations"] * config["batch_size"] // n_cells)):
        with torch.no_grad():
            q = soft_assignment(model.encode(cells.inputs), centres)
            p, now = target(q), q.argmax(dim=1)
        if before is not None and (now != before).float().mean() < config["tolerance"]:
            break
        before = now
        for index in batches(n_cells, config["batch_size"], generator):
            part = cells.take(index)
            loss = model.reconstruction_loss(part, model.encode(part.inputs, generator), 0.0)
            q = soft_assignment(model.encode(part.inputs), centres)
            loss = loss + config["cluster_weight"] * clustering_loss(p[index], q)
            adadelta.zero_grad()
            loss.backward()
            adadelta.step()
        yield encode
