"""Test of a sample on a line for a gap in its density: one mode against several."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import betainc, ndtri
from scipy.stats import f as f_distribution

from scrae.errors import ScraeError

__all__ = ["Valley", "find_valleys", "unimodal_p"]

_TINY = np.finfo(float).tiny
_SMALLEST_MODE, _WIDEST = 8, 8
"""Spacings in the shortest flank; largest number of spacings in a flank for one in the gap."""
_CHUNK, _EXCEEDANCES, _LEAST_DRAWS = 100, 10, 999


@dataclass(frozen=True, kw_only=True)
class Valley:
    """The clearest gap in the density of a sample.

    Attributes
    ----------
    statistic : float
        How clear it is: a standard normal quantile minus a penalty for the number of places; larger values are clearer.
    interval : tuple of float
        Ends of the gap.
    left, right : tuple of float
        Ends of the denser interval on each side.
    n_gap, n_flank : int
        Spacings in the gap, and in each of the flanks.
    """

    statistic: float
    interval: tuple[float, float]
    left: tuple[float, float]
    right: tuple[float, float]
    n_gap: int
    n_flank: int

    @property
    def density(self) -> float:
        """Density of cells in the gap, divided by that in the less dense flank."""
        gap, *flanks = (max(high - low, _TINY) for low, high in (self.interval, self.left, self.right))
        return self.n_gap / self.n_flank * max(flanks) / gap

    def density_limits(self, level: float = 0.95) -> tuple[float, float]:
        """Return a confidence interval of :attr:`density`: lengths of spacings have gamma distributions."""
        low, high = (
            self.density * f_distribution.ppf(tail, 2 * self.n_gap, 2 * self.n_flank)
            for tail in ((1 - level) / 2, (1 + level) / 2)
        )
        return float(low), float(high)


def find_valleys(samples: np.ndarray, *, below: float = 1.0) -> list[Valley]:
    """Find the clearest gap between two denser intervals, in each of several samples.

    A gap of v consecutive spacings, of length V, is compared with the shortest flank of f spacings on each side, of
    which the longer has length F. For equal densities V / (V + F) has the beta distribution with parameters v and f;
    its upper tail, as a normal quantile, minus a penalty for the number of gaps of that size, is the statistic.
    The largest over all places and sizes is taken: v in powers of two, f in 1, 2, 4 and 8 times v and at least 8
    (multiscale inference about a density: Dümbgen and Walther, Annals of Statistics 36:1758, 2008).

    Parameters
    ----------
    samples : ndarray of shape (n_samples, n_cells)
        The values of each sample, in any order.
    below : float
        Evidence is for a density below this fraction of that in both flanks: V is multiplied by it.

    Returns
    -------
    list of Valley

    Raises
    ------
    ScraeError
        Fewer than 19 values.
    """
    x = np.sort(np.asarray(samples, dtype=np.float64), axis=1)
    if x.shape[1] < (least := 2 * _SMALLEST_MODE + 3):
        raise ScraeError(f"find_valleys: expected at least {least} values, found {x.shape[1]}")
    lengths, sizes = _lengths(x), _sizes(x.shape[1])
    clearest = [_clearest(lengths, x.shape[1], v, f, below) for v, f in sizes]
    best = np.argmax([statistic for statistic, _ in clearest], axis=0)
    found = []
    for row, choice in enumerate(best):
        (statistic, start), (v, f) = clearest[choice], sizes[choice]
        at = int(start[row])
        left = int(np.argmin(lengths[f][row, : at - f + 1]))
        right = at + v + int(np.argmin(lengths[f][row, at + v :]))
        interval, *flanks = (
            (float(x[row, i]), float(x[row, i + n])) for i, n in ((at, v), (left, f), (right, f))
        )
        found.append(
            Valley(
                statistic=float(statistic[row]),
                interval=interval,
                left=flanks[0],
                right=flanks[1],
                n_gap=v,
                n_flank=f,
            )
        )
    return found


def unimodal_p(statistic: float, n_cells: int, *, seed: int, smallest: float = 0.001) -> float:
    """Return the p-value of a valley in a sample with one mode.

    The uniform distribution is the least favorable one: among all with one mode it has the largest valleys. Samples are
    drawn until ten have a valley as clear (Besag and Clifford, Biometrika 78:301, 1991).

    Parameters
    ----------
    statistic : float
        That of :func:`find_valleys`.
    n_cells : int
        Size of the sample.
    seed : int
        Seed of the draws.
    smallest : float
        The smallest p-value needed; it determines the largest number of draws.

    Returns
    -------
    float
    """
    rng, exceedances, drawn = np.random.default_rng(seed), 0, 0
    while drawn < max(_LEAST_DRAWS, 1 / smallest):
        x = np.sort(rng.random((_CHUNK, n_cells)), axis=1)
        lengths = _lengths(x)
        largest = np.max([_clearest(lengths, n_cells, v, f)[0] for v, f in _sizes(n_cells)], axis=0)
        as_clear = np.cumsum(largest >= statistic) + exceedances
        if as_clear[-1] >= _EXCEEDANCES:
            return float(_EXCEEDANCES / (drawn + 1 + np.argmax(as_clear >= _EXCEEDANCES)))
        exceedances, drawn = int(as_clear[-1]), drawn + _CHUNK
    return (exceedances + 1) / (drawn + 1)


def _sizes(n_cells: int) -> list[tuple[int, int]]:
    """Return the pairs of numbers of spacings, of gap and flank."""
    powers = [2**k for k in range(int(np.log2(n_cells)) + 1)]
    return [
        (v, f) for v in powers for f in powers if max(v, _SMALLEST_MODE) <= f <= max(_WIDEST * v, _SMALLEST_MODE)
        and v + 2 * f < n_cells - 1
    ]  # fmt: skip


def _lengths(x: np.ndarray) -> dict[int, np.ndarray]:
    """Return for each number of spacings the lengths of all intervals with so many, [samples, intervals]."""
    n_cells = x.shape[1]
    numbers = sorted({number for pair in _sizes(n_cells) for number in pair})
    return {m: np.maximum(x[:, m:] - x[:, :-m], _TINY) for m in numbers}


def _clearest(
    lengths: dict[int, np.ndarray], n_cells: int, v: int, f: int, below: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return statistic and start of the clearest gap of v spacings with flanks of f, of each sample."""
    flank = lengths[f]
    before = np.minimum.accumulate(flank, axis=1)[:, : -f - v]
    after = np.minimum.accumulate(flank[:, ::-1], axis=1)[:, ::-1][:, f + v :]
    ratio = lengths[v][:, f : f + before.shape[1]] / np.maximum(before, after)
    at = ratio.argmax(axis=1)
    clearest = below * ratio[np.arange(len(ratio)), at]
    p = betainc(f, v, 1 / (1 + clearest))  # of a beta variable above clearest / (1 + clearest)
    return -ndtri(np.maximum(p, 1e-300)) - np.sqrt(2 * np.log(np.e * n_cells / v)), at + f
