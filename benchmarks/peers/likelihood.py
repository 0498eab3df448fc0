"""A zero-inflated negative binomial with a mean and a dispersion of its own for every count, as the peers have it.

scrae's own loss (`scrae.core.distributions.count_nll`) has one dispersion a gene; this one has the same form of work:
gamma functions at the nonzero counts only, and an analytic gradient.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from scrae.core._kernels import stirling

__all__ = ["ZINB", "zinb_nll"]

_FEW = 8  # counts
_SMALLEST = 1e-7  # probability of a zero in float32, before it rounds to none


class ZINB(NamedTuple):
    """Parameters of a zero-inflated negative binomial: mean, inverse dispersion, logit of inflation.

    Each is [cells, genes]; the dispersion may be [genes].
    """

    mu: Tensor
    theta: Tensor
    zi_logits: Tensor


def zinb_nll(counts: Tensor, zinb: ZINB) -> Tensor:
    """Minus the log-likelihood of each count, [cells, genes]; gamma functions at the nonzero counts only."""
    found: Tensor = _ZINBNLL.apply(counts, zinb.mu, zinb.theta.expand_as(zinb.mu), zinb.zi_logits)
    return found


class _ZINBNLL(torch.autograd.Function):
    """With its analytic gradients, made in the forward pass while the shared terms are at hand.

    a = -theta log1p(mu / theta) is the log-probability of a zero without inflation; weight is the posterior
    probability that a zero was not inflated, and 1 at the other counts.
    """

    @staticmethod
    def forward(ctx: Any, counts: Tensor, mu: Tensor, theta: Tensor, zi_logits: Tensor) -> Tensor:
        ratio = mu / theta
        a = torch.log1p(ratio).mul_(-theta)
        pull = (1 + ratio).reciprocal_().neg_()  # da / dmu
        keep = torch.sigmoid(-zi_logits)
        log_prob = torch.log1p(torch.expm1(a).mul_(keep).clamp_(min=_SMALLEST - 1))
        weight = torch.sigmoid(a - zi_logits)
        d_theta = (a / theta - ratio * pull).mul_(weight)
        d_mu, d_zi = pull * weight, keep - weight

        at = counts.flatten().nonzero().squeeze(1)
        x, m, t, zi = (p.flatten().index_select(0, at).double() for p in (counts, mu, theta, zi_logits))
        log_gammas, digammas = _rising(t, x)
        log_free, log_share = (
            torch.log1p(m / t),
            -torch.log1p(t / m),
        )  # log(1 + mu/theta), log(mu/(theta + mu))
        log_keep = functional.logsigmoid(-zi)
        value = log_gammas - _log_factorial(x) + log_keep - t * log_free + x * log_share
        slope = (x - m) / (t + m)
        for dense, there in (
            (log_prob, value),
            (d_mu, t / m * slope),
            (d_theta, digammas - log_free - slope),
            (d_zi, torch.expm1(log_keep)),
        ):
            dense.view(-1).scatter_(0, at, there.to(dense.dtype))
        ctx.save_for_backward(d_mu, d_theta, d_zi)
        return log_prob.neg_()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        down = -upstream
        return (None, *(part * down for part in ctx.saved_tensors))


def _rising(theta: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """lgamma(x + theta) - lgamma(theta) and digamma(x + theta) - digamma(theta), [nonzeros], float64.

    For x up to 8 they are sums of log(theta + k) and 1 / (theta + k), k < x; from there on by Stirling's series.
    """
    product, digammas = theta.clone(), theta.reciprocal()
    for k in range(1, _FEW):
        step, more = theta + k, x > k
        product.mul_(torch.where(more, step, 1.0))
        digammas.add_(more / step)
    log_gammas = product.log_()
    large = (x > _FEW).nonzero().squeeze(1)
    start = theta[large]
    (log_low, low), (log_high, high) = stirling(start + _FEW), stirling(start + x[large])
    return log_gammas.index_add_(0, large, log_high - log_low), digammas.index_add_(0, large, high - low)


def _log_factorial(x: Tensor) -> Tensor:
    """Lgamma(x + 1) from a table; x are whole numbers."""
    table = torch.arange(int(x.max()) + 1 if len(x) else 1, dtype=x.dtype, device=x.device)
    return torch.lgamma(table + 1)[x.long()]
