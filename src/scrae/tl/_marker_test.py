"""Arithmetic of marker genes on counts [cells, genes]: sums by cluster, a test of two rates, count splitting, AUROC."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special

__all__ = [
    "CountSums", "auroc", "depth_of", "higher_rate", "log_values", "scale_cells", "split_counts", "sum_by_cluster",
]  # fmt: skip

_ROWS = 500  # cells at a time; few, so that the temporary arrays stay in the cache
_VALUES = 1 << 19  # counts at a time
_SMALLEST_DISPERSION, _LARGEST_DISPERSION = 1e-4, 100.0


@dataclass(frozen=True, kw_only=True)
class CountSums:
    """Sums over the cells of groups; y are the counts of a gene, N is the total of a cell."""

    size: NDArray[np.float64]
    """[groups] cells."""
    depth: NDArray[np.float64]
    """[groups] sum of N."""
    depth_squares: NDArray[np.float64]
    """[groups] sum of N²."""
    total: NDArray[np.float64]
    """[groups, genes] sum of y."""
    squares: NDArray[np.float64]
    """[groups, genes] sum of y²."""
    weighted: NDArray[np.float64]
    """[groups, genes] sum of y N."""

    def rows(self, groups: Any) -> CountSums:
        """Return the sums of some groups, each with a row."""
        return CountSums(**{name: values[groups] for name, values in vars(self).items()})

    def rest(self) -> CountSums:
        """Return for each group the sums over all other groups."""
        groups: dict[str, NDArray[np.float64]] = vars(self)
        return CountSums(**{name: values.sum(axis=0) - values for name, values in groups.items()})

    @property
    def rate(self) -> NDArray[np.float64]:
        """[groups, genes] counts of the gene per count of the cell."""
        return np.asarray(self.total / np.maximum(self.depth, 1)[:, None])

    def dispersion(self) -> NDArray[np.float64]:
        """Return the dispersion φ of each gene [genes] by moments: variance μ + φ μ² around the rates of the groups."""
        rate, depth2 = self.rate, self.depth_squares[:, None]
        variance = self.squares - 2 * rate * self.weighted + rate**2 * depth2
        excess = (variance - self.total).sum(axis=0)
        scale = (rate**2 * depth2).sum(axis=0)
        ratio = np.divide(excess, scale, out=np.zeros_like(scale), where=scale > 0)
        return np.asarray(np.maximum(ratio, 0))


def depth_of(counts: sparse.csr_matrix) -> NDArray[np.float64]:
    """Return the total of each cell [cells]."""
    ones = np.ones(counts.shape[1], dtype=counts.dtype)  # of another type, the matrix would be copied
    return np.asarray(counts @ ones, dtype=np.float64)


def scale_cells(counts: sparse.csr_matrix, divisor: NDArray[np.float64], *, log: bool) -> sparse.csr_matrix:
    """Return the counts divided by the ``divisor`` [cells] of their cell, or log1p of that, in float32."""
    values, divisor = np.empty(counts.nnz, dtype=np.float32), divisor.astype(np.float32)
    for cells in _row_blocks(counts.shape[0]):
        ends = counts.indptr[cells.start : cells.stop + 1]
        part = values[ends[0] : ends[-1]]
        part[:] = counts.data[ends[0] : ends[-1]]
        part /= np.repeat(divisor[cells], np.diff(ends))
        if log:
            np.log1p(part, out=part)
    return sparse.csr_matrix((values, counts.indices, counts.indptr), shape=counts.shape)


def sum_by_cluster(counts: sparse.csr_matrix, codes: NDArray[Any], n_clusters: int) -> CountSums:
    """Sum counts over the cells of each cluster; ``codes`` [cells] are the clusters, -1 = none."""
    n_genes = counts.shape[1]
    depth = depth_of(counts)
    total, squares, weighted = np.zeros((3, n_clusters, n_genes))
    for cells in _row_blocks(counts.shape[0]):
        block = counts[cells]
        values = block.data.astype(np.float64)
        deep = np.repeat(depth[cells], np.diff(block.indptr))
        into = _summing(block, codes[cells], n_clusters)
        for sums, part in ((total, values), (squares, values**2), (weighted, values * deep)):
            sums += into(part)
    known = codes >= 0
    size, depths, squared = (
        np.bincount(codes[known], weights=weights[known], minlength=n_clusters).astype(np.float64)
        for weights in (np.ones_like(depth), depth, depth**2)
    )
    return CountSums(
        size=size, depth=depths, depth_squares=squared, total=total, squares=squares, weighted=weighted
    )


def log_values(
    counts: sparse.csr_matrix,
    codes: NDArray[Any],
    n_clusters: int,
    *,
    depth: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and variance of log1p(y / N x median N), and the share of cells with the gene.

    Each is [clusters, genes]. ``depth`` [cells] is N; None = the totals of ``counts``.
    """
    depth = depth_of(counts) if depth is None else depth
    scale = np.median(depth) / np.maximum(depth, 1)
    total, squares, seen = np.zeros((3, n_clusters, counts.shape[1]))
    for cells in _row_blocks(counts.shape[0]):
        block = counts[cells]
        values = np.log1p(block.data * np.repeat(scale[cells], np.diff(block.indptr)))
        into = _summing(block, codes[cells], n_clusters)
        for sums, part in ((total, values), (squares, values**2), (seen, block.data > 0)):
            sums += into(part)
    size = np.maximum(np.bincount(codes[codes >= 0], minlength=n_clusters), 1)[:, None]
    mean = total / size
    return mean, np.maximum(squares / size - mean**2, 0), seen / size


