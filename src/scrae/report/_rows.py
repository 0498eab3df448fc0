"""``X`` some cells at a time, so that it can stay in its file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from scipy.sparse import csr_matrix

__all__ = ["ROWS", "row_blocks"]

ROWS = 10_000  # cells at a time


def row_blocks(x: Any) -> Iterator[tuple[int, csr_matrix]]:
    """Yield the first cell's number and the values [at most 10,000 cells, genes] of a matrix in memory or in a file."""
    for start in range(0, x.shape[0], ROWS):
        yield start, csr_matrix(x[start : start + ROWS])
