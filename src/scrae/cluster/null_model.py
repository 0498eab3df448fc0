"""Counts of one population: log-normal rates with a low-rank covariance between genes, and Poisson sampling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["NullModel", "fit_null"]

_N_FACTORS, _CELLS_PER_FACTOR = 20, 10
_LEAST = -0.9
"""Smallest relative covariance; it is greater than -1 for nonnegative rates."""


@dataclass(frozen=True, kw_only=True)
class NullModel:
    """Log-normal-Poisson model of one population (Aitchison and Ho, Biometrika 76:643, 1989).

    Attributes
    ----------
    depth : ndarray of float64, shape (n_cells,)
        Total counts of each cell.
    rate : ndarray of float64, shape (n_genes,)
        Mean counts of each gene per unit of depth.
    loadings : ndarray of float64, shape (n_genes, n_factors)
        Covariance of the log rates that genes share.
    own : ndarray of float64, shape (n_genes,)
        Standard deviation of the log rate of each gene alone.
    """

    depth: np.ndarray
    rate: np.ndarray
    loadings: np.ndarray
    own: np.ndarray

    def draw_halves(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw the two halves of the counts, each int64 [cells, genes]; those of a Poisson count are independent."""
        n_cells, (n_genes, n_factors) = len(self.depth), self.loadings.shape
        log_rate = rng.standard_normal((n_cells, n_factors)) @ self.loadings.T
        log_rate += rng.standard_normal((n_cells, n_genes)) * self.own
        variance = (self.loadings**2).sum(axis=1) + self.own**2
        log_rate += np.log(self.depth / 2)[:, None] + np.log(np.maximum(self.rate, 1e-300)) - variance / 2
        half = np.exp(log_rate)
        return rng.poisson(half), rng.poisson(half)


def fit_null(counts: np.ndarray, depth: np.ndarray) -> NullModel:
    """Fit the null model by moments.

    With rates of mean m and relative covariance R, the covariance of log-normal log rates is log(1 + R). R is
    that of the counts, minus the Poisson variance on its diagonal. Its correlations are reduced to at most 20 factors,
    and at most one for ten cells; what they leave of a gene's variance is the gene's own.

    Parameters
    ----------
    counts : ndarray of shape (n_cells, n_genes)
        Raw counts.
    depth : ndarray of shape (n_cells,)
        Total counts of each cell, positive.

    Returns
    -------
    NullModel
    """
    counts, depth = np.asarray(counts, dtype=np.float64), np.asarray(depth, dtype=np.float64)
    expected = counts.sum(axis=0)
    rate = expected / depth.sum()
    residual = counts - depth[:, None] * rate
    relative = residual.T @ residual - np.diag(expected)
    relative /= np.maximum((depth**2).sum() * np.outer(rate, rate), np.finfo(float).tiny)
    covariance = np.log1p(np.maximum(relative, _LEAST))
    variance = np.maximum(np.diag(covariance), 0)
    scale = np.sqrt(variance)
    correlation = np.clip(covariance / np.maximum(np.outer(scale, scale), 1e-12), -1, 1)
    correlation[scale == 0] = 0
    correlation[:, scale == 0] = 0
    values, vectors = np.linalg.eigh(correlation)
    n_factors = max(1, min(_N_FACTORS, len(depth) // _CELLS_PER_FACTOR, len(rate) - 1))
    shared = vectors[:, -n_factors:] * np.sqrt(np.maximum(values[-n_factors:], 0))
    size = np.maximum(np.sqrt((shared**2).sum(axis=1)), 1)  # a gene shares at most its variance
    loadings = scale[:, None] * shared / size[:, None]
    own = np.sqrt(np.maximum(variance - (loadings**2).sum(axis=1), 0))
    return NullModel(depth=depth, rate=rate, loadings=loadings, own=own)
