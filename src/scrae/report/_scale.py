"""From numbers to positions, ticks and words."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Scale", "number", "scale_over"]


def number(value: float) -> str:
    """Write a number for a reader: ``12,345``, ``0.812``, ``3.1e-05``."""
    value = float(value)
    if not math.isfinite(value):
        return "–"
    size = abs(value)
    if value == round(value) and size < 1e15:
        return f"{value:,.0f}"
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 0.001:
        return f"{value:.3g}"
    return f"{value:.1e}"


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A linear or decimal logarithmic scale from ``low`` to ``high``."""

    low: float
    high: float
    log: bool = False

    def share(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return where values lie: 0 at ``low``, 1 at ``high``."""
        at = np.asarray(values, dtype=np.float64)
        low, high = self.low, self.high
        if self.log:
            with np.errstate(divide="ignore", invalid="ignore"):
                low, high, at = math.log10(low), math.log10(high), np.log10(at)
        return np.asarray((at - low) / (high - low), dtype=np.float64)

    def at(self, shares: ArrayLike) -> NDArray[np.float64]:
        """Return the values that lie there, the inverse of ``share``."""
        shares = np.asarray(shares, dtype=np.float64)
        if self.log:
            return np.asarray(self.low * (self.high / self.low) ** shares)
        return np.asarray(self.low + (self.high - self.low) * shares)

    def ticks(self) -> list[float]:
        """Return three to seven round numbers within the scale."""
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            decades = math.log10(self.high / self.low)
            every = math.ceil(decades / 6)
            factors = (1, 2, 5) if decades < 1.6 else (1, 3) if decades < 3 else (1,)
            ticks = [factor * 10.0**power for power in powers if power % every == 0 for factor in factors]
            return [tick for tick in ticks if self.low <= tick <= self.high]
        step = _round_step((self.high - self.low) / 6)
        first = math.ceil(self.low / step - 1e-9)
        return [round(i * step, 12) for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _round_step(step: float) -> float:
    """Return the smallest 1, 2 or 5 times a power of ten that is at least ``step``."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= step * (1 - 1e-9))


def scale_over(*arrays: ArrayLike, log: bool = False, margin: float = 0.04) -> Scale:
    """Return a scale that holds every finite (if ``log``: positive) value, with a margin at both ends."""
    values = np.concatenate([np.ravel(np.asarray(array, dtype=np.float64)) for array in arrays])
    values = values[np.isfinite(values) & ((values > 0) | (not log))]
    if not len(values):
        return Scale(low=1.0, high=10.0, log=log)
    low, high = float(values.min()), float(values.max())
    if log:
        span = max(math.log10(high / low), 0.1)
        return Scale(low=low / 10 ** (margin * span), high=high * 10 ** (margin * span), log=True)
    span = high - low or abs(high) or 1.0
    return Scale(low=low - margin * span, high=high + margin * span)
