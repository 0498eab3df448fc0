"""Losses and weights that stopped being numbers: which term, at which step, with which cells and genes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from .data import CountData, Minibatch
from .step import StepLosses

__all__ = ["describe_extremes", "first_fault"]


def first_fault(losses: Tensor, expected: Sequence[tuple[str, Sequence[bool]]]) -> tuple[int, str] | None:
    """Return the first step whose losses are not all finite, from 0, and that in words; None where all are.

    Parameters
    ----------
    losses : [terms, steps], on the CPU; terms in the order of :class:`StepLosses`.
    expected : each term that is used, and whether it is in each step.
    """
    found: list[tuple[int, str]] = []
    for name, used in expected:
        row = losses[StepLosses._fields.index(name)]
        bad = ~row.isfinite() & torch.tensor(used)
        if bad.any():
            step = int(bad.nonzero()[0])
            found.append((step, f"{name}={float(row[step]):g}"))
    return min(found, key=lambda place: place[0]) if found else None


def describe_extremes(data: CountData, batches: Iterable[Minibatch]) -> str:
    """Say which cell and gene of some batches have the largest counts, and what is usual in the data."""
    total, count, gene = -math.inf, -math.inf, 0
    for batch in batches:
        total = max(total, float(batch.total.max()))
        if len(batch.nonzeros.value):
            at = int(batch.nonzeros.value.argmax())
            if float(batch.nonzeros.value[at]) > count:
                count, gene = float(batch.nonzeros.value[at]), int(batch.nonzeros.gene[at])
    cell = int((data.totals.float() == total).nonzero()[0])
    usual = float(data.totals.median())
    return (
        f"the largest of its cells has {total:.0f} counts (number {cell} of the data, from 0; the median of all is "
        f"{usual:.0f}), the largest count is {max(count, 0):.0f}, of gene {data.genes[gene]!r}"
    )
