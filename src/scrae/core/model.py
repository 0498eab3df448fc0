"""The four networks as one model, with the statistics of its training data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from ..config import ModelConfig
from ..errors import ScraeError
from ._kernels import SparseRows
from .data import Cells, CountData
from .losses import library_kl
from .mixture import Density
from .networks import Critic, Decoder, Encoded, Encoder, LatentGenerator

__all__ = ["SCRAE", "AutoencoderLosses", "evaluating"]


class AutoencoderLosses(NamedTuple):
    """The terms of eq. 11, per cell, and the codes they were computed from."""

    reconstruction: Float[Tensor, " cells"]
    library: Float[Tensor, " cells"]
    z: Float[Tensor, "cells latent"]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; the previous mode is restored, also after an exception."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(was_training)


class SCRAE(nn.Module):
    """Encoder, decoder, latent generator and critic.

    Use :meth:`for_data` to create a model for training; the constructor alone is for loading.

    Parameters
    ----------
    genes : sequence of str
        Names of the modeled genes.
    config : ModelConfig
        Architecture.
    batch_names : sequence of str
        Names of the experimental batches that decoder and critic are conditioned on; empty: none.
    seed : int
        Seed of the initial weights.

    Attributes
    ----------
    gene_scale : Tensor
        Standard deviation of each gene's log-normalized expression, [genes].
    target_total : Tensor
        Total that cells are normalized to: the median total of the training cells, scalar.
    library_mean, library_var : Tensor
        µG and σ²G, moments of the log library size of the training cells: scalars, or [batches].
    density : Density or None
        What generated cells are drawn from, fitted after training; None = not fitted.
    epochs : int or None
        Epochs of training behind the weights; None = not trained, or trained by version 0.1.0.
    """

    gene_scale: Tensor
    target_total: Tensor
    library_mean: Tensor
    library_var: Tensor
    density: Density | None = None
    epochs: int | None = None

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
        """Return a new model for the genes and batches of ``data``, on its device, with its statistics.

        Raises
        ------
        ScraeError
            If a batch has no cells.
        """
        model = cls(data.genes, config, batch_names=data.batch_names, seed=seed).to(data.device)
        log_library = data.totals.clamp(min=1).log()
        model.target_total.fill_(float(data.totals.median().clamp(min=1)))
        parts = [log_library]
        if data.batch_codes is not None:
            parts = [log_library[data.batch_codes == code] for code in range(len(data.batch_names))]
            if empty := [name for name, part in zip(data.batch_names, parts, strict=True) if not len(part)]:
                raise ScraeError(f"batches: expected cells of every batch, found none of {empty[0]!r}")
        for i, part in enumerate(parts):
            model.library_mean.view(-1)[i] = float(part.mean())
            model.library_var.view(-1)[i] = max(float(part.var(correction=0)), 1e-4)
        mean, scale = _expression_moments(model, data)
        model.gene_scale.copy_(scale)
        _center_first_layer(model.encoder, mean / scale)
        return model

    def __repr__(self) -> str:
        c = self.config
        batches = f", batches={len(self.batch_names)}" if self.batch_names else ""
        epochs = "" if self.epochs is None else f", epochs={self.epochs}"
        return (
            f"SCRAE(genes={len(self.genes)}, n_latent={c.n_latent}, prior={c.prior!r}, likelihood={c.likelihood!r}"
            f"{batches}{epochs}, device={str(self.library_mean.device)!r})"
        )

    def encoder_input(self, cells: Cells) -> Float[Tensor, "cells genes"] | SparseRows:
        """Return log1p of the counts normalized to ``target_total``, in units of ``gene_scale``, clipped."""
        return cells.encoder_input(self.target_total, self.gene_scale)

    def autoencoder_losses(
        self, cells: Cells, generator: Generator | None = None, *, seen: Cells | None = None
    ) -> AutoencoderLosses:
        """Encode and decode a minibatch.

        Parameters
        ----------
        cells : Cells
            Their counts are what the decoder must explain.
        generator : torch.Generator or None
            In training mode, draws s ~ N(µs, σs) and dropout. In evaluation mode s = µs.
        seen : Cells or None
            What the encoder reads, e.g. thinned counts; None: ``cells``.
        """
        encoded = self.encoder(self.encoder_input(cells if seen is None else seen), generator)
        share_logits, zi_logits = self.decoder(encoded.z, generator, self.one_hot(cells))
        log_library, kl = self._library(encoded, cells, generator)
        nll = cells.nll(share_logits, log_library, self.decoder.log_theta, zi_logits)
        return AutoencoderLosses(nll, kl, encoded.z)

    def one_hot(self, cells: Cells) -> Float[Tensor, "cells batches"] | None:
        """Return the batch of each cell as a one-hot row; None if the model has no batches.

        Raises
        ------
        ScraeError
            If the model has batches and the data has none.
        """
        if not self.batch_names:
            return None
        if cells.batch_code is None:
            raise ScraeError(
                "SCRAE: expected the batch of each cell, since the model was trained with batches, found none; "
                "give CountData batch_names and batch_codes"
            )
        return torch.eye(len(self.batch_names), device=cells.total.device)[cells.batch_code]

    def _library(self, encoded: Encoded, cells: Cells, generator: Generator | None) -> tuple[Tensor, Tensor]:
        """Return the log library size s of each cell and its KL term (eq. 8 and 11)."""
        if self.config.library == "observed":
            return cells.log_library, torch.zeros_like(cells.total)
        prior_mean, prior_var = self.library_prior(cells)
        mean, log_var = encoded.library_mean + prior_mean, encoded.library_log_var
        kl = library_kl(mean, log_var, prior_mean, prior_var)
        if not self.training:
            return mean, kl
        noise = torch.empty_like(mean).normal_(generator=generator)
        return mean + (0.5 * log_var).exp() * noise, kl

    def library_prior(self, cells: Cells) -> tuple[Tensor, Tensor]:
        """Return µG and σ²G: scalars, or those of each cell's batch, [cells]."""
        if not self.batch_names:
            return self.library_mean, self.library_var
        return self.library_mean[cells.batch_code], self.library_var[cells.batch_code]

    def sample_prior(self, n_cells: int, generator: Generator | None = None) -> Float[Tensor, "cells latent"]:
        """Draw codes from the prior: ẑ = G(n), n ~ N(0, I); for ``prior='normal'`` G is the identity.

        Raises
        ------
        ScraeError
            If the model has no prior.
        """
        if self.config.prior == "none":
            raise ScraeError("SCRAE.sample_prior: expected a model with a prior, found prior='none'")
        n_noise = self.config.n_noise or self.config.n_latent
        noise = torch.empty(n_cells, n_noise, device=self.library_mean.device).normal_(generator=generator)
        result: Tensor = noise if self.latent_generator is None else self.latent_generator(noise)
        return result

    def encode(self, data: CountData, *, batch_size: int = 1024) -> np.ndarray:
        """Return the code of every cell, float32 [cells, latent]; deterministic.

        Raises
        ------
        ScraeError
            If the genes of ``data`` are not the model's, in the model's order.
        """
        if data.genes != self.genes:
            raise ScraeError(
                f"SCRAE.encode: expected the model's {len(self.genes)} genes in its order, "
                f"found {data.n_genes} others; align them by name first (scrae.tl.count_data(adata, genes=model.genes))"
            )
        with evaluating(self):
            codes = [
                self.encoder(self.encoder_input(cells)).z.cpu() for cells in data.minibatches(batch_size)
            ]
        return np.asarray(torch.cat(codes).numpy())

    def held_out_loss(self, data: CountData, rows: Tensor, *, batch_size: int = 1024) -> float:
        """Return minus the mean log-likelihood of the given cells, with s = µs.

        Parameters
        ----------
        data : CountData
            Counts of the model's genes.
        rows : Tensor
            The cells, int64.
        batch_size : int
            Cells at a time.
        """
        total = torch.zeros((), dtype=torch.float64, device=data.device)
        with evaluating(self):
            for cells in data.minibatches(batch_size, rows=rows):
                total += self.autoencoder_losses(cells).reconstruction.sum(dtype=torch.float64)
        return float(total) / len(rows)


def _expression_moments(model: SCRAE, data: CountData) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each gene's log-normalized expression, float32 [genes]."""
    first = torch.zeros(data.n_genes, dtype=torch.float64, device=data.device)
    second = torch.zeros_like(first)
    for cells in data.minibatches(4096):
        x = cells.log_expression(model.target_total).double()
        first.index_add_(0, cells.nonzeros.gene, x)
        second.index_add_(0, cells.nonzeros.gene, x * x)
    mean = first / len(data)
    scale = (second / len(data) - mean**2).clamp(min=0).sqrt()
    return mean.float(), torch.where(scale > 1e-6, scale, 1.0).float()


def _center_first_layer(encoder: Encoder, mean: Float[Tensor, " genes"]) -> None:
    """Initialize the first layer's bias so that it centers the inputs, which can then stay sparse."""
    first: list[Any] = [*encoder.body.layers][:1] or [encoder.code, encoder.library_hidden]
    with torch.no_grad():
        for layer in first:
            layer.bias.copy_(-(mean @ layer.weight))
