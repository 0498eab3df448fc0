"""Mixtures of Gaussians over codes and log library sizes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

__all__ = ["Density", "Mixture", "fit_mixture"]

_COMPONENTS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64)
_CELLS_PER_COMPONENT = 10
_RIDGE = 1e-4
"""Added to the variances, in units of each dimension's variance."""


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Mixture of Gaussians over the code and the log library size of a cell.

    Attributes
    ----------
    weights : ndarray of float64, shape (n_components,)
        Sum to 1.
    means : ndarray of float64, shape (n_components, n_latent + 1)
        The last column is the log library size.
    roots : ndarray of float64, shape (n_components, n_latent + 1, n_latent + 1)
        Lower triangular; the covariances are ``root @ root.T``.
    """

    weights: np.ndarray
    means: np.ndarray
    roots: np.ndarray

    def sample(self, n_cells: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw codes, float32 [cells, latent], and log library sizes, float64 [cells]."""
        component = rng.choice(len(self.weights), n_cells, p=self.weights)
        noise = rng.standard_normal((n_cells, self.means.shape[1]))
        drawn = self.means[component] + np.einsum("cij,cj->ci", self.roots[component], noise)
        return drawn[:, :-1].astype(np.float32), drawn[:, -1]


@dataclass(frozen=True, kw_only=True)
class Density:
    """Where generated cells come from.

    Attributes
    ----------
    mixtures : tuple of Mixture
        One for each experimental batch of the model; a single one if it has none.
    theta : ndarray of float64, shape (n_genes,)
        Inverse dispersion of each gene's counts around the decoder's means.
    """

    mixtures: tuple[Mixture, ...]
    theta: np.ndarray


def fit_mixture(points: np.ndarray, *, seed: int) -> Mixture:
    """Fit mixtures with 1 to 64 components and keep the one with the lowest BIC.

    Each dimension is scaled to unit variance for the fit. Larger mixtures are not tried after BIC rose twice.

    Parameters
    ----------
    points : ndarray of shape (n_cells, n_latent + 1)
        Codes, and the log library size in the last column.
    seed : int
        Seed of the initializations.
    """
    n_cells, n_dimensions = points.shape
    if n_cells < 2:
        return Mixture(weights=np.ones(1), means=points, roots=np.zeros((1, n_dimensions, n_dimensions)))
    center, scale = points.mean(axis=0), np.maximum(points.std(axis=0), 1e-6)
    scaled = (points - center) / scale
    fits: list[tuple[float, GaussianMixture]] = []
    for n_components in _COMPONENTS:
        if n_components > max(n_cells // _CELLS_PER_COMPONENT, 1):
            break
        mixture = GaussianMixture(n_components, reg_covar=_RIDGE, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the best iterate is used
            fits.append((mixture.fit(scaled).bic(scaled), mixture))
        if min(bic for bic, _ in fits[-2:]) > min(bic for bic, _ in fits):
            break
    best = min(fits, key=lambda fit: fit[0])[1]
    return Mixture(
        weights=best.weights_ / best.weights_.sum(),
        means=best.means_ * scale + center,
        roots=np.linalg.cholesky(best.covariances_) * scale[:, None],
    )
