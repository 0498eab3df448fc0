"""The four networks (paper, section 3.2 and fig. 1). Each is a plain multilayer perceptron with leaky ReLU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn import functional

from ._kernels import SparseRows, sparse_linear

__all__ = ["MLP", "Critic", "Decoder", "Encoded", "Encoder", "LatentGenerator", "Linear"]


class Linear(nn.Module):
    """A linear layer, x @ weight + bias, Xavier-initialized from the given generator.

    The weight is [in, out]: a sparse row selects whole rows of it, which are contiguous in memory.
    """

    def __init__(self, n_in: int, n_out: int, generator: Generator) -> None:
        super().__init__()
        drawn = nn.init.xavier_uniform_(torch.empty(n_out, n_in), generator=generator)
        self.weight = nn.Parameter(drawn.t().contiguous())
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x: Float[Tensor, "rows in"] | SparseRows) -> Float[Tensor, "rows out"]:
        """Return x @ weight + bias; sparse rows get no gradient."""
        if isinstance(x, Tensor):
            return torch.addmm(self.bias, x, self.weight)
        return sparse_linear(x, self.weight, self.bias)


class MLP(nn.Module):
    """Hidden layers: linear, leaky ReLU, dropout."""

    def __init__(
        self, n_in: int, sizes: Sequence[int], leak: float, dropout: float, generator: Generator
    ) -> None:
        super().__init__()
        inputs = [n_in, *sizes[:-1]] if sizes else []
        self.layers = nn.ModuleList([Linear(i, o, generator) for i, o in zip(inputs, sizes, strict=True)])
        self.n_out = sizes[-1] if sizes else n_in
        self.leak, self.dropout = leak, dropout

    def forward(
        self, h: Float[Tensor, "cells n_in"] | SparseRows, generator: Generator | None = None
    ) -> Float[Tensor, "cells n_out"] | SparseRows:
        """Apply the layers, if there are any; ``generator`` draws the dropout in training mode."""
        for layer in self.layers:
            h = functional.leaky_relu_(layer(h), self.leak)
            if self.training and self.dropout:
                keep = torch.empty_like(h).bernoulli_(1 - self.dropout, generator=generator)
                h = h * keep / (1 - self.dropout)
        return h

    def weights(self) -> list[Tensor]:
        """Return the weight matrix of each layer, [in, out], first to last."""
        return [layer.weight for layer in self.layers if isinstance(layer, Linear)]


class Encoded(NamedTuple):
    """Encoder outputs of each cell: code z, mean and log variance of the log library size."""

    z: Float[Tensor, "cells latent"]
    library_mean: Float[Tensor, " cells"]
    library_log_var: Float[Tensor, " cells"]


class Encoder(nn.Module):
    """Map scaled expression to a deterministic code and the parameters of the log library size."""

    def __init__(
        self,
        n_genes: int,
        n_latent: int,
        layers: Sequence[int],
        leak: float,
        dropout: float,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.body = MLP(n_genes, layers, leak, dropout, generator)
        self.code = Linear(self.body.n_out, n_latent, generator)
        self.library_hidden = Linear(self.body.n_out, n_latent, generator)
        self.library = Linear(n_latent, 2, generator)

    def forward(
        self, x: Float[Tensor, "cells genes"] | SparseRows, generator: Generator | None = None
    ) -> Encoded:
        """Encode cells; ``generator`` draws the dropout in training mode."""
        h = self.body(x, generator)  # [cells, hidden]
        library = self.library(functional.relu(self.library_hidden(h)))  # [cells, 2]
        return Encoded(self.code(h), library[:, 0], library[:, 1])


class Decoder(nn.Module):
    """Map codes to logits of gene shares (eq. 8) and zero inflation (eq. 10); dispersion is per gene (eq. 9).

    With ``n_batches`` the input also has each cell's batch as a one-hot row.
    """

    def __init__(
        self,
        n_genes: int,
        n_latent: int,
        layers: Sequence[int],
        leak: float,
        dropout: float,
        zero_inflated: bool,
        generator: Generator,
        n_batches: int = 0,
    ) -> None:
        super().__init__()
        self.body = MLP(n_latent + n_batches, layers, leak, dropout, generator)
        self.share = Linear(self.body.n_out, n_genes, generator)
        self.zero = Linear(self.body.n_out, n_genes, generator) if zero_inflated else None
        self.log_theta = nn.Parameter(torch.randn(n_genes, generator=generator))

    def forward(
        self,
        z: Float[Tensor, "cells latent"],
        generator: Generator | None = None,
        one_hot: Float[Tensor, "cells batches"] | None = None,
    ) -> tuple[Float[Tensor, "cells genes"], Float[Tensor, "cells genes"] | None]:
        """Return logits of the shares (their softmax over genes) and of zero inflation (None for ``nb``)."""
        h = self.body(_beside(z, one_hot), generator)
        return self.share(h), None if self.zero is None else self.zero(h)


class LatentGenerator(nn.Module):
    """Map noise to draws from the learned prior."""

    def __init__(
        self, n_noise: int, n_latent: int, layers: Sequence[int], leak: float, generator: Generator
    ) -> None:
        super().__init__()
        self.body = MLP(n_noise, layers, leak, 0.0, generator)
        self.code = Linear(self.body.n_out, n_latent, generator)

    def forward(self, noise: Float[Tensor, "cells noise"]) -> Float[Tensor, "cells latent"]:
        """Return draws from the prior, [cells, latent]."""
        result: Tensor = self.code(self.body(noise))
        return result


class Critic(nn.Module):
    """Map codes to a scalar. No batch normalization: the gradient penalty is per cell.

    With ``n_batches`` the input also has each cell's batch as a one-hot row, so that codes are compared with the prior
    batch by batch.
    """

    def __init__(
        self, n_latent: int, layers: Sequence[int], leak: float, generator: Generator, n_batches: int = 0
    ) -> None:
        super().__init__()
        self.body = MLP(n_latent + n_batches, layers, leak, 0.0, generator)
        self.value = Linear(self.body.n_out, 1, generator)

    def forward(
        self, z: Float[Tensor, "cells latent"], one_hot: Float[Tensor, "cells batches"] | None = None
    ) -> Float[Tensor, " cells"]:
        """Return C(z) of each code."""
        result: Tensor = self.value(self.body(_beside(z, one_hot))).squeeze(1)
        return result

    def input_gradient(
        self, z: Float[Tensor, "cells latent"], one_hot: Float[Tensor, "cells batches"] | None = None
    ) -> Float[Tensor, "cells latent"]:
        """Return the gradient of the critic's value with respect to each code, itself differentiable.

        A leaky ReLU network is piecewise linear, so the gradient is the product of its weights and of the slopes
        selected by each cell's activations. In this form it needs no double backward pass.
        """
        slopes, h = [], _beside(z, one_hot)
        with torch.no_grad():
            for layer in self.body.layers:
                h = layer(h)
                slopes.append(torch.where(h > 0, 1.0, self.body.leak))
                h = h * slopes[-1]
        gradient = self.value.weight.t().expand(len(z), -1)  # [cells, hidden]
        for weight, slope in zip(reversed(self.body.weights()), reversed(slopes), strict=True):
            gradient = (gradient * slope) @ weight.t()
        return gradient[:, : z.shape[1]]  # not with respect to the batch


def _beside(z: Tensor, one_hot: Tensor | None) -> Tensor:
    return z if one_hot is None else torch.cat([z, one_hot], dim=1)
