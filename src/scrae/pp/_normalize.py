"""Make cells comparable: divide by a size factor, take log1p."""

from __future__ import annotations

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from scrae.io import note
from scrae.io.names import forget, some
from scrae.pp._counts import counts_of

__all__ = ["normalize"]

_MAX_FRACTION = 0.05  # of a cell's counts; a gene above it in any cell is very highly expressed


def normalize(adata: AnnData) -> None:
    """Write ``X`` = log1p(counts / size factor), in place.

    The size factor is a cell's total over all genes but the very highly expressed ones (over 5 % of the
    counts of at least one cell), divided by the median of these totals over the cells that have any. The
    rule is scanpy's ``normalize_total(exclude_highly_expressed=True, max_fraction=0.05)``, after Weinreb et
    al. (2017). A cell that has very highly expressed genes only is taken with its full total instead; where
    that leaves no gene at all, every cell is. A cell without counts has size factor 1.

    Parameters
    ----------
    adata
        With ``layers["counts"]``, which is not changed.

    Raises
    ------
    ScraeError
        There are no checked counts.

    Notes
    -----
    Writes ``X`` (csr_matrix float32), ``obs["scrae_size_factor"]`` (float64, above 0) and
    ``uns["scrae"]["notes"]``.
    """
    counts = counts_of(adata)
    totals = np.asarray(counts.sum(axis=1, dtype=np.int64)).ravel()
    high = _very_high(counts, totals)
    rest = np.asarray(counts[:, ~high].sum(axis=1, dtype=np.int64)).ravel()
    alone = (rest == 0) & (totals > 0)
    used = np.where(alone, totals, rest)
    reference = rest if rest.any() else totals
    median = np.median(reference[reference > 0]) if reference.any() else 1.0
    size_factor = np.where(used > 0, used / median, 1.0)
    values = np.log1p(counts.data / np.repeat(size_factor, np.diff(counts.indptr)))
    adata.X = sparse.csr_matrix(
        (values.astype(np.float32), counts.indices.copy(), counts.indptr.copy()), shape=counts.shape
    )
    adata.obs["scrae_size_factor"] = size_factor
    forget(adata, "Normalisation:")
    if high.any():
        share = 1 - rest.sum() / totals.sum()
        note(
            adata,
            f"Normalisation: the size factor leaves out {int(high.sum())} very highly expressed genes with "
            f"{share:.0%} of the counts: {some(adata.var_names[high])}.",
        )
    if alone.any():
        note(adata, f"Normalisation: {int(alone.sum())} cells express no others, so their full total counts.")


def _very_high(counts: sparse.csr_matrix, totals: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Genes [genes] with more than `_MAX_FRACTION` of the counts of some cell."""
    of_cell = np.repeat(totals, np.diff(counts.indptr))
    high = np.zeros(counts.shape[1], dtype=bool)
    high[counts.indices[counts.data > _MAX_FRACTION * of_cell]] = True
    return high
