"""Test whether cells are one population, against counts with the same depths, margins and gene-gene covariance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh, svd
from scipy.stats import binom, false_discovery_control, mannwhitneyu
from sklearn.cluster import KMeans

from scrae.cluster.null_model import NullModel, fit_null
from scrae.cluster.valley import Valley, find_valleys, unimodal_p

__all__ = ["MAX_CELLS", "SplitTest", "split_test"]

MAX_CELLS = 1000
MIN_CELLS = 30
"""Fewer cells are never split."""
_N_COMPONENTS, _GROUPS, _N_DIRECTIONS = 10, (2, 8), 3
_EXCEEDANCES = 5
_FDR = 0.05
_SLABS, _FILLED = (5, 10), 0.25
"""Numbers of slabs across each component; p-value from which on cells of a slab fill the gap."""
_DEEP = 0.3
"""A gap divides populations if its density is below this fraction of that in both flanks."""


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
    gap : {"none", "shallow", "bridged", "deep"}
        No significant gap; one with too many cells in it; one that cells connect around; one that divides the cells.
        For "shallow" and "bridged", p is 1.
    density : float
        Density of cells in the gap, divided by that in the less dense flank: 0 = empty, 1 = no gap.
    density_limits : tuple of float
        95 % confidence interval of it, which does not allow for the choice of the clearest gap.
    n_cells : int
        Cells tested.
    n_null : int
        Data sets drawn from the null model.
    """

    p: float
    auc: float
    n_genes: int
    gap: str
    density: float
    density_limits: tuple[float, float]
    n_cells: int
    n_null: int


@dataclass(frozen=True, kw_only=True)
class _Split:
    valley: Valley  # the clearest
    deepest: Valley
    judged: np.ndarray  # [cells], the second half along the direction
    sides: np.ndarray  # bool [cells], from the first half
    second: np.ndarray  # [cells, genes], normalized second half
    across: np.ndarray  # [cells, components], the first half without the direction


