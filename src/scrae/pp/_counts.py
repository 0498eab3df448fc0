"""Access to the checked counts in ``layers["counts"]``."""

from __future__ import annotations

from anndata import AnnData
from scipy import sparse

from scrae.errors import ScraeError
from scrae.io.lazy import is_dask

__all__ = ["counts_of"]


def counts_of(adata: AnnData) -> sparse.csr_matrix:
    """Return ``layers["counts"]``, csr_matrix of integers [cells, genes]; not a copy."""
    counts = adata.layers.get("counts")
    if is_dask(counts):
        raise ScraeError(
            "Expected counts in memory in layers['counts'], found a dask array; call "
            "scrae.pp.preprocess_backed(adata), or adata.to_memory()."
        )
    if not (isinstance(counts, sparse.csr_matrix) and counts.dtype.kind == "i"):
        found = "none" if counts is None else f"a {type(counts).__name__} of {counts.dtype}"
        raise ScraeError(
            f"Expected checked counts (csr_matrix of integers) in layers['counts'], found {found}; read "
            "the file with scrae.io.read, or call scrae.io.use_counts(adata)."
        )
    return counts
