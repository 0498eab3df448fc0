"""Count matrices of the modeled genes as compact tensors, and minibatches of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor
from torch.nn import functional

from ..config import LARGEST_COUNT
from ..errors import ScraeError
from ._kernels import Nonzeros, SparseRows, count_nll, thin

__all__ = ["EXPRESSION_LIMIT", "Cells", "CountData", "Minibatch"]

EXPRESSION_LIMIT = 10.0
"""Scaled expression is clipped here, as in scanpy's usual recipe: single counts of rare genes must not dominate."""

_SPARSE = 0.3
"""Up to this share of nonzero counts the first layer is faster on sparse rows than on a dense matrix."""

_ROWS = 10_000  # cells at a time


@runtime_checkable
class Cells(Protocol):
    """What the model needs of a minibatch, however it is stored."""

    @property
    def total(self) -> Float[Tensor, " cells"]: ...  # noqa: D102
    @property
    def batch_code(self) -> Int[Tensor, " cells"] | None: ...  # noqa: D102
    @property
    def log_library(self) -> Float[Tensor, " cells"]: ...  # noqa: D102
    def thinned(self, generator: Generator) -> Cells: ...  # noqa: D102
    def encoder_input(self, target_total: Tensor, gene_scale: Tensor) -> Tensor | SparseRows: ...  # noqa: D102
    def nll(  # noqa: D102
        self, logits: Tensor, log_library: Tensor, log_theta: Tensor, zi_logits: Tensor | None
    ) -> Float[Tensor, " cells"]: ...


class Minibatch(NamedTuple):
    """A minibatch of cells by their nonzero counts, cell after cell.

    Attributes
    ----------
    nonzeros : Nonzeros
        The nonzero counts.
    start : Tensor
        Where the counts of each cell begin, and their number; int64 [cells + 1].
    total : Tensor
        Total count of each cell over the modeled genes, float32 [cells].
    n_genes : int
        Number of modeled genes.
    batch_code : Tensor or None
        Experimental batch of each cell, int64 [cells]; None if the data has no batches.
    """

    nonzeros: Nonzeros
    start: Int[Tensor, " cells_plus_1"]
    total: Float[Tensor, " cells"]
    n_genes: int
    batch_code: Int[Tensor, " cells"] | None = None

    @property
    def log_library(self) -> Float[Tensor, " cells"]:
        """Log of the total; cells without counts are treated as having one."""
        return self.total.clamp(min=1).log()

    def thinned(self, generator: Generator) -> Minibatch:
        """Return the same cells with each molecule kept with probability ½; counts that vanish stay as zeros."""
        value = thin(self.nonzeros.value, generator)
        total = torch.zeros_like(self.total).index_add_(0, self.nonzeros.cell, value)
        return self._replace(nonzeros=self.nonzeros._replace(value=value), total=total)

    def log_expression(self, target_total: Tensor) -> Float[Tensor, " nonzeros"]:
        """Return log1p of the counts normalized to ``target_total``, at the nonzero counts."""
        per_count = target_total / self.total.clamp(min=1)
        return torch.log1p(self.nonzeros.value * per_count.index_select(0, self.nonzeros.cell))

    def scaled_expression(self, target_total: Tensor, gene_scale: Tensor) -> Float[Tensor, " nonzeros"]:
        """Return the clipped log expression in units of each gene's standard deviation, at the nonzero counts."""
        scale = gene_scale.index_select(0, self.nonzeros.gene)
        return (self.log_expression(target_total) / scale).clamp_(max=EXPRESSION_LIMIT)

    def encoder_input(
        self, target_total: Tensor, gene_scale: Tensor
    ) -> Float[Tensor, "cells genes"] | SparseRows:
        """Return the scaled expression in the form that the first layer reads faster."""
        value = self.scaled_expression(target_total, gene_scale)
        if value.is_cuda or len(value) > _SPARSE * len(self.total) * self.n_genes:
            return self.dense(value)
        return SparseRows(self.start.int(), self.nonzeros.gene.int(), value)

    def nll(
        self, logits: Tensor, log_library: Tensor, log_theta: Tensor, zi_logits: Tensor | None
    ) -> Float[Tensor, " cells"]:
        """Return minus the log-likelihood of each cell's counts; see :func:`scrae.core._kernels.count_nll`."""
        return count_nll(logits, log_library, log_theta, zi_logits, self.nonzeros)

    def dense(self, values: Float[Tensor, " nonzeros"]) -> Float[Tensor, "cells genes"]:
        """Return a matrix with ``values`` at the nonzero counts and zero elsewhere."""
        block = torch.zeros(len(self.total) * self.n_genes, dtype=values.dtype, device=values.device)
        block.scatter_(0, self.nonzeros.position, values)
        return block.view(len(self.total), self.n_genes)


