"""Outliers of the quality measures by median absolute deviation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import median_abs_deviation

__all__ = ["NAMES", "mad_summary", "mad_table", "outliers"]

_DEVIATIONS = {"scrae_n_counts": 5.0, "scrae_n_genes": 5.0, "scrae_mito": 3.0}
_LOWEST_MITO = 0.05
"""A limit of the mitochondrial share is never below this."""
_FEWEST_CELLS = 50
NAMES = {"scrae_n_counts": "counts", "scrae_n_genes": "genes", "scrae_mito": "mitochondrial share"}


def mad_table(
    columns: Mapping[str, NDArray[Any]], samples: NDArray[Any] | pd.Series | None = None
) -> pd.DataFrame:
    """Return limits of the quality measures for each sample.

    The limits are the median plus and minus five scaled median absolute deviations of log1p of counts and genes, and
    the median plus three of the mitochondrial share, but at least 0.05. A sample of fewer than 50 cells has none.

    Parameters
    ----------
    columns : mapping of str to numpy.ndarray
        The columns that ``pp.filter`` writes, [cells] each.
    samples : array or None
        The sample of each cell, [cells]; missing ones are a sample. None = one sample.

    Returns
    -------
    pandas.DataFrame
        A row for each sample and measure: ``sample``, ``measure``, ``low``, ``high``, and the ``cells`` outside.
    """
    codes, names = _coded(columns, samples)
    rows = []
    for code, name in enumerate(names):
        for measure, deviations in _DEVIATIONS.items():
            values = np.asarray(columns[measure], dtype=np.float64)[codes == code]
            shown = values if measure == "scrae_mito" else np.log1p(values)
            width = deviations * median_abs_deviation(shown, scale="normal")
            if len(values) < _FEWEST_CELLS or not width:
                low, high = 0.0, np.inf
            elif measure == "scrae_mito":
                low, high = 0.0, max(np.median(shown) + width, _LOWEST_MITO)
            else:
                low, high = np.expm1(np.median(shown) - width), np.expm1(np.median(shown) + width)
            outside = int(((values < low) | (values > high)).sum())
            rows.append((name, NAMES[measure], max(float(low), 0.0), float(high), outside))
    return pd.DataFrame(rows, columns=["sample", "measure", "low", "high", "cells"])


def outliers(
    columns: Mapping[str, NDArray[Any]], samples: NDArray[Any] | pd.Series | None = None
) -> NDArray[np.bool_]:
    """Return which cells [cells] are outside any limit of `mad_table`."""
    codes, names = _coded(columns, samples)
    table = mad_table(columns, samples).set_index(["sample", "measure"])
    outside = np.zeros(len(codes), dtype=bool)
    for measure in _DEVIATIONS:
        limits = table.xs(NAMES[measure], level="measure").loc[names]
        low, high = limits["low"].to_numpy()[codes], limits["high"].to_numpy()[codes]
        outside |= (columns[measure] < low) | (columns[measure] > high)
    return outside


def mad_summary(columns: Mapping[str, NDArray[Any]], samples: NDArray[Any] | pd.Series | None = None) -> str:
    """Return what the limits would drop, in words."""
    cells = mad_table(columns, samples).groupby("measure", sort=False)["cells"].sum()
    parts = ", ".join(f"{number} by {measure}" for measure, number in cells.items())
    found = outliers(columns, samples)
    return f"{int(found.sum())} of {len(found)} cells are outliers by median absolute deviation ({parts})"


def _coded(
    columns: Mapping[str, NDArray[Any]], samples: NDArray[Any] | pd.Series | None
) -> tuple[NDArray[np.int64], list[str]]:
    """Return the number of the sample of each cell, and the names."""
    if samples is None:
        return np.zeros(len(columns["scrae_n_counts"]), dtype=np.int64), [""]
    column = pd.Series(np.asarray(samples, dtype=object))
    codes, names = pd.factorize(column.astype(str).where(column.notna(), ""), sort=True)
    return codes.astype(np.int64), list(map(str, names))
