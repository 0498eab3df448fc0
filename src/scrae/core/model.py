"""The four networks as one model, with what it must remember of the data it was made for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from ..config import ModelConfig
from ..errors import ScraeError
from .data import CountData, DenseMinibatch, Minibatch
from .dense_likelihood import dense_count_nll
from .distributions import count_nll
from .losses import library_kl
from .networks import Critic, Decoder, Encoded, Encoder, LatentGenerator, SparseRows

__all__ = ["SCRAE", "AutoencoderLosses"]

_CLIP = 10.0
"""Scaled expression is cut here, as in scanpy's usual recipe: a rare gene's one count must not outshout the rest."""

_SPARSE = 0.3
"""Up to this share of nonzero counts the first layer costs less by its nonzero inputs than as a dense product."""


class AutoencoderLosses(NamedTuple):
    """The parts of eq. 11, per cell, and the codes they came from."""

    reconstruction: Float[Tensor, " cells"]
    library: Float[Tensor, " cells"]
    z: Float[Tensor, "cells latent"]


class SCRAE(nn.Module):
    """Encoder, decoder, latent generator and critic.

    Make one with :meth:`for_data`; the constructor alone is for loading.

    Attributes
    ----------
    genes : names of the modelled genes, in column order.
    config : what the networks look like.
    gene_scale : [genes] standard deviation of each gene's log-normalised expression.
    target_total : scalar, the total that cells are normalised to: the median total of the training cells.
    batch_names : names of the experimental batches that decoder and critic are told of; () = none.
    library_mean, library_var : µG and σ²G, of the log library size of the training cells: scalars, or [batches].
    """

    gene_scale: Tensor
    target_total: Tensor
    library_mean: Tensor
    library_var: Tensor

    def __init__(
        self, genes: Sequence[str], config: ModelConfig, *, batch_names: Sequence[str] = (), seed: int = 0
    ) -> None:
        super().__init__()
        self.genes, self.config, self.batch_names = tuple(genes), config, tuple(batch_names)
        rng = Generator().manual_seed(seed)
        n_genes, n_batches, c = len(self.genes), len(self.batch_names), config
        self.encoder = Encoder(n_genes, c.n_latent, c.encoder_layers, c.leak, c.dropout, rng)
        self.decoder = Decoder(
            n_genes, c.n_latent, c.decoder_layers, c.leak, c.dropout, c.likelihood == "zinb", rng, n_batches
        )
        self.critic = (
            None if c.prior == "none" else Critic(c.n_latent, c.critic_layers, c.leak, rng, n_batches)
        )
        self.latent_generator = (
            LatentGenerator(c.n_noise or c.n_latent, c.n_latent, c.generator_layers, c.leak, rng)
            if c.prior == "learned"
            else None
        )
        self.register_buffer("gene_scale", torch.ones(n_genes))
        self.register_buffer("target_total", torch.tensor(1.0))
        by_batch = (n_batches,) if n_batches else ()
        self.register_buffer("library_mean", torch.zeros(by_batch))
        self.register_buffer("library_var", torch.ones(by_batch))

    @classmethod
    def for_data(cls, data: CountData, config: ModelConfig, *, seed: int = 0) -> SCRAE:
        """Return a fresh model for the genes and batches of ``data``, on its device, with the statistics it needs."""
        model = cls(data.genes, config, batch_names=data.batch_names, seed=seed).to(data.device)
        log_library = data.totals.clamp(min=1).log()
        model.target_total.fill_(float(data.totals.median().clamp(min=1)))
        parts = [log_library]
        if data.batch_codes is not None:
            parts = [log_library[data.batch_codes == code] for code in range(len(data.batch_names))]
            if empty := [name for name, part in zip(data.batch_names, parts, strict=True) if not len(part)]:
                raise ScraeError(f"SCRAE.for_data: expected cells of every batch, found none of {empty[0]!r}")
        for i, part in enumerate(parts):
            model.library_mean.view(-1)[i] = float(part.mean())
            model.library_var.view(-1)[i] = max(float(part.var(correction=0)), 1e-4)
        mean, scale = _expression_moments(model, data)
        model.gene_scale.copy_(scale)
        _centre_first_layer(model.encoder, mean / scale)
        return model

    def inputs(self, batch: Minibatch) -> Float[Tensor, "cells genes"]:
        """Return what the encoder reads: log1p of counts per ``target_total``, in units of each gene's deviation."""
        return batch.dense(self.scaled_expression(batch))

    def encoder_input(self, batch: Minibatch | DenseMinibatch) -> Float[Tensor, "cells genes"] | SparseRows:
        """Return the same in the form that is faster to read."""
        if isinstance(batch, DenseMinibatch):
            return (torch.log1p(batch.counts * self._per_count(batch)[:, None]) / self.gene_scale).clamp_(
                max=_CLIP
            )
        value, n_entries = self.scaled_expression(batch), len(batch.total) * batch.n_genes
        if value.is_cuda or len(value) > _SPARSE * n_entries:
            return batch.dense(value)
        return SparseRows(batch.start.int(), batch.nonzeros.gene.int(), value)

    def scaled_expression(self, batch: Minibatch) -> Float[Tensor, " nonzeros"]:
        """Return what the encoder reads at the nonzero counts; it reads zero at the others."""
        scale = self.gene_scale.index_select(0, batch.nonzeros.gene)
        return (self.log_expression(batch) / scale).clamp_(max=_CLIP)

    def log_expression(self, batch: Minibatch) -> Float[Tensor, " nonzeros"]:
        """Return log1p of the normalised counts, at the nonzero counts."""
        return torch.log1p(batch.nonzeros.value * self._per_count(batch).index_select(0, batch.nonzeros.cell))

    def _per_count(self, batch: Minibatch | DenseMinibatch) -> Float[Tensor, " cells"]:
        """Return what a count of each cell stands for, once its total is ``target_total``."""
        return self.target_total / batch.total.clamp(min=1)

    def autoencoder_losses(
        self,
        batch: Minibatch | DenseMinibatch,
        generator: Generator | None = None,
        *,
        seen: Minibatch | DenseMinibatch | None = None,
    ) -> AutoencoderLosses:
        """Encode and decode a batch.

        Parameters
        ----------
        seen : what the encoder reads of these cells, when that is not all of it (``Minibatch.thinned``).
        generator : in training mode, draws s ~ N(µs, σs) and dropout. In evaluation mode s = µs.
        """
        encoded = self.encoder(self.encoder_input(seen or batch), generator)
        share_logits, zi_logits = self.decoder(encoded.z, generator, self.one_hot(batch))
        log_library, kl = self._library(encoded, batch, generator)
        parameters = share_logits, log_library, self.decoder.log_theta, zi_logits
        if isinstance(batch, DenseMinibatch):
            nll = dense_count_nll(*parameters, batch.counts)
        else:
            nll = count_nll(*parameters, batch.nonzeros)
        return AutoencoderLosses(nll, kl, encoded.z)

    def one_hot(self, batch: Minibatch | DenseMinibatch) -> Float[Tensor, "cells batches"] | None:
        """Return the batch of each cell as a row with a single one; None where the model has no batches.

        Raises
        ------
        ScraeError : the model has batches, and the data names none.
        """
        if not self.batch_names:
            return None
        if batch.batch_code is None:
            raise ScraeError(
                "SCRAE: expected the batch of each cell, since the model was trained with batches, found none; "
                "give CountData batch_names and batch_codes"
            )
        return torch.eye(len(self.batch_names), device=batch.total.device)[batch.batch_code]

    def library_prior(self, batch: Minibatch | DenseMinibatch) -> tuple[Tensor, Tensor]:
        """Return µG and σ²G of the log library size: scalars, or those of each cell's batch, [cells]."""
        if not self.batch_names:
            return self.library_mean, self.library_var
        return self.library_mean[batch.batch_code], self.library_var[batch.batch_code]

    def _library(
        self, encoded: Encoded, batch: Minibatch | DenseMinibatch, generator: Generator | None
    ) -> tuple[Tensor, Tensor]:
        if self.config.library == "observed":
            return batch.log_library, torch.zeros_like(batch.total)
        prior_mean, prior_var = self.library_prior(batch)
        mean, log_var = encoded.library_mean + prior_mean, encoded.library_log_var
        kl = library_kl(mean, log_var, prior_mean, prior_var)
        if not self.training:
            return mean, kl
        noise = torch.empty_like(mean).normal_(generator=generator)
        return mean + (0.5 * log_var).exp() * noise, kl

    def sample_prior(self, n_cells: int, generator: Generator | None = None) -> Float[Tensor, "cells latent"]:
        """Draw codes from the prior: ẑ = G(n), n ~ N(0, I); for prior='normal' G is the identity.

        Raises
        ------
        ScraeError : the model has no prior.
        """
        if self.config.prior == "none":
            raise ScraeError("SCRAE.sample_prior: expected a model with a prior, found prior='none'")
        n_noise = self.config.n_noise or self.config.n_latent
        noise = torch.empty(n_cells, n_noise, device=self.library_mean.device).normal_(generator=generator)
        result: Tensor = noise if self.latent_generator is None else self.latent_generator(noise)
        return result

    def encode(self, data: CountData, *, batch_size: int = 1024) -> np.ndarray:
        """Return the latent code of every cell, float32 [cells, latent]. Deterministic.

        Raises
        ------
        ScraeError : the genes of ``data`` are not the model's, in the model's order.
        """
        if data.genes != self.genes:
            raise ScraeError(
                f"SCRAE.encode: expected the model's {len(self.genes)} genes in its order, "
                f"found {data.n_genes} others; align them by name first (scrae.tl.count_data(adata, genes=model.genes))"
            )
        was_training = self.training
        self.eval()
        with torch.inference_mode():
            codes = [self.encoder(self.encoder_input(batch)).z.cpu() for batch in data.batches(batch_size)]
        self.train(was_training)
        return np.asarray(torch.cat(codes).numpy())

    def held_out_loss(self, data: CountData, rows: Tensor, *, batch_size: int = 1024) -> float:
        """Return minus the log-likelihood per cell of the given cells, with s = µs."""
        was_training = self.training
        self.eval()
        total = torch.zeros((), dtype=torch.float64, device=data.device)
        with torch.inference_mode():
            for batch in data.batches(batch_size, rows=rows):
                total += self.autoencoder_losses(batch).reconstruction.sum(dtype=torch.float64)
        self.train(was_training)
        return float(total) / len(rows)


def _expression_moments(model: SCRAE, data: CountData) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each gene's log-normalised expression, float32 [genes]."""
    first = torch.zeros(data.n_genes, dtype=torch.float64, device=data.device)
    second = torch.zeros_like(first)
    for batch in data.batches(4096):
        x = model.log_expression(batch).double()
        first.index_add_(0, batch.nonzeros.gene, x)
        second.index_add_(0, batch.nonzeros.gene, x * x)
    mean = first / len(data)
    scale = (second / len(data) - mean**2).clamp(min=0).sqrt()
    return mean.float(), torch.where(scale > 1e-6, scale, 1.0).float()


def _centre_first_layer(encoder: Encoder, mean: Float[Tensor, " genes"]) -> None:
    """Start the first layer's bias where it centres the inputs, so that they can stay sparse."""
    first: list[Any] = [*encoder.body.layers][:1] or [encoder.code, encoder.library_hidden]
    with torch.no_grad():
        for layer in first:
            layer.bias.copy_(-(mean @ layer.weight))
