"""The count likelihood of a dense block, in operations of fixed shape: what a captured CUDA graph can hold.

Formulas and notation are those of :mod:`scrae.core.distributions`, whose loss reads the nonzero counts only and asks
the data how many there are; a graph cannot. On a device that is cheaper than to wait for the answer.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

__all__ = ["dense_count_nll"]


def dense_count_nll(
    logits: Float[Tensor, "cells genes"],
    log_library: Float[Tensor, " cells"],
    log_theta: Float[Tensor, " genes"],
    zi_logits: Float[Tensor, "cells genes"] | None,
    counts: Float[Tensor, "cells genes"],
) -> Float[Tensor, " cells"]:
    """Minus the log-likelihood of each cell's counts, summed over genes (paper, eq. 4-8), in float64 inside.

    The same function as :func:`scrae.core.distributions.count_nll`, with an analytic gradient as well.

    Parameters
    ----------
    zi_logits : None = the plain negative binomial.
    """
    result: Tensor = _DenseCountNLL.apply(logits, log_library, log_theta, zi_logits, counts)  # type: ignore[no-untyped-call]  # untyped in torch
    return result


class _DenseCountNLL(torch.autograd.Function):
    """The gradients are made in the forward pass, while the shared terms are at hand."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        log_library: Tensor,
        log_theta: Tensor,
        zi_logits: Tensor | None,
        counts: Tensor,
    ) -> Tensor:
        x, log_t = counts.double(), log_theta.double()
        theta, log_share = log_t.exp(), torch.log_softmax(logits.double(), dim=1)
        log_ratio = log_share + log_library.double()[:, None] - log_t  # log(mu / theta)
        log_sum = torch.log1p(log_ratio.exp())
        a = -theta * log_sum
        gammas = torch.lgamma(x + theta) - torch.lgamma(theta) - torch.lgamma(x + 1)
        log_prob = gammas + a + x * (log_ratio - log_sum)
        d_mu = x - (log_ratio - log_sum).exp() * (theta + x)  # of the negative binomial, by log mu
        d_theta = theta * (torch.digamma(x + theta) - torch.digamma(theta)) + a - d_mu
        d_zi = None
        if zi_logits is not None:
            l, positive = zi_logits.double(), x > 0  # noqa: E741 (the paper's letter)
            log_keep = functional.logsigmoid(-l)
            zero = torch.logaddexp(functional.logsigmoid(l), log_keep + a)
            log_prob = torch.where(positive, log_keep + log_prob, zero)
            weight = torch.sigmoid(a - l).masked_fill(positive, 1.0)  # posterior: not from the inflation
            d_mu, d_theta, d_zi = d_mu * weight, d_theta * weight, (log_keep.exp() - weight).to(logits.dtype)
        d_library = d_mu.sum(dim=1)
        d_logits = d_mu - log_share.exp() * d_library[:, None]
        d_logits, d_library, d_theta = (part.to(logits.dtype) for part in (d_logits, d_library, d_theta))
        ctx.save_for_backward(d_logits, d_library, d_theta, d_zi)
        return -log_prob.sum(dim=1).to(logits.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        d_logits, d_library, d_theta, d_zi = ctx.saved_tensors
        down = -upstream
        column = down[:, None]
        by_zi = None if d_zi is None else d_zi * column
        return d_logits * column, d_library * down, down @ d_theta, by_zi, None
