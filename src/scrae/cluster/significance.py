"""Test whether cells are one population, against counts with the same depths, margins and gene-gene covariance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.linalg import eigh
from scipy.stats import binom, false_discovery_control, mannwhitneyu
from sklearn.cluster import KMeans

from scrae.cluster.null_model import NullModel, fit_null
from scrae.cluster.valley import Valley, find_valleys, unimodal_p

__all__ = ["MAX_CELLS", "SplitTest", "choose_genes", "split_test"]

MAX_CELLS = 1000
MIN_CELLS = 30
"""Fewer cells are never split."""
_N_GENES, _MIN_DETECTED = 300, 5
_N_COMPONENTS, _GROUPS, _N_DIRECTIONS = 10, (2, 8), 3
_EXCEEDANCES = 5
_FDR, _BRIDGE = 0.05, 0.05


@dataclass(frozen=True, kw_only=True)
class SplitTest:
    """Result of a test of cells against one population.

    Attributes
    ----------
    p : float
        P-value of the hypothesis that the cells are one population; small values speak for two.
    auc : float
        How well the other half of the molecules separates the two sides found with one half: 0.5 = not at all, 1 =
        without error.
    n_genes : int
        Genes that differ between the two sides in the other half (false discovery rate 0.05).
    bridge : bool
        Whether cells connect the two sides around the gap; then p is 1.
    n_cells : int
        Cells tested.
    n_null : int
        Data sets drawn from the null model.
    """

    p: float
    auc: float
    n_genes: int
    bridge: bool
    n_cells: int
    n_null: int


@dataclass(frozen=True, kw_only=True)
class _Split:
    valley: Valley
    judged: np.ndarray  # [cells], the second half along the direction
    sides: np.ndarray  # bool [cells], from the first half
    second: np.ndarray  # [cells, genes], normalized second half
    codes: np.ndarray  # [cells, components] of the first half


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
    depth = np.asarray(counts.sum(axis=1)).ravel()
    share = np.asarray(counts.sum(axis=0)).ravel() / max(depth.sum(), 1)
    squares = np.asarray(counts.power(2).sum(axis=0)).ravel()
    expected = share * depth.sum()
    residual = squares - 2 * share * (counts.T @ depth) + share**2 * (depth**2).sum()
    excess = residual / np.maximum(expected, 1e-12) - 1
    detected = np.asarray((counts > 0).sum(axis=0)).ravel()
    excess[(detected < _MIN_DETECTED) | (excess <= 0)] = -np.inf
    best = np.argsort(-excess, kind="stable")[:_N_GENES]
    return np.sort(best[np.isfinite(excess[best])])


def split_test(
    counts: np.ndarray, depth: np.ndarray, *, seed: int, n_null: int = 39, alpha: float = 0.05
) -> SplitTest:
    """Test whether cells are one population.

    The molecules are divided into two halves at random. The first half gives a direction in gene space, the one with
    the clearest gap among principal components and discriminants of K-means. The second half, along this direction,
    is tested for a gap in the density of the cells: a difference of means alone is no evidence, since every
    gradient has one. Two hypotheses have to be rejected: a density with one mode
    (:func:`scrae.cluster.valley.unimodal_p`), and data drawn from :class:`scrae.cluster.null_model.NullModel`, which
    pass through the same steps. The larger p-value is returned. The null data are drawn only if the first hypothesis
    is rejected at ``alpha``, and until five of them have a gap as clear.

    A gap on a line is also found in a ring, such as the cell cycle. Therefore cells that connect the sides around the
    gap (``bridge``) set the p-value to 1.

    Parameters
    ----------
    counts : ndarray of shape (n_cells, n_genes)
        Raw counts of the genes of :func:`choose_genes`.
    depth : ndarray of shape (n_cells,)
        Total counts of each cell, over all genes.
    seed : int
        Seed of the halves and of the draws.
    n_null : int
        Most data sets drawn from the null model.
    alpha : float
        Level that decides whether the null model is consulted.

    Returns
    -------
    SplitTest
    """
    rng = np.random.default_rng(seed)
    counts = np.asarray(counts, dtype=np.int64)
    n_cells, n_genes = counts.shape
    if n_cells < MIN_CELLS or n_genes < 2:
        return SplitTest(p=1.0, auc=0.5, n_genes=0, bridge=False, n_cells=n_cells, n_null=0)
    depth = np.maximum(np.asarray(depth, dtype=np.float64), 1)
    first = rng.binomial(counts, 0.5)
    found = _split(first, counts - first, depth, rng)
    auc, different = _difference(found)
    p = min(
        1.0,
        _N_DIRECTIONS
        * unimodal_p(
            found.valley.statistic,
            n_cells,
            seed=int(rng.integers(2**31)),
            smallest=alpha / (2 * _N_DIRECTIONS),
        ),
    )
    bridge, drawn = p <= alpha and _has_bridge(found), 0
    if p <= alpha and not bridge:
        p_model, drawn = _model_p(found.valley.statistic, fit_null(counts, depth), rng, n_null)
        p = max(p, p_model)
    return SplitTest(
        p=1.0 if bridge else p, auc=auc, n_genes=different, bridge=bridge, n_cells=n_cells, n_null=drawn
    )


def _model_p(statistic: float, model: NullModel, rng: np.random.Generator, n_null: int) -> tuple[float, int]:
    """Return the p-value against the null model and the number of draws (Besag and Clifford, 1991)."""
    exceedances = 0
    for drawn in range(1, n_null + 1):
        valley = _split(*model.draw_halves(rng), model.depth, rng).valley
        exceedances += valley.statistic >= statistic
        if exceedances == _EXCEEDANCES:
            return exceedances / drawn, drawn
    return (exceedances + 1) / (n_null + 1), n_null


def _split(first: np.ndarray, second: np.ndarray, depth: np.ndarray, rng: np.random.Generator) -> _Split:
    """Find directions with one half of the molecules, and keep the one with the clearest gap in the other half."""
    first, second = _normalize(first, depth), _normalize(second, depth)
    scale = np.maximum(first.std(axis=0), 1e-6)
    first = (first - first.mean(axis=0)) / scale
    second = (second - second.mean(axis=0)) / scale
    n_genes, components = first.shape[1], min(_N_COMPONENTS, min(first.shape) - 1)
    _, axes = eigh(
        first.T @ first, subset_by_index=(n_genes - components, n_genes - 1)
    )  # [genes, components]
    codes = first @ axes
    directions = [*np.eye(components), *_discriminants(codes, int(rng.integers(2**31)))]
    scores = codes @ np.stack(directions, axis=1)  # [cells, directions]
    valleys = find_valleys(scores.T)
    best = np.argsort([-valley.statistic for valley in valleys], kind="stable")[:_N_DIRECTIONS]
    judged = []
    other = second @ (axes @ np.stack([directions[at] for at in best], axis=1))
    for at, x, valley in zip(best, other.T, find_valleys(other.T), strict=True):
        sides = scores[:, at] > sum(valleys[at].interval) / 2
        judged.append(_Split(valley=valley, judged=x, sides=sides, second=second, codes=codes))
    return max(judged, key=lambda one: one.valley.statistic)


def _normalize(counts: np.ndarray, depth: np.ndarray) -> np.ndarray:
    return np.asarray(np.log1p(counts * (np.median(depth) / depth)[:, None]))


def _discriminants(codes: np.ndarray, seed: int) -> list[np.ndarray]:
    """Return directions that separate the clusters of K-means: two, and each of eight from the others."""
    found = []
    for n_groups in _GROUPS:
        labels = KMeans(n_groups, n_init=1, max_iter=20, random_state=seed).fit_predict(codes)
        for group in range(n_groups if n_groups > 2 else 1):
            found.append(_discriminant(codes, labels == group))
    return found


def _discriminant(codes: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Return Fisher's linear discriminant of a side from the other, of length 1."""
    if side.sum() < 2 or (~side).sum() < 2:
        return np.asarray(np.eye(codes.shape[1])[0])
    means = [codes[part].mean(axis=0) for part in (side, ~side)]
    residual = codes - np.where(side[:, None], *means)
    within = residual.T @ residual / len(codes)
    within += 0.1 * np.trace(within) / len(within) * np.eye(len(within))
    direction = np.linalg.solve(within, means[0] - means[1])
    return np.asarray(direction / np.linalg.norm(direction))


