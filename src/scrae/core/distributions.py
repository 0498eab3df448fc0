"""Log-probabilities of the zero-inflated and the plain negative binomial distribution.

Notation (paper, eq. 4-10): mean ``mu``, inverse dispersion ``theta`` = 1/α, zero-inflation logit ``zi_logits`` = l.
In log space, with a = -theta·log1p(mu/theta) the log-probability that the negative binomial gives to zero:

    x = 0:  log(sigmoid(l) + sigmoid(-l)·exp(a)) = log1p(q),  q = sigmoid(-l)·expm1(a)
    x > 0:  log sigmoid(-l) + a + x·log(mu/(theta+mu)) + lgamma(x+theta) - lgamma(theta) - lgamma(x+1)

The first form is exact where q is small; where q <= -1/2 the same value is softplus(a-l) - softplus(-l). Training uses
the fused form of :func:`scrae.core._kernels.count_nll`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["nb_log_prob", "zinb_log_prob"]


def zinb_log_prob(counts: Tensor, mu: Tensor, theta: Tensor, zi_logits: Tensor) -> Tensor:
    """Log-probability of counts under the zero-inflated negative binomial (paper, eq. 6).

    Parameters
    ----------
    counts, mu, theta, zi_logits : Tensor
        Broadcast together; usually [cells, genes], and theta [genes].

    Returns
    -------
    Tensor
        Of the broadcast shape and of ``mu``'s dtype; computed in float64, differentiable in the parameters.
    """
    x, m, t, l = (tensor.double() for tensor in (counts, mu, theta, zi_logits))  # noqa: E741 (the paper's letter)
    a = -t * torch.log1p(m / t)
    q = torch.sigmoid(-l) * torch.expm1(a)
    near = q > -0.5
    zero = torch.where(
        near,
        torch.log1p(torch.where(near, q, torch.zeros_like(q))),
        functional.softplus(a - l) - functional.softplus(-l),
    )
    return torch.where(x > 0, functional.logsigmoid(-l) + _nb(x, m, t), zero).to(mu.dtype)


def nb_log_prob(counts: Tensor, mu: Tensor, theta: Tensor) -> Tensor:
    """Log-probability of counts under the negative binomial (paper, eq. 5); the ZINB's limit l → -∞.

    Shapes and dtypes as in :func:`zinb_log_prob`.
    """
    return _nb(counts.double(), mu.double(), theta.double()).to(mu.dtype)


def _nb(x: Tensor, mu: Tensor, theta: Tensor) -> Tensor:
    gammas = torch.lgamma(x + theta) - torch.lgamma(theta) - torch.lgamma(x + 1)
    return gammas - theta * torch.log1p(mu / theta) - torch.xlogy(x, 1 + theta / mu)
