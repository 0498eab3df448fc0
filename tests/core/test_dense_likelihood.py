from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from helpers.likelihood_cases import COUNTS, FAR, LOG_MU, LOG_THETA, LOGITS, ZEROS, nonzeros_of
from reference import zinb
from torch import Generator, Tensor

from scrae.core._cuda import dense_count_nll
from scrae.core._kernels import count_nll

GRID = list(product(COUNTS, LOG_MU.tolist(), LOG_THETA.tolist(), LOGITS[:-1]))


def at_points(points: list[tuple[int, float, float, float]]) -> tuple[Tensor, ...]:
    """The log-likelihood of each point, of one cell and one gene, whose share is one."""
    x, log_mu, log_theta, logits = (np.asarray(column) for column in zip(*points, strict=True))
    found = [
        -dense_count_nll(
            torch.zeros(1, 1),
            torch.tensor([m], dtype=torch.float32),
            torch.tensor([t], dtype=torch.float32),
            torch.tensor([[logit]], dtype=torch.float32),
            torch.tensor([[c]], dtype=torch.float32),
        )
        for c, m, t, logit in zip(x, log_mu, log_theta, logits, strict=True)
    ]
    return tuple(found)


def test_it_equals_mpmath_over_the_grid_of_the_other_form():
    points = GRID[::3] + ZEROS[::5] + FAR
    expected = [zinb.log_prob(*point) for point in points]
    found = torch.cat(at_points(points)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-30)


def block(dtype: torch.dtype, inflated: bool) -> tuple[list[Tensor | None], Tensor]:
    draw = Generator().manual_seed(0)
    counts = torch.poisson(torch.full((6, 5), 1.0), generator=draw)
    counts[0] = torch.tensor([0, 0, 1, 9, 4000])
    counts[1] = 0
    shapes = ((6, 5), (6,), (5,), (6, 5))
    parameters = [torch.randn(shape, generator=draw, dtype=dtype).requires_grad_() for shape in shapes]
    return [*parameters[:3], parameters[3] if inflated else None], counts


@pytest.mark.parametrize("inflated", [True, False])
def test_values_and_gradients_are_those_of_the_form_that_reads_nonzero_counts(inflated: bool):
    parameters, counts = block(torch.float32, inflated)
    dense = dense_count_nll(*parameters, counts)
    sparse = count_nll(*parameters, nonzeros_of(counts))
    assert dense.dtype == torch.float32
    torch.testing.assert_close(dense, sparse, rtol=1e-6, atol=1e-5)
    wanted = [p for p in parameters if p is not None]
    upstream = torch.linspace(-1, 2, len(dense))
    by_dense = torch.autograd.grad(dense, wanted, upstream)
    by_sparse = torch.autograd.grad(sparse, wanted, upstream)
    torch.testing.assert_close(by_dense, by_sparse, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("inflated", [True, False])
def test_the_gradient_is_that_of_differences(inflated: bool):
    parameters, counts = block(torch.float64, inflated)
    wanted = tuple(p for p in parameters if p is not None)

    def nll(*given: Tensor) -> Tensor:
        return dense_count_nll(*given, *([] if inflated else [None]), counts)

    assert torch.autograd.gradcheck(nll, wanted)
