"""Expression of many genes, packed for the page: sparse, in 31 steps, compressed."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix

__all__ = ["STEPS", "pack_genes"]

STEPS = 31
"""Steps from 0 to a gene's largest value; a value is off by at most 1/62 of it."""
MOST_BYTES = 5_000_000
"""Of the packed genes in the page."""
_LONG = 255  # this byte stands for a gap of 255 that goes on in the next byte


def pack_genes(values: csc_matrix, names: list[str], *, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """Return the expression of as many of the first genes as fit.

    Parameters
    ----------
    values : csc_matrix of float32, shape (n_cells, n_genes)
        Log-normalized expression, without negative values.
    names : list of str
        The genes, the most important first.
    most_bytes : int
        Largest size of the packed values.

    Returns
    -------
    dict
        ``names``; ``high``, the largest value of each gene; ``sizes``, a pair of numbers for each gene; and ``data``,
        base64 of a zlib stream of bytes. The stream holds the cells of all genes, then their values. Cells are gaps to
        the cell before (the first to -1): bytes of 255 and a last, smaller one, to be added. A value is its step, 1 to
        31. The first of a pair is the number of bytes of gaps, the second the number of cells.
    """
    n_genes = len(names)
    while True:
        packed = _pack(values[:, :n_genes], names[:n_genes])
        excess = len(packed["data"]) / most_bytes
        if excess <= 1 or n_genes <= 1:
            return packed
        n_genes = max(1, int(n_genes / excess * 0.95))


def _pack(values: csc_matrix, names: list[str]) -> dict[str, Any]:
    gaps, steps, sizes, high = [], [], [], []
    for i in range(len(names)):
        part = slice(values.indptr[i], values.indptr[i + 1])
        x, rows = values.data[part], values.indices[part]
        order = np.argsort(rows)[x[np.argsort(rows)] > 0]
        top = float(x.max(initial=0.0)) or 1.0
        coded = _gaps(rows[order].astype(np.int64))
        gaps.append(coded)
        steps.append(np.clip(np.rint(x[order] / top * STEPS), 1, STEPS).astype(np.uint8))
        sizes.append([len(coded), len(order)])
        high.append(round(top, 4))
    stream = np.concatenate([*gaps, *steps, np.zeros(0, np.uint8)]).astype(np.uint8).tobytes()
    data = base64.b64encode(zlib.compress(stream, 9)).decode("ascii")
    return {"names": names, "high": high, "sizes": sizes, "steps": STEPS, "data": data}


def _gaps(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    gap = np.diff(rows, prepend=-1)
    more = gap // _LONG
    coded = np.full(int((more + 1).sum()), _LONG, dtype=np.uint8)
    coded[np.cumsum(more + 1) - 1] = gap % _LONG
    return coded