def higher_rate(
    inside: CountSums, outside: CountSums, dispersion: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Test for each pair of groups and each gene whether the rate inside is higher.

    Score test of equal rates under a negative binomial with the cells' totals as exposure: the statistic is the sum
    of the counts inside minus its expectation, with the variance under equal rates. Its distribution is approximated
    by the gamma distribution of the same mean and variance, which is skewed as sums of few counts are; the tail of the
    normal distribution is too light there.

    Parameters
    ----------
    inside, outside : CountSums
        Sums over the two groups of each pair, [pairs] and [pairs, genes].
    dispersion : numpy.ndarray
        φ of each gene, [genes].

    Returns
    -------
    numpy.ndarray
        One-sided p-values, [pairs, genes]; 1 where a group or gene has no counts.
    """
    depth_in, depth_out = inside.depth[:, None], outside.depth[:, None]
    both = depth_in + depth_out
    pooled = (inside.total + outside.total) / np.maximum(both, 1)
    expected = pooled * depth_in
    extra = dispersion * pooled**2
    variance = (
        depth_out**2 * (expected + extra * inside.depth_squares[:, None])
        + depth_in**2 * (pooled * depth_out + extra * outside.depth_squares[:, None])
    ) / np.maximum(both, 1) ** 2
    testable = (expected > 0) & (variance > 0)
    scale = np.divide(variance, expected, out=np.ones_like(variance), where=testable)
    reached = np.maximum(inside.total - 0.5, 0) / scale  # continuity correction
    return np.where(testable, special.gammaincc(np.where(testable, expected / scale, 1.0), reached), 1.0)


def split_counts(
    counts: sparse.csr_matrix, dispersion: NDArray[np.float64], seed: int
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Split the molecules of each cell into two halves that are independent given the cell's rates.

    A count of a negative binomial with dispersion φ splits by a share drawn from Beta(1/2φ, 1/2φ), of a Poisson (φ = 0)
    in half (Neufeld et al. 2023, "Data thinning for convolution-closed distributions").

    Parameters
    ----------
    counts : scipy.sparse.csr_matrix
        Counts, [cells, genes].
    dispersion : numpy.ndarray
        φ of each gene, [genes].
    seed : int
        Seed.

    Returns
    -------
    tuple of scipy.sparse.csr_matrix
        The halves, [cells, genes] each, with explicit zeros.
    """
    rng = np.random.default_rng(seed)
    dispersion = np.clip(dispersion, 0, _LARGEST_DISPERSION)
    half = np.empty_like(counts.data)
    for start in range(0, len(half), _VALUES):
        part = slice(start, start + _VALUES)
        half[part] = _first_half(counts.data[part], dispersion[counts.indices[part]], rng)
    first = sparse.csr_matrix((half, counts.indices, counts.indptr), shape=counts.shape)
    second = sparse.csr_matrix((counts.data - half, counts.indices, counts.indptr), shape=counts.shape)
    return first, second


def _first_half(values: NDArray[Any], phi: NDArray[np.float64], rng: np.random.Generator) -> NDArray[Any]:
    """Draw the first half of each count: of one to three molecules, most counts, by the probabilities themselves."""
    half = rng.integers(0, 2, len(values), dtype=np.int8).astype(values.dtype)  # of a single molecule
    half[values == 0] = 0
    two, three, more = (np.flatnonzero(found) for found in (values == 2, values == 3, values > 3))
    none = (0.5 - 0.25 / (1 + phi[two]), (0.125 + 0.5 * phi[three]) / (1 + phi[three]))  # P(0) = P(all)
    u, u3 = rng.random(len(two)), rng.random(len(three))
    half[two] = (u >= none[0]).astype(values.dtype) + (u >= 1 - none[0])
    half[three] = (u3 >= none[1]).astype(values.dtype) + (u3 >= 0.5) + (u3 >= 1 - none[1])
    phi = phi[more]
    share = np.full(len(more), 0.5)
    spread = phi > _SMALLEST_DISPERSION
    share[spread] = rng.beta(0.5 / phi[spread], 0.5 / phi[spread])
    half[more] = rng.binomial(values[more], share)
    return half


def auroc(
    counts: sparse.csr_matrix, codes: NDArray[Any], n_clusters: int, genes: NDArray[Any]
) -> NDArray[np.float64]:
    """Return the AUROC of y / N for each cluster against all other cells, [clusters, len(genes)]; 0.5 = no difference.

    ``codes`` [cells] are the clusters, -1 = none; such cells are left out.
    """
    known = np.flatnonzero(codes >= 0)
    codes = codes[known]
    size = np.bincount(codes, minlength=n_clusters).astype(np.float64)
    pairs = np.maximum(size * (len(codes) - size), 1)
    counts = counts if len(known) == counts.shape[0] else counts[known]
    columns = scale_cells(counts, np.maximum(depth_of(counts), 1), log=False).tocsc()
    found = np.empty((n_clusters, len(genes)))
    for i, gene in enumerate(genes):
        part = slice(columns.indptr[gene], columns.indptr[gene + 1])
        ranks = _rank_sums(columns.data[part], codes[columns.indices[part]], size)
        found[:, i] = (ranks - size * (size + 1) / 2) / pairs
    return np.where(size[:, None] * (len(codes) - size[:, None]) > 0, found, 0.5)


def _rank_sums(
    values: NDArray[np.float32], codes: NDArray[Any], size: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the sum of the ranks of each cluster [clusters]; ``values`` are those above zero, all others are zero."""
    n_zeros = size.sum() - len(values)
    order = np.argsort(values)
    ordered, seen = values[order], codes[order]
    starts = np.ones(len(ordered), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=starts[1:])
    first = np.flatnonzero(starts)
    n_tied = np.diff(np.append(first, len(ordered)))
    rank = np.repeat(n_zeros + first + (n_tied + 1) / 2, n_tied)
    above = np.bincount(seen, weights=rank, minlength=len(size))
    return np.asarray(above + (size - np.bincount(seen, minlength=len(size))) * (n_zeros + 1) / 2)


def _summing(
    block: sparse.csr_matrix, codes: NDArray[Any], n_clusters: int
) -> Callable[[NDArray[Any]], NDArray[np.float64]]:
    """Return a function that sums values [nonzeros of the block] by cluster and gene, [clusters, genes]."""
    n_genes = block.shape[1]
    place = np.repeat(codes.astype(np.int64) * n_genes, np.diff(block.indptr)) + block.indices
    place[place < 0] = n_clusters * n_genes  # cells without a cluster

    def into(values: NDArray[Any]) -> NDArray[np.float64]:
        sums = np.bincount(place, weights=values, minlength=n_clusters * n_genes + 1)
        return np.asarray(sums[:-1].reshape(n_clusters, n_genes), dtype=np.float64)

    return into


def _row_blocks(n_cells: int) -> Iterator[slice]:
    for start in range(0, n_cells, _ROWS):
        yield slice(start, start + _ROWS)
