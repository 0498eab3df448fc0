"""The four losses of the paper (eq. 11-14), as functions of network outputs.

The critic's output on codes is ``real`` and on draws from the prior ``fake`` (the paper's C(z) and C(ẑ)).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ..config import Divergence
from .networks import Critic

__all__ = ["critic_loss", "encoder_loss", "generator_loss", "gradient_penalty", "library_kl"]

Scalar = Float[Tensor, ""]
Values = Float[Tensor, " cells"]


def library_kl(
    mean: Values, log_var: Values, prior_mean: Scalar | Values, prior_var: Scalar | Values
) -> Values:
    """KL( N(mean, exp(log_var)) || N(prior_mean, prior_var) ) of each cell's log library size (eq. 11)."""
    return 0.5 * (prior_var.log() - log_var + (log_var.exp() + (mean - prior_mean) ** 2) / prior_var - 1)


def critic_loss(divergence: Divergence, real: Values, fake: Values) -> Scalar:
    """Return what the critic minimizes, without the gradient penalty.

    ``wasserstein``: eq. 12, minus the Kantorovich dual. ``jensen-shannon``: the logistic loss, 2·(log 2 - JS) at
    the optimum. ``kullback-leibler``: minus the f-divergence bound of KL(codes || prior).
    """
    if divergence == "wasserstein":
        return fake.mean() - real.mean()
    if divergence == "jensen-shannon":
        return functional.softplus(-real).mean() + functional.softplus(fake).mean()
    return (fake - 1).exp().mean() - real.mean()


def generator_loss(divergence: Divergence, fake: Values) -> Scalar:
    """Return what the latent generator minimizes (eq. 13; non-saturating for ``jensen-shannon``)."""
    if divergence == "wasserstein":
        return -fake.mean()
    if divergence == "jensen-shannon":
        return functional.softplus(-fake).mean()
    return -(fake - 1).exp().mean()


def encoder_loss(divergence: Divergence, real: Values) -> Scalar:
    """Return what the encoder minimizes besides the reconstruction (eq. 14)."""
    if divergence == "jensen-shannon":
        return functional.softplus(real).mean()
    return real.mean()


def gradient_penalty(
    critic: Critic,
    z: Float[Tensor, "cells latent"],
    z_prior: Float[Tensor, "cells latent"],
    mix: Float[Tensor, "cells 1"],
    one_hot: Float[Tensor, "cells batches"] | None = None,
) -> Scalar:
    """Mean squared distance from 1 of the critic's slope at points between codes and prior draws (eq. 12).

    Parameters
    ----------
    critic : Critic
        The network whose slope is penalized.
    z, z_prior : Tensor
        Codes and draws from the prior, [cells, latent].
    mix : Tensor
        α of each cell, uniform in [0, 1]; the point is α·z + (1 - α)·ẑ.
    one_hot : Tensor or None
        Batch of each cell, if the critic is conditioned on it; the same for both codes.
    """
    gradient = critic.input_gradient(torch.lerp(z_prior, z, mix), one_hot)
    slope: Tensor = torch.linalg.vector_norm(gradient, dim=1)
    return (slope - 1).square().mean()
