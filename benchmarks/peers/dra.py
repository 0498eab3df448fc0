"""DR-A (Lin, Mukherjee and Kannan, BMC Bioinformatics 21:64, 2020): adversarial autoencoder with dual matching.

A variational autoencoder with scVI's decoder (shares of genes, inferred library size, ZINB), whose KL term of the
codes is replaced by a critic in the latent space (codes or draws from N(0, I)). A second critic in the data space
sees cells and reconstructions. Both are scored, as in the published program, by the Bhattacharyya distance of
their scores, each as shares of a batch; critics and autoencoder all make it smaller. So the matching is weak: it
asks for equal scores. With a logistic min-max in its place little but noise was left in the codes. Two things
differ from the program: its data critic never reaches the autoencoder, and it evaluates the ZINB on logs scaled
to 0...1, where this one takes the counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn

from benchmarks.peers.common import Cells, Coded, Encode, batches
from benchmarks.peers.likelihood import ZINB, zinb_nll
from scrae.core.losses import library_kl
from scrae.core.networks import Critic, Decoder, Encoder, Linear

__all__ = ["DEFAULTS", "DRA", "bhattacharyya", "train"]

DEFAULTS: dict[str, Any] = {
    "n_latent": 10,
    "layers": [512, 512, 512, 512],
    "critic_layers": [32, 32, 32, 32],
    "dropout": 0.1,
    "leak": 0.2,
    "learning_rate": 0.0008,
    "batch_size": 128,
    "epochs": 200,
    "critic_every": 3,
}


def bhattacharyya(a: Tensor, b: Tensor) -> Tensor:
    """Minus the log of the sum of sqrt(p q), p and q being the shares of absolute scores; [cells] each."""
    p, q = (scores.abs() / scores.abs().sum().clamp(min=1e-10) for scores in (a, b))
    return -torch.log((p * q + 1e-20).sqrt().sum())


class _Pass(NamedTuple):
    """One way through the encoder and the decoder's body: a drawn code, the log library's moments, what comes of it."""

    codes: Tensor
    library_mean: Tensor
    library_log_var: Tensor
    decoded: Tensor


class DRA(nn.Module):
    """The five networks: encoder, decoder with a second output in the inputs' scale, two critics."""

    def __init__(self, cells: Cells, config: dict[str, Any], generator: Generator) -> None:
        super().__init__()
        n_genes, n_latent = cells.counts.shape[1], config["n_latent"]
        shape = (config["layers"], config["leak"], config["dropout"])
        self.encoder = Encoder(n_genes, 2 * n_latent, *shape, generator)  # means and log variances
        self.decoder = Decoder(n_genes, n_latent, *shape, True, generator)
        self.expression = Linear(self.decoder.body.n_out, n_genes, generator)
        critic = (config["critic_layers"], config["leak"], generator)
        self.latent_critic, self.data_critic = Critic(n_latent, *critic), Critic(n_genes, *critic)
        log_library = cells.counts.sum(dim=1).clamp(min=1).log()
        self.register_buffer("library_mean", log_library.mean())
        self.register_buffer("library_var", log_library.var(correction=0).clamp(min=1e-4))
        with torch.no_grad():  # from 0 it would take hundreds of steps to get there
            self.encoder.library.bias[0] = log_library.mean()

    def means(self, inputs: Tensor) -> Tensor:
        """Mean of each cell's code, [cells, latent]."""
        return self.encoder(inputs).z.chunk(2, dim=1)[0]

    def autoencode(self, inputs: Tensor, generator: Generator) -> _Pass:
        """Draw a code of each cell and decode it."""
        encoded = self.encoder(inputs, generator)
        mean, log_var = encoded.z.chunk(2, dim=1)
        codes = mean + (log_var / 2).exp() * _noise_like(mean, generator)
        decoded = self.decoder.body(codes, generator)
        return _Pass(codes, encoded.library_mean, encoded.library_log_var, decoded)

    def likelihood_loss(self, cells: Cells, generator: Generator) -> Tensor:
        """Minus the evidence bound without the KL term of the codes, which the critics replace; [cells]."""
        passed = self.autoencode(cells.inputs, generator)
        mean, log_var = passed.library_mean, passed.library_log_var
        log_library = mean + (log_var / 2).exp() * _noise_like(mean, generator)
        mu = log_library.exp()[:, None] * torch.softmax(self.decoder.share(passed.decoded), dim=1)
        zinb = ZINB(mu.clamp(1e-8, 1e8), self.decoder.log_theta.exp(), self.decoder.zero(passed.decoded))
        kl = library_kl(mean, log_var, self.library_mean, self.library_var)
        return zinb_nll(cells.counts, zinb).sum(dim=1) + kl

    def critics_loss(self, cells: Cells, generator: Generator) -> Tensor:
        """What both critics minimise; the autoencoder gets no gradient."""
        with torch.no_grad():
            passed = self.autoencode(cells.inputs, generator)
            rebuilt = self.expression(passed.decoded).sigmoid()
        prior = _noise_like(passed.codes, generator)
        latent = bhattacharyya(self.latent_critic(prior), self.latent_critic(passed.codes))
        return latent + bhattacharyya(self.data_critic(cells.inputs), self.data_critic(rebuilt))

    def matching_loss(self, cells: Cells, generator: Generator) -> Tensor:
        """What the autoencoder minimises: the distance of the scores of codes and reconstructions from equal ones."""
        passed = self.autoencode(cells.inputs, generator)
        codes = self.latent_critic(passed.codes)
        rebuilt = self.data_critic(self.expression(passed.decoded).sigmoid())
        return bhattacharyya(codes, torch.ones_like(codes)) + bhattacharyya(rebuilt, torch.ones_like(rebuilt))


def train(cells: Cells, *, n_clusters: int, config: dict[str, Any], generator: Generator) -> Iterator[Encode]:
    """Every iteration the autoencoder, and then in turn the critics once and the matching twice."""
    del n_clusters
    model = DRA(cells, config, generator).to(cells.counts.device)
    critics = [*model.latent_critic.parameters(), *model.data_critic.parameters()]
    rest = [p for part in (model.encoder, model.decoder, model.expression) for p in part.parameters()]
    rate = config["learning_rate"]
    by_likelihood, by_matching, by_critics = (
        torch.optim.Adam(parameters, lr=rate, betas=(0.9, 0.999), fused=True)
        for parameters in (rest, rest, critics)
    )

    def encode(cells: Cells) -> Coded:
        model.eval()
        return Coded(model.means(cells.inputs))

    iteration = 0
    for _ in range(config["epochs"]):
        model.train()
        for index in batches(len(cells.counts), config["batch_size"], generator):
            part = cells.take(index)
            _step(by_likelihood, model.likelihood_loss(part, generator).mean())
            if iteration % config["critic_every"] == 0:
                _step(by_critics, model.critics_loss(part, generator))
            else:
                _step(by_matching, model.matching_loss(part, generator))
            iteration += 1
        yield encode


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _noise_like(values: Tensor, generator: Generator) -> Tensor:
    return torch.randn(values.shape, generator=generator, device=values.device)
