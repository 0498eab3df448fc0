"""What the speed benchmark times: our iteration, its matrix products alone, a plain autoencoder, scvi-tools.

Each is made by a function of the same counts and sizes, and is a function that runs some iterations. Data in memory,
the cells shuffled, batches made on the fly, everywhere.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from itertools import pairwise
from time import perf_counter

import torch
from scipy import sparse
from torch import Generator, Tensor, nn

from scrae.config import ModelConfig, Prior, TrainConfig
from scrae.core.data import CountData, Minibatch
from scrae.core.model import SCRAE
from scrae.core.step import Optimizers, training_step

__all__ = ["Loop", "ours", "plain", "products", "scvi"]

Loop = Callable[[int], float]
"""Runs that many iterations; returns their seconds."""


def ours(data: CountData, config: ModelConfig, batch_size: int, prior: Prior) -> Loop:
    """Our training iteration, all four networks or (``prior="none"``) the autoencoder alone."""
    model = SCRAE.for_data(data, ModelConfig(**{**vars(config), "prior": prior}), seed=0).train()
    settings = TrainConfig(batch_size=batch_size)
    optimizers, noise = Optimizers.of(model, settings), Generator().manual_seed(1)
    batches, done = _endless(data, batch_size), 0

    def run(iterations: int) -> float:
        nonlocal done
        start = perf_counter()
        for _ in range(iterations):
            done += 1
            due = done % settings.n_critic == 0
            training_step(model, next(batches), optimizers, settings, noise, update_prior=due)
        return perf_counter() - start

    return run


def products(data: CountData, config: ModelConfig, batch_size: int) -> Loop:
    """The matrix products of one iteration of the dense autoencoder, into memory that is already there.

    For every linear layer: forward, the gradient of the weights, and the gradient of the input but for the first.
    """
    rng = Generator().manual_seed(0)
    layers = []
    for n_in, n_out in _sizes(data.n_genes, config):
        x, w, y = ((batch_size, n_in), (n_in, n_out), (batch_size, n_out))
        layers.append(tuple(torch.randn(shape, generator=rng) for shape in (x, w, y, x, w, y)))

    def run(iterations: int) -> float:
        start = perf_counter()
        for _ in range(iterations):
            for x, w, _, _, _, out in layers:
                torch.mm(x, w, out=out)
            for place, (x, w, y, d_x, d_w, _) in reversed(list(enumerate(layers))):
                torch.mm(x.t(), y, out=d_w)
                if place:
                    torch.mm(y, w.t(), out=d_x)
        return perf_counter() - start

    return run


def _sizes(n_genes: int, config: ModelConfig) -> list[tuple[int, int]]:
    """Inputs and outputs of each linear layer of encoder and decoder."""
    encoder = [n_genes, *config.encoder_layers]
    decoder = [config.n_latent, *config.decoder_layers]
    hidden = [*pairwise(encoder), (encoder[-1], config.n_latent)]
    return [*hidden, *pairwise(decoder), *[(decoder[-1], n_genes)] * 2]


class _Plain(nn.Module):
    """A ZINB autoencoder as people write it."""

    def __init__(self, n_genes: int, config: ModelConfig) -> None:
        super().__init__()
        encoder, decoder = [n_genes, *config.encoder_layers], [config.n_latent, *config.decoder_layers]
        self.encoder = nn.Sequential(*_mlp(encoder, config.leak), nn.Linear(encoder[-1], config.n_latent))
        self.decoder = nn.Sequential(*_mlp(decoder, config.leak))
        self.share, self.zero = nn.Linear(decoder[-1], n_genes), nn.Linear(decoder[-1], n_genes)
        self.log_theta = nn.Parameter(torch.zeros(n_genes))

    def forward(self, x: Tensor) -> Tensor:
        """Minus the log-likelihood, [cells]."""
        total = x.sum(dim=1, keepdim=True).clamp(min=1)
        h = self.decoder(self.encoder(torch.log1p(x / total * 1e4)))
        mu = total * torch.softmax(self.share(h), dim=1)
        theta, logits, eps = self.log_theta.exp(), self.zero(h), 1e-8
        log_theta_mu = torch.log(theta + mu + eps)
        zero = theta * (torch.log(theta + eps) - log_theta_mu)
        softplus = nn.functional.softplus
        at_zero = softplus(zero - logits) - softplus(-logits)
        gammas = torch.lgamma(x + theta) - torch.lgamma(theta) - torch.lgamma(x + 1)
        above = -softplus(-logits) - logits + zero + x * (torch.log(mu + eps) - log_theta_mu) + gammas
        return -torch.where(x < eps, at_zero, above).sum(dim=1)


def _mlp(sizes: list[int], leak: float) -> Iterator[nn.Module]:
    for n_in, n_out in pairwise(sizes):
        yield from (nn.Linear(n_in, n_out), nn.LeakyReLU(leak))


def plain(data: CountData, config: ModelConfig, batch_size: int) -> Loop:
    """A straightforward autoencoder: dense lgamma, autograd, Adam as it comes."""
    model = _Plain(data.n_genes, config)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    batches = _endless(data, batch_size)

    def run(iterations: int) -> float:
        start = perf_counter()
        for _ in range(iterations):
            batch = next(batches)
            optimizer.zero_grad()
            model(batch.dense(batch.nonzeros.value)).mean().backward()
            optimizer.step()
        return perf_counter() - start

    return run


def _endless(data: CountData, batch_size: int) -> Iterator[Minibatch]:
    """Whole batches, epoch after epoch."""
    order = Generator().manual_seed(2)
    while True:
        yield from (b for b in data.minibatches(batch_size, generator=order) if len(b.total) == batch_size)


def scvi(counts: sparse.csr_matrix, config: ModelConfig, batch_size: int) -> Loop | None:
    """``SCVI.train`` by its own clock of epochs, so that its set-up does not count; None without scvi-tools.

    Its layers are equally wide, so the first hidden size stands for all; the epochs nearest to the iterations asked.
    """
    try:
        import scvi as tools
    except ImportError:
        return None
    from anndata import AnnData
    from lightning.pytorch.callbacks import Callback

    class Clock(Callback):  # type: ignore[misc]  # bases without types
        def __init__(self) -> None:
            self.seconds = 0.0

        def on_train_epoch_start(self, *_: object) -> None:
            self.start = perf_counter()

        def on_train_epoch_end(self, *_: object) -> None:
            self.seconds += perf_counter() - self.start

    adata = AnnData(counts.astype("float32"))
    tools.settings.seed = 0
    tools.model.SCVI.setup_anndata(adata)
    layers = config.encoder_layers
    model = tools.model.SCVI(
        adata, n_hidden=layers[0], n_layers=len(layers), n_latent=config.n_latent, gene_likelihood="zinb"
    )
    steps = -(-adata.n_obs // batch_size)

    def run(iterations: int) -> float:
        clock, epochs = Clock(), max(1, round(iterations / steps))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.train(
                max_epochs=epochs, batch_size=batch_size, train_size=1.0, accelerator="cpu", devices=1,
                enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False,
                logger=False, callbacks=[clock],
            )  # fmt: skip
        return clock.seconds / (epochs * steps) * iterations

    return run
