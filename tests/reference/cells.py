"""Counts of made-up cells of a few types, for tests that train."""

from __future__ import annotations

import numpy as np


def cells(n_cells: int, n_genes: int, *, n_types: int = 3, depth: float = 80.0, seed: int = 0) -> np.ndarray:
    """Return int64 counts [cells, genes]: gamma-Poisson around type profiles; type i at rows i, i + n_types, ...

    Sequencing depth is log-normal, with mean log ``depth`` and standard deviation 0.4.
    """
    rng = np.random.default_rng(seed)
    profiles = rng.dirichlet(np.full(n_genes, 0.3), size=n_types)
    library = depth * np.exp(0.4 * rng.standard_normal(n_cells))
    mean = profiles[np.arange(n_cells) % n_types] * library[:, None]
    return rng.poisson(mean * rng.gamma(2.0, 0.5, size=mean.shape))