def split_test(
    counts: np.ndarray, depth: np.ndarray, *, seed: int, n_null: int = 39, alpha: float = 0.05
) -> SplitTest:
    """Test whether cells are one population.

    The molecules are divided into two halves at random. The first half gives directions in gene space, the three with
    the clearest gaps among principal components and discriminants of K-means. The second half, along these directions,
    is tested for a gap in the density of the cells: a difference of means alone is no evidence, since every
    gradient has one. Two hypotheses have to be rejected: a density with one mode
    (:func:`scrae.cluster.valley.unimodal_p`), and data drawn from :class:`scrae.cluster.null_model.NullModel`, which
    pass through the same steps. The larger p-value is returned. The null data are drawn only if the first hypothesis
    is rejected at ``alpha``, and until five of them have a gap as clear.

    A significant gap divides the cells only if

    - it is deep: its density is below 0.3 of that in both flanks. Either the upper 95 % limit for the clearest gap
      is, or some place has more evidence for it than is expected of that many places. Otherwise, cells of a continuous
      process lie between the sides.
    - cells do not connect the sides around it. Along a line, a ring such as the cell cycle has a gap.

    Directions with other gaps are passed over; if none is left, the p-value is 1.

    Parameters
    ----------
    counts : ndarray of shape (n_cells, n_genes)
        Raw counts, see :func:`scrae.cluster.tested_genes.counts_to_test`.
    depth : ndarray of shape (n_cells,)
        Total counts of each cell.
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
        return SplitTest(
            p=1.0, auc=0.5, n_genes=0, gap="none", density=1.0, density_limits=(0.0, np.inf),
            n_cells=n_cells, n_null=0,
        )  # fmt: skip
    depth = np.maximum(np.asarray(depth, dtype=np.float64), 1)
    first = rng.binomial(counts, 0.5)
    splits = _splits(first, counts - first, depth, rng)
    kinds = [_kind(split, n_cells, alpha / _N_DIRECTIONS, rng) for split in splits]
    found, (gap, p) = next(
        (pair for pair in zip(splits, kinds, strict=True) if pair[1][0] == "deep"), (splits[0], kinds[0])
    )
    drawn = 0
    if gap == "deep":
        p_model, drawn = _model_p(found.valley.statistic, fit_null(counts, depth), rng, n_null)
        p = max(p, p_model)
    auc, different = _difference(found)
    shown = found.deepest if gap == "deep" and found.deepest.statistic >= 0 else found.valley
    return SplitTest(
        p=p,
        auc=auc,
        n_genes=different,
        gap=gap,
        density=shown.density,
        density_limits=shown.density_limits(),
        n_cells=n_cells,
        n_null=drawn,
    )


def _kind(split: _Split, n_cells: int, level: float, rng: np.random.Generator) -> tuple[str, float]:
    """Return what the gap of a split is, see :class:`SplitTest`, and its p-value, corrected for all directions."""
    one_mode = unimodal_p(split.valley.statistic, n_cells, seed=int(rng.integers(2**31)), smallest=level / 2)
    if one_mode > level:
        return "none", min(1.0, _N_DIRECTIONS * one_mode)
    # one chosen for its clearness alone, or one whose evidence exceeds the penalty for the number of places
    if split.valley.density_limits()[1] >= _DEEP and split.deepest.statistic < 0:
        return "shallow", 1.0
    if _has_bridge(split, split.valley) or _has_bridge(split, split.deepest):
        return "bridged", 1.0
    return "deep", _N_DIRECTIONS * one_mode


def _model_p(statistic: float, model: NullModel, rng: np.random.Generator, n_null: int) -> tuple[float, int]:
    """Return the p-value against the null model and the number of draws (Besag and Clifford, 1991)."""
    exceedances = 0
    for drawn in range(1, n_null + 1):
        valley = _splits(*model.draw_halves(rng), model.depth, rng)[0].valley
        exceedances += valley.statistic >= statistic
        if exceedances == _EXCEEDANCES:
            return exceedances / drawn, drawn
    return (exceedances + 1) / (n_null + 1), n_null


def _splits(
    first: np.ndarray, second: np.ndarray, depth: np.ndarray, rng: np.random.Generator
) -> list[_Split]:
    """Find directions with one half of the molecules; return the splits in the other half, the clearest gap first."""
    first, second = _normalize(first, depth), _normalize(second, depth)
    scale = np.maximum(first.std(axis=0), 1e-6)
    first = (first - first.mean(axis=0)) / scale
    second = (second - second.mean(axis=0)) / scale
    n_genes, components = first.shape[1], min(_N_COMPONENTS, min(first.shape) - 1)
    _, axes = eigh(
        first.T @ first, subset_by_index=(n_genes - components, n_genes - 1)
    )  # [genes, components]
    codes = first @ axes
    directions = np.stack(
        [*np.eye(components), *_discriminants(codes, int(rng.integers(2**31)))], axis=1
    )  # [components, directions]
    scores = codes @ directions
    valleys = find_valleys(scores.T)
    best = np.argsort([-valley.statistic for valley in valleys], kind="stable")[:_N_DIRECTIONS]
    other = second @ (axes @ directions[:, best])
    splits = []
    gaps = zip(find_valleys(other.T), find_valleys(other.T, below=_DEEP), strict=True)
    for at, x, (valley, deepest) in zip(best, other.T, gaps, strict=True):
        sides = scores[:, at] > sum(valleys[at].interval) / 2
        across = codes - np.outer(scores[:, at], directions[:, at])
        splits.append(
            _Split(valley=valley, deepest=deepest, judged=x, sides=sides, second=second, across=across)
        )
    return sorted(splits, key=lambda split: -split.valley.statistic)


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


def _has_bridge(found: _Split, valley: Valley) -> bool:
    """Whether a gap is the densest place among the cells of some slab across another component.

    Along any direction, the cells of a ring have a gap in the middle; those at its top and bottom fill it.
    """
    left, scale, _ = svd(found.across - found.across.mean(axis=0), full_matrices=False)
    for component in (left * scale).T[:-1]:
        order = np.argsort(component, kind="stable")
        for part in (part for n_slabs in _SLABS for part in np.array_split(order, n_slabs)):
            x = found.judged[part]
            inside, width = _within(x, valley.interval)
            beside = [_within(x, side) for side in (valley.left, valley.right)]
            # flanks without cells cannot show that the gap is filled
            if all(
                binom.sf(inside - 1, inside + n, width / (width + other)) <= _FILLED for n, other in beside
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
