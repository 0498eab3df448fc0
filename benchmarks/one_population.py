"""Counts of one population with known structure, and of sorted cells, for the test of clusters."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from scipy import sparse

from benchmarks.sets import read_labels
from scrae.pp._gene_kinds import mitochondrial

__all__ = [
    "CONTINUA",
    "MIXTURES",
    "SIMULATED",
    "SORTED",
    "continuum",
    "mitochondrial_of",
    "mixture",
    "sorted_cells",
]

_N_GENES, _DISPERSION = 300, 0.3
_PART = 0.7
"""Share of a sorted kind that a set gets, so that sets differ."""

CONTINUA = ("malaria_pb10x", "marques_oligo", "paul15")
SORTED = {
    "cell line": ("celseq2_5cl", ("A549", "H838", "H1975", "H2228", "HCC827")),
    "B cells": ("zheng_facs", ("CD19+ B",)),
    "naive T cells": ("zheng_facs", ("CD4+/CD45RA+/CD25- Naive T", "CD8+/CD45RA+ Naive Cytotoxic")),
}
MIXTURES = {
    "cell lines": ("celseq2_5cl", "A549", "H1975"),
    "B cells and monocytes": ("zheng_facs", "CD19+ B", "CD14+ Monocyte"),
    "B and helper T cells": ("zheng_facs", "CD19+ B", "CD4+ T Helper2"),
    "NK cells and naive CD8 T cells": ("zheng_facs", "CD56+ NK", "CD8+/CD45RA+ Naive Cytotoxic"),
    "naive and memory CD4 T cells": (
        "zheng_facs", "CD4+/CD45RA+/CD25- Naive T", "CD4+/CD45RO+ Memory",
    ),
}  # fmt: skip


def _counts(log_rate: np.ndarray, depth: np.ndarray, rng: np.random.Generator) -> sparse.csr_matrix:
    """Draw negative binomial counts [cells, genes] with these log rates."""
    mean = np.exp(log_rate + rng.normal(-2.5, 1.2, log_rate.shape[1]))
    mean *= (depth / mean.sum(axis=1).mean())[:, None]
    gamma = rng.gamma(1 / _DISPERSION, _DISPERSION, mean.shape)
    return sparse.csr_matrix(rng.poisson(mean * gamma))


def _shape(rng: np.random.Generator) -> tuple[int, np.ndarray]:
    n_cells = int(rng.integers(300, 501))
    return n_cells, rng.lognormal(np.log(1500), 0.35, n_cells)


def _depth_gradient(rng: np.random.Generator) -> sparse.csr_matrix:
    """No structure but depths over a factor of ten."""
    n_cells, _ = _shape(rng)
    return _counts(np.zeros((n_cells, _N_GENES)), np.geomspace(400, 4000, n_cells), rng)


def _factors(rng: np.random.Generator) -> sparse.csr_matrix:
    """Three continuous factors: one uniform, one Gaussian, one exponential, each in a third of the genes."""
    n_cells, depth = _shape(rng)
    scores = [
        rng.uniform(-1.7, 1.7, n_cells),
        rng.standard_normal(n_cells),
        rng.exponential(1, n_cells) - 1,
    ]
    loadings = rng.normal(0, 0.5, (3, _N_GENES)) * (rng.random((3, _N_GENES)) < 1 / 3)
    return _counts(np.stack(scores, axis=1) @ loadings, depth, rng)


def _cycle(rng: np.random.Generator) -> sparse.csr_matrix:
    """A ring: a quarter of the genes peak each at its phase; half of the cells rest at phase zero."""
    n_cells, depth = _shape(rng)
    phase = np.where(
        rng.random(n_cells) < 0.5, rng.normal(0, 0.7, n_cells), rng.uniform(0, 2 * np.pi, n_cells)
    )
    peak, height = rng.uniform(0, 2 * np.pi, _N_GENES), 0.8 * (rng.random(_N_GENES) < 0.25)
    return _counts(height * np.cos(phase[:, None] - peak), depth, rng)


def _ring(rng: np.random.Generator) -> sparse.csr_matrix:
    """A ring that all cells fill evenly, with a strong program: every projection of it has two modes."""
    n_cells, depth = _shape(rng)
    phase, peak = rng.uniform(0, 2 * np.pi, n_cells), rng.uniform(0, 2 * np.pi, _N_GENES)
    height = 1.5 * (rng.random(_N_GENES) < 0.25)
    return _counts(height * np.cos(phase[:, None] - peak), depth, rng)


SIMULATED: dict[str, Callable[[np.random.Generator], sparse.csr_matrix]] = {
    "depth gradient": _depth_gradient,
    "continuous factors": _factors,
    "cell cycle": _cycle,
    "strong ring": _ring,
}


@cache
def mitochondrial_of(path: Path) -> np.ndarray:
    """Return which genes of a set are mitochondrial."""
    from anndata import read_h5ad

    return mitochondrial(read_h5ad(path, backed="r").var_names)


@cache
def _read(path: Path) -> tuple[sparse.csr_matrix, np.ndarray]:
    from anndata import read_h5ad

    return sparse.csr_matrix(read_h5ad(path).X), np.asarray(read_labels(path)).astype(str)


def sorted_cells(data: Path, name: str, rng: np.random.Generator) -> sparse.csr_matrix:
    """Random 70 % of the cells of one sorted kind, at most 400; the kinds of a name take turns at random."""
    file, kinds = SORTED[name]
    counts, labels = _read(data / f"{file}.h5ad")
    cells = np.flatnonzero(labels == kinds[int(rng.integers(len(kinds)))])
    return counts[rng.choice(cells, min(400, int(_PART * len(cells))), replace=False)]


def mixture(data: Path, name: str, share: float, rng: np.random.Generator) -> sparse.csr_matrix:
    """Cells of two sorted kinds, at most 400; the second kind has this share of them."""
    file, *kinds = MIXTURES[name]
    counts, labels = _read(data / f"{file}.h5ad")
    first, second = (np.flatnonzero(labels == kind) for kind in kinds)
    n_cells = min(400, int(_PART * len(first) / (1 - share)), int(_PART * len(second) / share))
    n_second = round(share * n_cells)
    parts = [
        rng.choice(cells, n, replace=False) for cells, n in ((first, n_cells - n_second), (second, n_second))
    ]
    return counts[np.concatenate(parts)]


def continuum(data: Path, name: str, rng: np.random.Generator) -> sparse.csr_matrix:
    """At most 1,000 random cells, and at most 90 %, of a continuous process."""
    counts, _ = _read(data / f"{name}.h5ad")
    n_cells = counts.shape[0]
    return counts[rng.choice(n_cells, min(1000, int(0.9 * n_cells)), replace=False)]
