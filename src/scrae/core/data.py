"""Count matrices of the modelled genes as compact tensors, and minibatches of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor
from torch.nn import functional

from ..errors import ScraeError
from .distributions import Nonzeros

__all__ = ["CountData", "DenseMinibatch", "Minibatch"]

_BITS = 62
_MASKS = (1 << torch.arange(_BITS + 1)) - 1
_ROWS = 10_000  # cells at a time

_LARGEST = 2**31 - 1
"""Largest count: it fits int32. No experiment sees more molecules of a gene in a cell."""


class Minibatch(NamedTuple):
    """Some cells, by their nonzero counts, cell after cell; ``start`` is where each one's begin, and their number.

    ``batch_code`` is the experimental batch of each cell, None where the data names none. (Elsewhere in this package
    a batch is a minibatch, unless it has a name, a code or a key.)
    """

    nonzeros: Nonzeros
    start: Int[Tensor, " cells_plus_1"]
    total: Float[Tensor, " cells"]
    n_genes: int
    batch_code: Int[Tensor, " cells"] | None = None

    @property
    def log_library(self) -> Float[Tensor, " cells"]:
        """Log of the total over the modelled genes; a cell without any counts as one count."""
        return self.total.clamp(min=1).log()

    def thinned(self, generator: Generator) -> Minibatch:
        """Return the same cells as if half of their molecules had been seen, each with probability ½.

        Counts that vanish stay in the list, as zeros.
        """
        value = _half(self.nonzeros.value, generator)
        total = torch.zeros_like(self.total).index_add_(0, self.nonzeros.cell, value)
        return self._replace(nonzeros=self.nonzeros._replace(value=value), total=total)

    def part(self, rows: slice) -> Minibatch:
        """Return the cells of some neighbouring rows; ``rows`` has a start and a stop."""
        if rows == slice(0, len(self.total)):
            return self
        first, last = self.start[[rows.start, rows.stop]].tolist()
        position, cell, gene, value, log_factorial = (field[first:last] for field in self.nonzeros)
        nonzeros = Nonzeros(
            position - rows.start * self.n_genes, cell - rows.start, gene, value, log_factorial
        )
        start = self.start[rows.start : rows.stop + 1] - first
        code = None if self.batch_code is None else self.batch_code[rows]
        return Minibatch(nonzeros, start, self.total[rows], self.n_genes, code)

    def dense(self, values: Float[Tensor, " nonzeros"]) -> Float[Tensor, "cells genes"]:
        """Return a matrix with ``values`` at the nonzero counts and zero elsewhere."""
        block = torch.zeros(len(self.total) * self.n_genes, dtype=values.dtype, device=values.device)
        block.scatter_(0, self.nonzeros.position, values)
        return block.view(len(self.total), self.n_genes)


class DenseMinibatch(NamedTuple):
    """Some cells with all of their counts, in tensors whose shapes do not depend on the counts."""

    counts: Float[Tensor, "cells genes"]
    total: Float[Tensor, " cells"]
    batch_code: Int[Tensor, " cells"] | None = None

    @property
    def log_library(self) -> Float[Tensor, " cells"]:
        """As that of :class:`Minibatch`."""
        return self.total.clamp(min=1).log()

    def thinned(self, generator: Generator) -> DenseMinibatch:
        """As that of :class:`Minibatch`, with other draws of the same distribution."""
        half = torch.full_like(self.counts, 0.5)
        counts = torch.binomial(self.counts, half, generator=generator)
        return self._replace(counts=counts, total=counts.sum(dim=1))

    def part(self, rows: slice) -> DenseMinibatch:
        """As that of :class:`Minibatch`."""
        code = None if self.batch_code is None else self.batch_code[rows]
        return DenseMinibatch(self.counts[rows], self.total[rows], code)


class CountData:
    """Raw counts of the modelled genes, held as CSR with the smallest integers that fit.

    On the CPU the column numbers are those of ``counts``, not a copy: do not change that matrix in place.

    Parameters
    ----------
    counts : [cells, genes] matrix of whole numbers >= 0: any scipy sparse format or a NumPy array.
    genes : name of each column; None = "0", "1", ...
    batch_names : names of the experimental batches; () = the cells are of one.
    batch_codes : the place of each cell's batch in ``batch_names``, whole numbers [cells]; None without names.
    device : where the tensors live and batches are made.

    Raises
    ------
    ScraeError : not a matrix, an empty one, values that are no counts, or genes or batches that do not fit it.
    """

    def __init__(
        self,
        counts: Any,
        genes: Sequence[str] | None = None,
        *,
        batch_names: Sequence[str] = (),
        batch_codes: Any = None,
        device: torch.device | str = "cpu",
    ) -> None:
        matrix = _as_csr(counts)
        self.genes = tuple(map(str, range(matrix.shape[1]) if genes is None else genes))
        if len(self.genes) != matrix.shape[1]:
            raise ScraeError(
                f"CountData: expected {matrix.shape[1]} gene names, one a column, found {len(self.genes)}"
            )
        self.batch_names = tuple(batch_names)
        codes = _checked_codes(batch_codes, len(self.batch_names), matrix.shape[0])
        self.batch_codes = None if codes is None else torch.as_tensor(codes, device=device)
        largest = int(matrix.data.max(initial=0))
        dtype = next(d for d in (np.uint8, np.int16, np.int32) if largest <= np.iinfo(d).max)
        self.indptr = torch.as_tensor(matrix.indptr.astype(np.int64), device=device)
        indices = np.require(
            matrix.indices.astype(np.int32, copy=False), requirements="W"
        )  # torch wants that
        self.indices = torch.as_tensor(indices, device=device)
        self.values = torch.as_tensor(matrix.data.astype(dtype), device=device)
        self.totals = torch.as_tensor(_totals(matrix), device=device)
        small = torch.arange(min(largest, 65535) + 1, dtype=torch.float64)
        self._log_factorials = torch.lgamma(small + 1).to(device)

    def __len__(self) -> int:
        """Return the number of cells."""
        return len(self.totals)

    @property
    def n_genes(self) -> int:
        """Number of modelled genes."""
        return len(self.genes)

    @property
    def device(self) -> torch.device:
        """Where the tensors live."""
        return self.totals.device

    def batch(self, rows: Int[Tensor, " cells"]) -> Minibatch:
        """Return the given cells, in the given order."""
        first = self.indptr.index_select(0, rows)
        length = self.indptr.index_select(0, rows + 1).sub_(first)
        start = functional.pad(length.cumsum(0), (1, 0))
        cell = torch.repeat_interleave(length)
        source = torch.arange(len(cell), device=cell.device)
        source.add_(first.sub_(start[:-1]).index_select(0, cell))
        gene = self.indices.index_select(0, source).long()
        value = self.values.index_select(0, source)
        position = torch.add(gene, cell, alpha=self.n_genes)
        nonzeros = Nonzeros(position, cell, gene, value.float(), self._log_factorial(value))
        code = None if self.batch_codes is None else self.batch_codes[rows]
        return Minibatch(nonzeros, start, self.totals.index_select(0, rows).float(), self.n_genes, code)

    def dense_batch(self, rows: Int[Tensor, " cells"], most: int) -> DenseMinibatch:
        """Return the given cells by operations of fixed shape; ``most`` is the most nonzero counts of a cell."""
        first = self.indptr[rows][:, None]
        place = first + torch.arange(most, device=self.device)
        there = place < self.indptr[rows + 1][:, None]
        place = place.clamp(max=len(self.values) - 1)
        block = torch.zeros(len(rows), self.n_genes, device=self.device)
        # beyond a cell's own counts zeros are added
        block.scatter_add_(1, self.indices[place].long(), self.values[place] * there.float())
        code = None if self.batch_codes is None else self.batch_codes[rows]
        return DenseMinibatch(block, self.totals[rows].float(), code)

    def most_nonzeros(self) -> int:
        """Return how many nonzero counts the cell with the most of them has."""
        return int(self.indptr.diff().max())

    def batches(
        self,
        batch_size: int,
        *,
        rows: Int[Tensor, " cells"] | None = None,
        generator: Generator | None = None,
    ) -> Iterator[Minibatch]:
        """Yield all cells in minibatches.

        Parameters
        ----------
        rows : the cells to visit; None = all of them.
        generator : shuffles the cells (a CPU generator); None = the given order.
        """
        for part in self.minibatches(batch_size, rows=rows, generator=generator):
            yield self.batch(part)

    def minibatches(
        self,
        batch_size: int,
        *,
        rows: Int[Tensor, " cells"] | None = None,
        generator: Generator | None = None,
    ) -> Iterator[Int[Tensor, " cells"]]:
        """Yield the cells of each of :meth:`batches`, on the device, which gets the order of all at once."""
        rows = torch.arange(len(self)) if rows is None else rows
        if generator is not None:
            rows = rows[torch.randperm(len(rows), generator=generator)]
        rows = rows.to(self.device)
        for start in range(0, len(rows), batch_size):
            yield rows[start : start + batch_size]

    def _log_factorial(self, value: Tensor) -> Float[Tensor, " nonzeros"]:
        count = value.long()
        if len(self._log_factorials) <= 65535:
            return self._log_factorials.index_select(0, count)
        return torch.lgamma(value.double() + 1)


def _half(counts: Float[Tensor, " nonzeros"], generator: Generator) -> Float[Tensor, " nonzeros"]:
    """Draw Binomial(count, ½): the ones among as many random bits; beyond 62 bits torch's own sampler."""
    if counts.is_cuda:  # no bit counting there
        return torch.binomial(counts, torch.full_like(counts, 0.5), generator=generator)
    few = counts.clamp(max=_BITS).long()
    bits = torch.randint(2**_BITS, (len(counts),), generator=generator)
    kept = torch.from_numpy(np.bitwise_count((bits & _MASKS.index_select(0, few)).numpy())).to(counts.dtype)
    large = (counts > _BITS).nonzero().squeeze(1)
    many = counts.index_select(0, large)
    return kept.index_copy_(0, large, torch.binomial(many, torch.full_like(many, 0.5), generator=generator))


