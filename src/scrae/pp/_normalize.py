"""Normalize counts by a size factor and take log1p."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from scrae.gene_selection._blocks import map_blocks
from scrae.io.blocks import gathered
from scrae.io.names import some
from scrae.io.notes import add_note, remove_notes
from scrae.pp._counts import counts_of

__all__ = ["log_normalized", "normalize", "record", "size_factors"]

_ROWS = 10_000  # cells at a time
_MAX_FRACTION = 0.05  # of a cell's counts; a gene above it in any cell is very highly expressed


def normalize(adata: AnnData) -> None:
    """Write ``X`` = log1p(counts / size factor), in place.

    The size factor is a cell's total over all genes but the very highly expressed ones (over 5 % of the
    counts of at least one cell), divided by the median of these totals over the cells that have any. The
    rule is scanpy's ``normalize_total(exclude_highly_expressed=True, max_fraction=0.05)``, after Weinreb et
    al. (2017). A cell that expresses only such genes gets its full total instead; if all genes are such,
    every cell does. A cell without counts has size factor 1.

    Parameters
    ----------
    adata
        With ``layers["counts"]``, which is not changed.

    Raises
    ------
    ScraeError
        There are no checked counts.

    Notes
    -----
    Writes ``X`` (csr_matrix float32), ``obs["scrae_size_factor"]`` (float64, above 0),
    ``uns["log1p"]`` (scanpy's) and ``uns["scrae"]["notes"]``.

    Examples
    --------
    >>> adata = scrae.datasets.pbmc()
    >>> scrae.pp.normalize(adata)
    >>> round(float(adata.obs["scrae_size_factor"].median()), 6)
    1.0
    """
    counts = counts_of(adata)
    found = size_factors([counts], adata.n_vars)
    adata.X = log_normalized(counts, found.factor)
    record(adata, found)


def log_normalized(
    counts: sparse.csr_matrix, factor: NDArray[np.float64], *, scratch: Path | None = None
) -> sparse.csr_matrix:
    """Return log1p(counts / factor [cells]) as csr_matrix float32, computed in blocks of cells.

    `scratch` is a folder for temporary unnamed files that hold the result; None: it is held in memory.
    """

    def parts() -> Iterator[tuple[NDArray[np.float32], NDArray[Any]]]:
        for start in range(0, counts.shape[0], _ROWS):
            ends = counts.indptr[start : start + _ROWS + 1]
            part = slice(ends[0], ends[-1])
            values = np.log1p(counts.data[part] / np.repeat(factor[start : start + _ROWS], np.diff(ends)))
            yield values.astype(np.float32), counts.indices[part]

    values, indices = gathered(parts(), (np.float32, counts.indices.dtype), scratch)
    return sparse.csr_matrix((values, indices, counts.indptr.copy()), shape=counts.shape)


class SizeFactors(NamedTuple):
    """Size factors and the genes excluded from them."""

    factor: NDArray[np.float64]  # [cells], above 0
    high: NDArray[np.bool_]  # [genes] very highly expressed
    share: float  # of all counts in these genes
    n_alone: int  # cells that express only such genes


def size_factors(blocks: Iterable[sparse.csr_matrix], n_genes: int) -> SizeFactors:
    """Return the size factors of `normalize` of counts in row blocks [some cells, genes], which are read twice."""
    totals, high = _totals(blocks, n_genes)
    rest = totals
    if high.any():
        rest = np.concatenate(list(map_blocks(blocks, partial(_sums, genes=~high))))
    alone = (rest == 0) & (totals > 0)
    used = np.where(alone, totals, rest)
    reference = rest if rest.any() else totals
    median = np.median(reference[reference > 0]) if reference.any() else 1.0
    return SizeFactors(
        factor=np.where(used > 0, used / median, 1.0),
        high=high,
        share=float(1 - rest.sum() / totals.sum()) if high.any() else 0.0,
        n_alone=int(alone.sum()),
    )


def _totals(blocks: Iterable[sparse.csr_matrix], n_genes: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Totals [cells], and genes [genes] with more than `_MAX_FRACTION` of the counts of some cell."""
    totals, high = [], np.zeros(n_genes, dtype=bool)
    for sums, high_here in map_blocks(blocks, _sums_and_high):
        totals.append(sums)
        high |= high_here
    return np.concatenate(totals), high


def _sums_and_high(counts: sparse.csr_matrix) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    sums, high = _sums(counts), np.zeros(counts.shape[1], dtype=bool)
    of_cell = np.repeat(sums, np.diff(counts.indptr))
    high[counts.indices[counts.data > _MAX_FRACTION * of_cell]] = True
    return sums, high


def _sums(counts: sparse.csr_matrix, genes: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """Counts of each cell, in these genes; None: in all."""
    chosen = counts if genes is None else counts[:, genes]
    return np.asarray(chosen.sum(axis=1, dtype=np.int64)).ravel()


def record(adata: AnnData, found: SizeFactors) -> None:
    """Write ``obs["scrae_size_factor"]`` and note the excluded genes."""
    adata.obs["scrae_size_factor"] = found.factor
    adata.uns["log1p"] = {}  # where scanpy looks: the natural logarithm
    remove_notes(adata, "Normalization:")
    if found.high.any():
        add_note(
            adata,
            f"Normalization: the size factor excludes {int(found.high.sum())} very highly expressed genes with "
            f"{found.share:.0%} of the counts: {some(adata.var_names[found.high])}.",
        )
    if found.n_alone:
        add_note(
            adata,
            f"Normalization: {found.n_alone} cells express only these genes; their size factor is their full total.",
        )
