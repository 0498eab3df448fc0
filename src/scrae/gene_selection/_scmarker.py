"""Genes that split the cells and go with other genes (SCMarker; Wang et al., PLoS Comput Biol 2019)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from scrae.errors import ScraeError, ScraeWarning
from scrae.gene_selection._blocks import Matrix
from scrae.gene_selection._modes import count_modes
from scrae.gene_selection._result import GeneFit, GeneScores, quantity, rank_genes
from scrae.gene_selection._sums import are_whole, check_values

__all__ = ["scmarker"]

_ROWS_AT_A_TIME = 256
# A gene that is on in this share of the cells goes through dense products.
_FREQUENT = 0.1
# A gene that is on in this share of the cells or more marks nothing.
_TOO_COMMON = 0.8
# Two equal Gaussians at distance 1 have two modes if their standard deviation, width / 4, is under 1 / 2.
_VACUOUS_WIDTH = 2.0


def scmarker(
    expression: Matrix,
    *,
    n_top_genes: int | None = None,
    width: float = 1.0,
    cutoff: float = 2.0,
    min_genes: int = 10,
    min_cells: int = 10,
    k: int = 300,
    n: int = 30,
    exclude: NDArray[np.bool_] | None = None,
) -> GeneScores:
    """Genes with several modes that are on together with, or instead of, other such genes.

    A gene is on in a cell if its value is at least ``cutoff``. Candidates are on in more than ``min_cells``
    cells and in under 80 % of them, and their nonzero values have two modes or more. Gene j is a neighbor of
    gene i if it is among the ``k`` genes that are most often on where i is on, and that in more than ``n``
    cells. Two genes that are neighbors of each other are partners. The same is done for genes on where i is
    off. A marker is a candidate with a partner.

    Parameters
    ----------
    expression
        [cells, genes] log-normalized values (or log of TPM), in memory.
    n_top_genes
        How many genes to select. None: the markers. SCMarker itself ranks nothing; ranking is our addition:
        genes by their number of partners, of both kinds together, ties by the number of neighbors, then
        candidates first, then by the number of cells in which they are on. Beyond the markers the selection
        is filled in this order.
    width
        R's kernel width, in the units of the values; the Gaussian kernel has standard deviation ``width`` /
        4. Wang et al. use 1 for molecule counts and 2 for TPM.
    cutoff
        The value from which on a gene is on.
    min_genes
        Cells with at most this many nonzero genes are dropped (``cellK`` in R).
    min_cells
        Genes that are on in at most this many cells are not candidates (``geneK`` in R).
    k, n
        As above.
    exclude
        [genes] genes that are no candidates (R leaves out human ribosomal, mitochondrial and similar genes by
        their names); None: no such genes.

    Returns
    -------
    GeneScores
        ``score`` is the number of partners, ``p_value`` None; ``fit`` has the mean value and the partners.

    Raises
    ------
    ScraeError
        For negative, NaN or infinite values, for another type, for parameters out of range, and where no cell
        has more than ``min_genes`` genes.

    Warns
    -----
    ScraeWarning
        For whole numbers with ``width`` under 2: every number is then a mode of its own, and the test of the
        modes says nothing.
    """
    matrix = _checked(expression, width, cutoff, k, n, exclude)
    busy = np.diff(matrix.indptr) > min_genes
    if not busy.any():
        raise ScraeError(
            f"scmarker expected cells with more than {min_genes} genes, found none: lower min_genes"
        )
    matrix = matrix if busy.all() else matrix[busy]
    n_genes = matrix.shape[1]
    kept = np.bincount(matrix.indices, minlength=n_genes) > 0
    times_on = np.bincount(matrix.indices[matrix.data >= cutoff], minlength=n_genes)
    candidate = (times_on > min_cells) & (times_on < _TOO_COMMON * matrix.shape[0])
    if exclude is not None:
        candidate &= ~exclude
    candidate[candidate] = count_modes(matrix[:, candidate].tocsc(), width / 4) >= 2
    partners, neighbors = np.zeros(n_genes), np.zeros(n_genes)
    partners[candidate], neighbors[candidate] = _partners(matrix[:, candidate] >= cutoff, k, n)
    return rank_genes(
        partners[kept],
        ties=[neighbors[kept], candidate[kept].astype(np.int64), times_on[kept]],
        kept=kept,
        choice=partners[kept] > 0 if n_top_genes is None else n_top_genes,
        fit=GeneFit(
            mean=np.bincount(matrix.indices, weights=matrix.data, minlength=n_genes) / matrix.shape[0],
            statistic=np.where(kept, partners, np.nan),
            statistic_name="partners",
        ),
        notes=_notes(busy, kept, partners, n_top_genes, min_genes),
    )


def _checked(
    expression: Matrix, width: float, cutoff: float, k: int, n: int, exclude: NDArray[np.bool_] | None
) -> sparse.csr_matrix[Any]:
    """The values as canonical csr of float64 without stored zeros; the caller's matrix is not changed."""
    if not (sparse.issparse(expression) or isinstance(expression, np.ndarray)) or len(expression.shape) != 2:
        raise ScraeError(
            f"scmarker expected a sparse or dense matrix, cells x genes, found {type(expression).__name__}: "
            "load row blocks into memory first"
        )
    if not (width > 0 and cutoff > 0 and k >= 1 and n >= 0):
        raise ScraeError(
            "scmarker expected width and cutoff above 0, k of at least 1 and n of at least 0, found "
            f"width={width}, cutoff={cutoff}, k={k}, n={n}"
        )
    matrix = sparse.csr_matrix(expression, dtype=np.float64)
    check_values(matrix.data, "scmarker")
    if exclude is not None and (exclude.shape != (matrix.shape[1],) or exclude.dtype != np.bool_):
        raise ScraeError(
            f"scmarker expected exclude as {matrix.shape[1]} booleans, one a gene, found "
            f"{exclude.dtype} of shape {exclude.shape}"
        )
    if not matrix.has_canonical_format or not matrix.data.all():
        matrix = matrix.copy()
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
    if width < _VACUOUS_WIDTH and are_whole(matrix.data):
        warnings.warn(
            f"scmarker found whole numbers only: at width {width:g} every number is a mode of its own and the test "
            "of the modes is vacuous. Pass log-normalized values, or a width of 2 or more.",
            ScraeWarning,
            stacklevel=3,
        )
    return matrix