def _totals(matrix: sp.csr_matrix) -> np.ndarray:
    """Return the sum of each row, float64 [cells]; some rows at a time, since SciPy makes a copy as float64."""
    starts = range(0, matrix.shape[0], _ROWS)
    parts = [matrix[start : start + _ROWS].sum(axis=1, dtype=np.float64) for start in starts]
    return np.concatenate([np.asarray(part).ravel() for part in parts] or [np.zeros(0)])


def _as_csr(counts: Any) -> sp.csr_matrix:
    """Return the checked counts without duplicates and stored zeros; the caller's matrix stays as it is."""
    if getattr(counts, "ndim", None) != 2:
        raise ScraeError(f"CountData: expected a matrix of cells and genes, found {_describe(counts)}")
    try:
        matrix = sp.csr_matrix(counts)
    except (TypeError, ValueError) as error:
        raise ScraeError(f"CountData: expected a matrix of numbers, found {_describe(counts)}") from error
    if not matrix.has_canonical_format or not matrix.data.all():
        matrix = matrix.copy()
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
    _check(matrix)
    return matrix


def _checked_codes(codes: Any, n_batches: int, n_cells: int) -> np.ndarray | None:
    if codes is None and not n_batches:
        return None
    found = np.asarray([] if codes is None else codes)
    if (
        found.shape != (n_cells,)
        or found.dtype.kind not in "iu"
        or not ((found >= 0) & (found < n_batches)).all()
    ):
        raise ScraeError(
            f"CountData: expected the place of each of {n_cells} cells' batch among {n_batches} names, found "
            f"{_describe(codes)}"
        )
    return found.astype(np.int64)


