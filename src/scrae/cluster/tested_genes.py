"""The counts that the test of clusters reads: overdispersed genes, without the mitochondrial program."""

from __future__ import annotations

import numpy as np
from scipy import sparse

__all__ = ["choose_genes", "counts_to_test", "follows"]

_N_GENES, _MIN_DETECTED = 300, 5
_FOLLOWS = 0.25
"""A gene follows others if its rate per count of these varies so much less than its rate per count of the cell."""


def counts_to_test(
    counts: sparse.csr_matrix, mitochondrial: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the counts that :func:`scrae.cluster.significance.split_test` tests.

    The share of mitochondrial RNA depends on the damage of a cell, and it often has two modes within one type.
    Therefore mitochondrial genes are left out, and the genes that follow them (:func:`follows`), which are mostly
    pseudogenes that mitochondrial reads are assigned to.

    Parameters
    ----------
    counts : csr_matrix of shape (n_cells, n_genes)
        Raw counts of all genes.
    mitochondrial : ndarray of bool, shape (n_genes,), optional
        Mitochondrial genes; None = none.

    Returns
    -------
    counts : ndarray of int64, shape (n_cells, n_chosen)
        Counts of the genes of :func:`choose_genes`.
    depth : ndarray of float64, shape (n_cells,)
        Total counts of each cell, without those left out.
    """
    if mitochondrial is not None and mitochondrial.any():
        counts = counts[:, ~(mitochondrial | follows(counts, mitochondrial))]
    genes = counts[:, choose_genes(counts)].toarray().astype(np.int64)
    return genes, np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()


def choose_genes(counts: sparse.csr_matrix) -> np.ndarray:
    """Return the columns of the 300 genes with the largest excess over Poisson variance, sorted.

    Parameters
    ----------
    counts : csr_matrix of shape (n_cells, n_genes)
        Raw counts.

    Returns
    -------
    ndarray of int64
        Only genes found in at least five cells, and with more than Poisson variance.
    """
    counts = sparse.csr_matrix(counts, dtype=np.float64)
    residual, share, depth = _residual(counts, np.asarray(counts.sum(axis=1)).ravel())
    excess = residual / np.maximum(share * depth.sum(), 1e-12)
    excess[(_detected(counts) < _MIN_DETECTED) | (excess <= 0)] = -np.inf
    best = np.argsort(-excess, kind="stable")[:_N_GENES]
    return np.sort(best[np.isfinite(excess[best])])


def follows(counts: sparse.csr_matrix, leading: np.ndarray) -> np.ndarray:
    """Return which genes have counts proportional to the sum of others, bool [n_genes].

    The squared coefficient of variation of a gene's rate, without Poisson noise, is estimated twice: per count of the
    cell and per count of the leading genes. If the second is less than a quarter of the first, the gene follows. A
    marker of a cell type with a larger share of the leading genes does not: that share varies within the type.

    Parameters
    ----------
    counts : csr_matrix of shape (n_cells, n_genes)
        Raw counts.
    leading : ndarray of bool, shape (n_genes,)
        The genes whose sum is followed.
    """
    counts = sparse.csr_matrix(counts, dtype=np.float64)
    variation = []
    for total in (counts.sum(axis=1), counts[:, leading].sum(axis=1)):
        residual, share, exposure = _residual(counts, np.asarray(total).ravel())
        variation.append(residual / np.maximum(share**2 * (exposure**2).sum(), 1e-300))
    per_cell, per_leading = variation
    return np.asarray(
        (per_cell > 0) & (per_leading < _FOLLOWS * per_cell) & (_detected(counts) >= _MIN_DETECTED)
    )


def _residual(counts: sparse.csr_matrix, exposure: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each gene's sum of squares about rate times exposure, less the Poisson part; its rate; the exposure."""
    share = np.asarray(counts.sum(axis=0)).ravel() / max(exposure.sum(), 1)
    squares = np.asarray(counts.power(2).sum(axis=0)).ravel()
    residual = squares - 2 * share * (counts.T @ exposure) + share**2 * (exposure**2).sum()
    return residual - share * exposure.sum(), share, exposure


def _detected(counts: sparse.csr_matrix) -> np.ndarray:
    return np.asarray((counts > 0).sum(axis=0)).ravel()