def _partners(on: sparse.csr_matrix[Any], k: int, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count for every candidate its partners and its neighbors.

    Both kinds of counts come from one product: with C the cells in which both genes are on, gene j is on and
    gene i off in (times j is on) - C_ij cells.

    Parameters
    ----------
    on
        [cells, candidates] of booleans.
    k, n
        As in `scmarker`.

    Returns
    -------
    tuple
        Distinct partners, and neighbors of both kinds, each [candidates].
    """
    order = np.argsort(-np.bincount(on.indices, minlength=on.shape[1]), kind="stable")
    cells_by_genes = on[:, order].astype(np.float32)  # exact: a count of cells is below 2^24
    times_on = np.bincount(cells_by_genes.indices, minlength=on.shape[1]).astype(np.float32)
    near: list[sparse.csr_matrix[Any]] = []
    apart: list[sparse.csr_matrix[Any]] = []
    start = 0
    for together in _together(cells_by_genes, times_on):
        instead = times_on - together
        here = np.arange(together.shape[0])
        together[here, start + here] = 0
        near.append(_neighbors(together, k, n))
        apart.append(_neighbors(instead, k, n))
        start += here.size
    if not near:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    near_all, apart_all = sparse.vstack(near, format="csr"), sparse.vstack(apart, format="csr")
    mutual = near_all.multiply(near_all.T) + apart_all.multiply(apart_all.T)
    partners, neighbors = np.empty((2, order.size), dtype=np.int64)
    partners[order] = np.diff(mutual.tocsr().indptr)
    neighbors[order] = np.diff(near_all.indptr) + np.diff(apart_all.indptr)
    return partners, neighbors


def _together(on: sparse.csr_matrix[Any], times_on: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Give the cells in which both genes are on, [some genes, genes], block after block of genes.

    The genes come by falling ``times_on``. Products with the frequent ones, of which there are few, go through a
    dense matrix: that is several times faster than sparse with sparse.
    """
    genes = on.T.tocsr()
    n_frequent = int((times_on >= _FREQUENT * on.shape[0]).sum())
    frequent, rare = on[:, :n_frequent].toarray(), on[:, n_frequent:]
    for start in range(0, n_frequent, _ROWS_AT_A_TIME):
        yield np.ascontiguousarray((genes @ frequent[:, start : start + _ROWS_AT_A_TIME]).T)
    for start in range(n_frequent, on.shape[1], _ROWS_AT_A_TIME):
        rows = genes[start : start + _ROWS_AT_A_TIME]
        yield np.hstack([rows @ frequent, (rows @ rare).toarray()])


def _neighbors(counts: NDArray[np.float32], k: int, n: int) -> sparse.csr_matrix[Any]:
    """Mark in every row the entries above ``n`` whose rank from the top, averaged over ties, is at most ``k``."""
    size = counts.shape[1]
    least = np.full((counts.shape[0], 1), n + 1, dtype=counts.dtype)
    if k < size:
        kth = np.partition(counts, size - k, axis=1)[:, size - k, None]
        above = (counts > kth).sum(axis=1, keepdims=True)
        equal = (counts == kth).sum(axis=1, keepdims=True)
        reached = above + (equal + 1) / 2 <= k  # else the ties at the k-th place are all out
        least = np.maximum(least, np.where(reached, kth, kth + 1))
    near = np.flatnonzero(counts >= least)  # much faster than over rows and columns
    starts = np.searchsorted(near, np.arange(counts.shape[0] + 1) * size)
    return sparse.csr_matrix((np.ones(near.size, dtype=np.bool_), near % size, starts), shape=counts.shape)


def _notes(
    busy: NDArray[np.bool_],
    kept: NDArray[np.bool_],
    partners: NDArray[np.float64],
    n_top_genes: int | None,
    min_genes: int,
) -> list[str]:
    notes = []
    if aside := int((~busy).sum()):
        notes.append(f"{quantity(aside, 'cell')} with at most {min_genes} genes dropped")
    if dropped := int((~kept).sum()):
        notes.append(f"{quantity(dropped, 'gene')} without counts dropped")
    markers = int((partners > 0).sum())
    if n_top_genes is not None and n_top_genes > markers:
        notes.append(
            f"{quantity(n_top_genes, 'gene')} requested, {markers} are markers: filled with the next genes by rank"
        )
    return notes
