"""Valid combinations of gene selection options."""

from __future__ import annotations

from typing import get_args

from anndata import AnnData

from scrae.config import GeneSelection
from scrae.errors import ScraeError, did_you_mean
from scrae.io.names import some

__all__ = ["BY_SIZE_FACTOR", "IN_MEMORY", "METHODS", "check_batches", "check_options", "check_streams"]

METHODS = get_args(GeneSelection)
_WITH_TEST = ("m3drop", "nbumi")
BY_SIZE_FACTOR = ("seurat", "cell_ranger")
IN_MEMORY = ("pearson_residuals", "scmarker")


def check_options(method: str, n_top_genes: int | None, fdr: float | None, batch_key: str | None) -> None:
    if method not in METHODS:
        raise ScraeError(
            f"Unknown gene selection {method!r}; choose one of {', '.join(METHODS)}"
            f"{did_you_mean(method, METHODS) or '.'}"
        )
    if fdr is not None and method not in _WITH_TEST:
        raise ScraeError(
            f"{method} has no significance test, so fdr does not apply; give n_top_genes, or use m3drop or nbumi."
        )
    if fdr is not None and not 0 < fdr < 1:
        raise ScraeError(f"fdr is a rate between 0 and 1, found {fdr}; for 5 % say 0.05.")
    if n_top_genes is None and fdr is None and method not in (*_WITH_TEST, "scmarker"):
        raise ScraeError(f"{method} has no threshold of its own; give n_top_genes.")
    if n_top_genes is not None and n_top_genes < 1:
        raise ScraeError(f"n_top_genes must be 1 or more, found {n_top_genes}.")
    if batch_key is not None and (fdr is not None or n_top_genes is None):
        raise ScraeError("Batches are combined by rank; give n_top_genes instead of a threshold.")


def check_batches(adata: AnnData, batch_key: str | None) -> None:
    if batch_key is None:
        return
    if batch_key not in adata.obs:
        raise ScraeError(
            f"batch_key: expected a column of obs, found no {batch_key!r} among {some(adata.obs, 8) or 'no columns'}"
            f"{did_you_mean(batch_key, adata.obs) or '.'}"
        )
    if adata.obs[batch_key].isna().any():
        raise ScraeError(f"obs[{batch_key!r}] has missing values; give every cell a batch.")


def check_streams(method: str, *, dask: bool = False) -> None:
    """Refuse methods that need the counts in memory when these are in a file or a dask array."""
    if method in IN_MEMORY:
        where, remedy = (
            ("a dask array", "call adata.to_memory()")
            if dask
            else ("a file", "read the file with scrae.io.read")
        )
        others = ", ".join(name for name in METHODS if name not in IN_MEMORY)
        raise ScraeError(
            f"{method} needs the counts in memory, and these are in {where}; choose one of {others}, or "
            f"{remedy}."
        )
