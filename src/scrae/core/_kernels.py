"""Fused operations of the training step on the CPU: the count likelihood, the sparse first layer and thinning.

:mod:`scrae.core.distributions` has the likelihood in readable form; the tests compare the two.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix
from torch import Generator, Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

__all__ = ["Nonzeros", "SparseRows", "count_nll", "sparse_linear", "stirling", "thin"]

_TABLE = 8
"""Counts up to this many take lgamma(x+theta) - lgamma(theta) from a table: a sum of x logarithms per gene."""

_NEAR_ONE = -0.99
"""Below it log1p(q) in float32 misses the log-probability by more than 3e-6."""

_HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)

_BITS = 62
_MASKS = (1 << torch.arange(_BITS + 1)) - 1


class Nonzeros(NamedTuple):
    """The nonzero counts of a dense [cells, genes] block, in any order; all fields [nonzeros].

    Attributes
    ----------
    position : Tensor
        Index in the flattened block, int64.
    cell, gene : Tensor
        Row and column, int64.
    value : Tensor
        The count, float32.
    log_factorial : Tensor
        lgamma(count + 1), float64; computed once per data set.
    """

    position: Int[Tensor, " nonzeros"]
    cell: Int[Tensor, " nonzeros"]
    gene: Int[Tensor, " nonzeros"]
    value: Float[Tensor, " nonzeros"]
    log_factorial: Float[Tensor, " nonzeros"]


class SparseRows(NamedTuple):
    """Rows of a sparse matrix (CSR).

    Attributes
    ----------
    start : Tensor
        Where the entries of each row begin, and their number, [rows + 1].
    gene : Tensor
        Column of each entry; the gradient is cheaper if ``start`` and ``gene`` are int32.
    value : Tensor
        Value of each entry, float32.
    """

    start: Int[Tensor, " rows_plus_1"]
    gene: Int[Tensor, " nonzeros"]
    value: Float[Tensor, " nonzeros"]


def count_nll(
    logits: Float[Tensor, "cells genes"],
    log_library: Float[Tensor, " cells"],
    log_theta: Float[Tensor, " genes"],
    zi_logits: Float[Tensor, "cells genes"] | None,
    nonzeros: Nonzeros,
) -> Float[Tensor, " cells"]:
    """Minus the log-likelihood of each cell's counts, summed over genes (paper, eq. 4-8).

    The mean is exp(log_library)·softmax(logits). One fused operation with an analytic gradient: dense work in the
    tensors' own dtype, gamma functions in float64 at the nonzero counts only (80-99 % of the entries of real data are
    zeros, where they vanish).

    Parameters
    ----------
    logits : Tensor
        Of the share of each gene, [cells, genes].
    log_library : Tensor
        Log library size, [cells].
    log_theta : Tensor
        Log inverse dispersion, [genes].
    zi_logits : Tensor or None
        Zero-inflation logits, [cells, genes]; None: the plain negative binomial.
    nonzeros : Nonzeros
        The counts.

    Returns
    -------
    Tensor
        float32 [cells].
    """
    result: Tensor = _CountNLL.apply(logits, log_library, log_theta, zi_logits, nonzeros)  # type: ignore[no-untyped-call]  # untyped in torch
    return result


class _CountNLL(torch.autograd.Function):
    """The gradients are computed in the forward pass, in place, since they share its terms.

    At a nonzero count they are those of a zero that came from the negative binomial, plus those of the terms in x.
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        log_library: Tensor,
        log_theta: Tensor,
        zi_logits: Tensor | None,
        nonzeros: Nonzeros,
    ) -> Tensor:
        log_library = log_library.to(logits.dtype)
        theta, share = log_theta.exp(), torch.softmax(logits, dim=1)
        mu = share * log_library.exp()[:, None]
        ratio = mu / theta
        a = torch.log1p(ratio).mul_(-theta)
        # The largest share of a cell is 1 / sum(exp(logits - largest logit)).
        log_scale = log_library.double() - logits.amax(dim=1) + share.amax(dim=1).double().log()
        position, gene = nonzeros.position, nonzeros.gene
        of_counts, digammas = _at_nonzeros(logits, log_scale, log_theta, zi_logits, nonzeros)
        if zi_logits is None:
            log_prob = a.clone()
        else:
            keep = zi_logits.neg().sigmoid_()
            q = torch.expm1(a).mul_(keep)
            log_prob = torch.log1p(q)
            _replace_inaccurate(log_prob, q, a, zi_logits)
        log_prob.view(-1).scatter_(0, position, of_counts.to(log_prob.dtype))
        if any(ctx.needs_input_grad):
            d_mu = mu.div_(ratio.add_(1))  # -da/dlog mu
            d_theta = a + d_mu  # da/dlog theta
            d_zi = None
            if zi_logits is not None:
                weight = a.sub_(zi_logits).sigmoid_()  # posterior: this entry came from the negative binomial
                weight.view(-1).scatter_(0, position, 1.0)  # as every nonzero count did
                d_mu.mul_(weight)
                d_theta.mul_(weight)
                d_zi = weight.sub_(keep)
            # x·log(mu/(theta+mu)) by log mu is x·theta/(theta+mu), by log theta minus that
            slope = nonzeros.value / ratio.view(-1).index_select(0, position)
            d_mu.view(-1).scatter_add_(0, position, -slope)
            d_theta.view(-1).scatter_add_(0, position, theta.index_select(0, gene).mul_(digammas).sub_(slope))
            ctx.save_for_backward(d_mu, share, d_theta, d_zi)
        return -log_prob.sum(dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        d_mu, share, d_theta, d_zi = ctx.saved_tensors
        column = upstream[:, None]
        d_logits = d_mu * column
        d_library = d_logits.sum(dim=1)
        d_logits.addcmul_(share, d_library[:, None], value=-1)
        by_zi = None if d_zi is None else d_zi * column
        return d_logits, d_library, -(upstream @ d_theta), by_zi, None


def _at_nonzeros(
    logits: Tensor, log_scale: Tensor, log_theta: Tensor, zi_logits: Tensor | None, nonzeros: Nonzeros
) -> tuple[Tensor, Tensor]:
    """Return the log-probability of the nonzero counts, and digamma(x+theta) - digamma(theta).

    In float64; log mu = logits + log_scale of the cell.
    """
    x, log_t, gene = nonzeros.value.double(), log_theta.double(), nonzeros.gene
    theta = log_t.exp()
    log_gammas, digammas = _gamma_differences(theta, gene, x)
    log_mu = logits.view(-1).index_select(0, nonzeros.position).double()
    log_mu.add_(log_scale.index_select(0, nonzeros.cell))
    log_ratio = log_mu.sub_(log_t.index_select(0, gene))  # log(mu/theta)
    log_sum = log_ratio.exp().log1p_()
    log_prob = log_gammas.sub_(nonzeros.log_factorial).addcmul_(x, log_ratio)
    log_prob.addcmul_(theta.index_select(0, gene).add_(x), log_sum, value=-1)
    if zi_logits is not None:
        log_prob -= functional.softplus(zi_logits.view(-1).index_select(0, nonzeros.position))
    return log_prob, digammas.to(logits.dtype)


def _gamma_differences(theta: Tensor, gene: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return lgamma(x+theta) - lgamma(theta) and digamma(x+theta) - digamma(theta) at each nonzero count.

    For x up to ``_TABLE`` they are sums of log(theta+k) and 1/(theta+k), k < x: one small table over genes. From
    there on Stirling's series holds to 1e-9.
    """
    steps = theta + torch.arange(_TABLE, device=theta.device)[:, None]
    log_table, table = steps.log().cumsum(0), steps.reciprocal_().cumsum(0)
    place = torch.add(gene, x.clamp(max=_TABLE).sub_(1).long(), alpha=len(theta))
    log_gammas = log_table.view(-1).index_select(0, place)
    digammas = table.view(-1).index_select(0, place)
    large = (x > _TABLE).nonzero().squeeze(1)
    if len(large):
        at = gene.index_select(0, large)
        above = x.index_select(0, large) + theta.index_select(0, at)
        log_gamma, digamma = stirling(torch.cat([theta + _TABLE, above]))
        n = len(theta)
        log_gammas.index_add_(0, large, log_gamma[n:] - log_gamma.index_select(0, at))
        digammas.index_add_(0, large, digamma[n:] - digamma.index_select(0, at))
    return log_gammas, digammas


def stirling(z: Tensor) -> tuple[Tensor, Tensor]:
    """Return lgamma(z) and digamma(z) for z > 8."""
    log_z, r = z.log(), z.reciprocal()
    r2 = r * r
    series = r * (1 / 12 - r2 * (1 / 360 - r2 / 1260))
    log_gamma = (z - 0.5) * log_z - z + _HALF_LOG_TAU + series
    series = r / 2 + r2 * (1 / 12 - r2 * (1 / 120 - r2 / 252))
    return log_gamma, log_z - series


def _replace_inaccurate(log_prob: Tensor, q: Tensor, a: Tensor, zi_logits: Tensor) -> None:
    """Replace log1p(q) by its other form where q is near -1 and its rounding error would matter.

    Only genes that most cells express get there, so most columns are skipped.
    """
    genes = (q.amin(dim=0) < _NEAR_ONE).nonzero().squeeze(1)
    q, a, zi_logits = (dense.index_select(1, genes) for dense in (q, a, zi_logits))
    other = functional.softplus(a - zi_logits) - functional.softplus(-zi_logits)
    log_prob.index_copy_(1, genes, torch.where(q < _NEAR_ONE, other, q.log1p_()))


def sparse_linear(
    x: SparseRows, weight: Float[Tensor, "in out"], bias: Float[Tensor, " out"]
) -> Float[Tensor, "rows out"]:
    """Return x @ weight + bias at the cost of the nonzero entries; ``x`` gets no gradient."""
    result: Tensor = _SparseLinear.apply(*x, weight, bias)  # type: ignore[no-untyped-call]  # untyped in torch
    return result


class _SparseLinear(torch.autograd.Function):
    """Sparse rows times a matrix, and the gradient of the matrix, at the cost of the nonzero entries (CPU)."""

    @staticmethod
    def forward(ctx: Any, start: Tensor, gene: Tensor, value: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(start, gene, value)
        ctx.n_genes = len(weight)
        # detached, for the kernel that keeps nothing for autograd
        return _bags(start, gene, value, weight.detach()).add_(bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        start, gene, value = ctx.saved_tensors
        rows = csr_matrix(
            (value.numpy(), gene.numpy(), start.numpy()), shape=(len(upstream), ctx.n_genes), copy=False
        )
        columns = rows.tocsc()
        start, gene, value = map(torch.from_numpy, (columns.indptr, columns.indices, columns.data))
        return None, None, None, _bags(start, gene, value, upstream.contiguous()), upstream.sum(dim=0)


def _bags(start: Tensor, index: Tensor, value: Tensor, matrix: Tensor) -> Tensor:
    """Return, for each bag of entries, the sum of the matrix's rows at their indices, times their values."""
    return functional.embedding_bag(
        index, matrix, start, mode="sum", per_sample_weights=value, include_last_offset=True
    )


def thin(counts: Float[Tensor, " nonzeros"], generator: Generator) -> Float[Tensor, " nonzeros"]:
    """Draw Binomial(count, ½) as the number of ones among ``count`` random bits; above 62 by torch's sampler."""
    if counts.is_cuda:  # no bit counting there
        return torch.binomial(counts, torch.full_like(counts, 0.5), generator=generator)
    few = counts.clamp(max=_BITS).long()
    bits = torch.randint(2**_BITS, (len(counts),), generator=generator)
    kept = torch.from_numpy(np.bitwise_count((bits & _MASKS.index_select(0, few)).numpy())).to(counts.dtype)
    large = (counts > _BITS).nonzero().squeeze(1)
    many = counts.index_select(0, large)
    return kept.index_copy_(0, large, torch.binomial(many, torch.full_like(many, 0.5), generator=generator))
