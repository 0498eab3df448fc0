"""Barcodes without a cell: left out where a threshold is given, refused where most are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scrae.errors import ScraeError

__all__ = ["left_out", "mostly_empty", "with_cell"]

_NEARLY_EMPTY = 10  # counts; an empty droplet holds a few molecules of the soup, a cell some hundreds


def mostly_empty(totals: NDArray[np.int64]) -> bool:
    """Whether the totals [cells] are those of an unfiltered 10x matrix: most next to nothing, some far above."""
    nearly_empty = int((totals < _NEARLY_EMPTY).sum())
    return nearly_empty > 0.5 * totals.size and bool(totals.max() >= 100 * max(1.0, float(np.median(totals))))


def with_cell(totals: NDArray[np.int64], min_counts: int | None) -> NDArray[np.bool_]:
    """Return which barcodes [cells] have at least `min_counts` counts; None: all.

    Raises
    ------
    ScraeError
        None does; or, without a threshold, most are nearly empty, as in an unfiltered 10x matrix.
    """
    if min_counts is None:
        if mostly_empty(totals):
            raise ScraeError(
                f"{(totals < _NEARLY_EMPTY).sum()} of {totals.size} barcodes have fewer than {_NEARLY_EMPTY} counts, "
                "as in an unfiltered 10x matrix; give the filtered matrix, or a threshold: min_counts=500 "
                "(--min-counts 500)."
            )
        return np.ones(totals.size, dtype=np.bool_)
    keep = np.asarray(totals >= min_counts)
    if not keep.any():
        raise ScraeError(
            f"no cell has min_counts={min_counts} counts (the largest has {totals.max()}); lower it."
        )
    return keep


def left_out(keep: NDArray[np.bool_], min_counts: int | None) -> str:
    """Say how many cells a mask [cells] leaves out, for the notes."""
    return f"{int((~keep).sum())} of {keep.size} cells with fewer than {min_counts} counts were left out."