class CountData:
    """Raw counts of the modeled genes, held as CSR with the smallest integers that fit.

    On the CPU the column indices share memory with ``counts``: do not change that matrix in place.

    Parameters
    ----------
    counts : array-like or sparse matrix
        Whole numbers from 0 to 2^31 - 1, [cells, genes].
    genes : sequence of str or None
        Name of each column; None: "0", "1", ...
    batch_names : sequence of str
        Names of the experimental batches; empty: a single batch.
    batch_codes : array-like of int or None
        Index of each cell's batch in ``batch_names``, [cells]; None without names.
    device : torch.device or str
        Where the tensors are stored and minibatches are built.

    Raises
    ------
    ScraeError
        If ``counts`` is not a matrix or empty, holds values that are not counts, or genes or batches do not fit it.
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
                f"CountData: expected {matrix.shape[1]} gene names, one per column, found {len(self.genes)}"
            )
        self.batch_names = tuple(batch_names)
        codes = _checked_codes(batch_codes, len(self.batch_names), matrix.shape[0])
        self.batch_codes = None if codes is None else torch.as_tensor(codes, device=device)
        largest = int(matrix.data.max(initial=0))
        dtype = next(d for d in (np.uint8, np.int16, np.int32) if largest <= np.iinfo(d).max)
        self.indptr = torch.as_tensor(matrix.indptr.astype(np.int64), device=device)
        indices = np.require(
            matrix.indices.astype(np.int32, copy=False), requirements="W"
        )  # torch requires it
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
        """Number of modeled genes."""
        return len(self.genes)

    @property
    def device(self) -> torch.device:
        """Where the tensors are stored."""
        return self.totals.device

    def minibatch(self, rows: Int[Tensor, " cells"]) -> Minibatch:
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

    def minibatches(
        self,
        batch_size: int,
        *,
        rows: Int[Tensor, " cells"] | None = None,
        generator: Generator | None = None,
    ) -> Iterator[Minibatch]:
        """Yield the cells in minibatches.

        Parameters
        ----------
        batch_size : int
            Cells per minibatch; the last one may be smaller.
        rows : Tensor or None
            Cells to visit, int64; None: all.
        generator : torch.Generator or None
            Shuffles the cells (a CPU generator); None: the given order.
        """
        for part in self.row_groups(batch_size, rows=rows, generator=generator):
            yield self.minibatch(part)

    def row_groups(
        self,
        batch_size: int,
        *,
        rows: Int[Tensor, " cells"] | None = None,
        generator: Generator | None = None,
    ) -> Iterator[Int[Tensor, " cells"]]:
        """Yield the indices of the cells of each of :meth:`minibatches`, on the device."""
        rows = torch.arange(len(self)) if rows is None else rows
        if generator is not None:
            rows = rows[torch.randperm(len(rows), generator=generator)]
        rows = rows.to(self.device)
        for start in range(0, len(rows), batch_size):
            yield rows[start : start + batch_size]

    def describe_extremes(self, rows: Int[Tensor, " cells"]) -> str:
        """Name the cell and the gene with the largest counts among the given cells, and the median of all."""
        cells = self.minibatch(rows.to(self.device))
        cell, value, median = int(cells.total.argmax()), cells.nonzeros.value, float(self.totals.median())
        largest, gene = 0.0, self.genes[0]
        if len(value):
            largest, gene = float(value.max()), self.genes[int(cells.nonzeros.gene[value.argmax()])]
        return (
            f"the largest of its cells has {cells.total[cell]:.0f} counts (cell {int(rows[cell])} of the data, from 0; "
            f"the median is {median:.0f}), the largest count is {largest:.0f}, of gene {gene!r}"
        )

    def _log_factorial(self, value: Tensor) -> Float[Tensor, " nonzeros"]:
        if len(self._log_factorials) <= 65535:
            return self._log_factorials.index_select(0, value.long())
        return torch.lgamma(value.double() + 1)


def _totals(matrix: sp.csr_matrix) -> np.ndarray:
    """Return the sum of each row, float64 [cells], in blocks of rows, since SciPy copies them as float64."""
    starts = range(0, matrix.shape[0], _ROWS)
    parts = [matrix[start : start + _ROWS].sum(axis=1, dtype=np.float64) for start in starts]
    return np.concatenate([np.asarray(part).ravel() for part in parts] or [np.zeros(0)])


def _as_csr(counts: Any) -> sp.csr_matrix:
    """Return the validated counts without duplicates and stored zeros; the caller's matrix is not changed."""
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
    integers = found.shape == (n_cells,) and found.dtype.kind in "iu"
    if not integers or not ((found >= 0) & (found < n_batches)).all():
        raise ScraeError(
            f"CountData: expected the batch of each of {n_cells} cells as an index into {n_batches} names, found "
            f"{_describe(codes)}"
        )
    return found.astype(np.int64)


def _describe(counts: Any) -> str:
    shape = f" of shape {counts.shape}" if hasattr(counts, "shape") else ""
    dtype = f" and type {counts.dtype}" if hasattr(counts, "dtype") else ""
    return f"{type(counts).__name__}{shape}{dtype}"


def _check(matrix: sp.csr_matrix) -> None:
    values = matrix.data
    if 0 in matrix.shape:
        raise ScraeError(f"CountData: expected cells and genes, found a matrix of shape {matrix.shape}")
    if values.dtype.kind not in "biuf":
        raise ScraeError(f"CountData: expected numbers, found values of type {values.dtype}")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ScraeError(
            "CountData: expected counts, found NaN or infinite values; remove or repair these cells"
        )
    if values.dtype.kind != "b" and (values < 0).any():
        raise ScraeError(f"CountData: expected counts >= 0, found {values.min()}; pass raw counts")
    if values.max(initial=0) > LARGEST_COUNT:
        raise ScraeError(
            f"CountData: expected counts up to {LARGEST_COUNT}, found {values.max()}; pass raw counts"
        )
    if values.dtype.kind == "f" and (values != np.round(values)).any():
        found = values[values != np.round(values)][0]
        raise ScraeError(
            f"CountData: expected whole numbers, found {found:.6g}; pass raw counts, not normalized values"
        )