def _describe(counts: Any) -> str:
    shape = f" of shape {counts.shape}" if hasattr(counts, "shape") else ""
    dtype = f" and type {counts.dtype}" if hasattr(counts, "dtype") else ""
    return f"{type(counts).__name__}{shape}{dtype}"


def _check(matrix: sp.csr_matrix) -> None:
    if 0 in matrix.shape:
        raise ScraeError(f"CountData: expected cells and genes, found a matrix of shape {matrix.shape}")
    values = matrix.data
    if values.dtype.kind not in "biuf":
        raise ScraeError(f"CountData: expected numbers, found values of type {values.dtype}")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ScraeError(
            "CountData: expected counts, found NaN or infinite values; remove or mend these cells"
        )
    if values.dtype.kind != "b" and (values < 0).any():
        raise ScraeError(f"CountData: expected counts >= 0, found {values.min()}; pass raw counts")
    if values.max(initial=0) > _LARGEST:
        raise ScraeError(
            f"CountData: expected counts up to {_LARGEST}, found {values.max()}; pass raw counts"
        )
    if values.dtype.kind == "f" and (values != np.round(values)).any():
        found = values[values != np.round(values)][0]
        raise ScraeError(
            f"CountData: expected whole numbers, found {found:.6g}; pass raw counts, not normalised values"
        )
