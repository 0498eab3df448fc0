"""A real data set that needs no download."""

from __future__ import annotations

import warnings
from importlib.metadata import version

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scrae.errors import ScraeError
from scrae.io import use_counts
from scrae.io.notes import add_note

__all__ = ["pbmc"]

_FAR_FROM_WHOLE = 0.1
_TARGET = 10_000  # counts per cell before the logarithm, in the file that scanpy ships


def pbmc() -> AnnData:
    """Return raw counts of 700 blood cells, the sample of Zheng 68k PBMC (2017) that scanpy ships.

    The file holds log-normalized values of 765 genes in ``raw``, and the totals over all genes in
    ``obs["n_counts"]``; expm1 of the value times the total over 10,000 gives the counts back, since all
    results are within 0.1 of a whole number.

    Returns
    -------
    AnnData
        700 cells x 765 genes in the form of `scrae.io.read`: ``X`` and ``layers["counts"]`` csr_matrix int32,
        ``obs["bulk_labels"]`` the 10 published cell types (categorical).

    Raises
    ------
    ScraeError
        The file of the installed scanpy holds other values, so that no counts come out.

    Examples
    --------
    >>> scrae.datasets.pbmc().shape
    (700, 765)
    """
    import scanpy as sc

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scanpy's file is of an old form
        shipped = sc.datasets.pbmc68k_reduced()
    values = sparse.csr_matrix(shipped.raw.X, dtype=np.float64)
    totals = shipped.obs["n_counts"].to_numpy(dtype=np.float64)
    data = np.expm1(values.data) * np.repeat(totals / _TARGET, np.diff(values.indptr))
    whole = np.rint(data)
    farthest = float(np.abs(data - whole).max())
    if not farthest < _FAR_FROM_WHOLE:
        raise ScraeError(
            f"The PBMC set of scanpy {version('scanpy')} is another than expected: its values are up to "
            f"{farthest:.2g} away from whole counts. Install the scanpy version of the constraints file."
        )
    counts = sparse.csr_matrix((whole, values.indices, values.indptr), shape=values.shape)
    adata = AnnData(
        counts,
        obs=pd.DataFrame({"bulk_labels": shipped.obs["bulk_labels"]}, index=shipped.obs_names.rename(None)),
        var=pd.DataFrame(index=shipped.raw.var_names.rename(None)),
    )
    add_note(adata, "Counts were recovered from the log-normalized values of the PBMC set that scanpy ships.")
    use_counts(adata)
    return adata