def _has_bridge(found: _Split) -> bool:
    """Whether the gap is the densest place among the cells of some slab across another component.

    Along any direction, the cells of a ring have a gap in the middle; those at its top and bottom fill it.
    """
    valley = found.valley
    for code in found.codes.T:
        for part in np.array_split(np.argsort(code, kind="stable"), 3):
            x = found.judged[part]
            inside, width = _within(x, valley.interval)
            beside = [_within(x, side) for side in (valley.left, valley.right)]
            # flanks without cells cannot show that the gap is filled
            if all(
                binom.sf(inside - 1, inside + n, width / (width + other)) <= _BRIDGE for n, other in beside
            ):
                return True
    return False


def _within(x: np.ndarray, interval: tuple[float, float]) -> tuple[int, float]:
    low, high = interval
    return int(((x >= low) & (x <= high)).sum()), max(high - low, np.finfo(float).tiny)


def _difference(found: _Split) -> tuple[float, int]:
    """Return the AUC of the second half between the sides, and the number of genes that differ."""
    side = found.sides
    if not 0 < side.sum() < len(side):
        return 0.5, 0
    u = mannwhitneyu(found.judged[side], found.judged[~side], method="asymptotic").statistic
    p = mannwhitneyu(found.second[side], found.second[~side], method="asymptotic", axis=0).pvalue
    p = np.nan_to_num(p, nan=1.0)
    return float(u / (side.sum() * (~side).sum())), int((false_discovery_control(p) <= _FDR).sum())
