"""What the tests of gene selection share: seeded counts, and row blocks over a matrix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse


@dataclass(frozen=True)
class Blocks:
    """Row blocks over a matrix, cut at the given cells; can be read again and again."""

    matrix: sparse.csr_matrix
    cuts: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, int]:
        return self.matrix.shape

    def __iter__(self) -> Iterator[sparse.csr_matrix]:
        for start, stop in zip((0, *self.cuts), (*self.cuts, self.matrix.shape[0]), strict=True):
            yield self.matrix[start:stop]


def draw_counts(seed: int, n_cells: int = 90, n_genes: int = 60) -> np.ndarray:
    """Counts of two unequal kinds of cells with depths; gene 3 and cell 5 are empty."""
    rng = np.random.default_rng(seed)
    mean = rng.lognormal(0, 1.2, (2, n_genes))
    kind = (np.arange(n_cells) < n_cells // 3).astype(int)
    x = rng.poisson(rng.gamma(1.5, mean[kind] * rng.lognormal(0, 0.4, (n_cells, 1)) / 1.5))
    x[:, 3] = 0
    x[5] = 0
    return x.astype(np.int32)
