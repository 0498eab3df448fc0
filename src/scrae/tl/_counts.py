"""The counts that a model reads, aligned to its genes and batches."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from scrae.core.data import CountData
from scrae.core.device import resolve_device
from scrae.core.model import SCRAE
from scrae.errors import ScraeError, ScraeWarning
from scrae.io.batches import batch_codes, batches_of
from scrae.io.notes import add_note

__all__ = ["count_data", "counts_for", "missing_genes"]


def count_data(
    adata: AnnData,
    *,
    genes: Sequence[str] | None = None,
    batch_key: str | None = None,
    batch_names: Sequence[str] | None = None,
    min_overlap: float = 0.5,
    device: torch.device | str = "auto",
) -> CountData:
    """Return the raw counts of the modeled genes as the model reads them.

    Parameters
    ----------
    adata : AnnData
        Cells with raw counts in ``layers["counts"]``; not changed.
    genes : sequence of str, optional
        Gene names to align to, e.g. ``model.genes``: order and additional genes do not matter, missing genes count as
        zero, with a warning. None = the genes of ``var["scrae_selected"]``.
    batch_key : str, optional
        Column of ``obs`` with the experimental batch of each cell; None = a single batch.
    batch_names : sequence of str, optional
        Batch names to align to, e.g. ``model.batch_names``; None = those of the column.
    min_overlap : float
        Smallest allowed fraction of ``genes`` in the data.
    device : torch.device or str
        Device for the counts; "auto" = CUDA if available, otherwise the CPU, as for :func:`scrae.load`.

    Returns
    -------
    CountData

    Raises
    ------
    ScraeError
        No counts, no selected genes, duplicate gene names, or too few of ``genes``; no such column, cells without a
        batch, or a batch that is not among ``batch_names``.

    Warns
    -----
    ScraeWarning
        Some of ``genes`` are missing.
    """
    if "counts" not in adata.layers:
        raise ScraeError(
            'adata: expected raw counts in layers["counts"], found none; use scrae.io.use_counts(adata)'
        )
    counts = sparse.csr_matrix(adata.layers["counts"])
    names, codes = _batches(adata, batch_key, batch_names)
    if genes is None:
        if "scrae_selected" not in adata.var:
            raise ScraeError(
                'adata: expected var["scrae_selected"], found none; use scrae.pp.select_genes(adata)'
            )
        selected = np.asarray(adata.var["scrae_selected"], dtype=bool)
        genes = list(adata.var_names[selected])
        counts = counts if selected.all() else counts[:, selected]
    else:
        counts = _align(counts, adata, genes, min_overlap)
    return CountData(counts, genes, batch_names=names, batch_codes=codes, device=resolve_device(device))


def _align(
    counts: sparse.csr_matrix, adata: AnnData, genes: Sequence[str], min_overlap: float
) -> sparse.csr_matrix:
    """Return the counts of the given genes, in their order; missing genes are zero, with a warning."""
    if not adata.var_names.is_unique:
        raise ScraeError(
            "adata: expected unique gene names to align by, found duplicates; use var_names_make_unique()"
        )
    at = adata.var_names.get_indexer(list(genes))
    overlap = float((at >= 0).mean())
    if overlap < min_overlap:
        raise ScraeError(
            f"adata: expected at least {min_overlap:.0%} of the model's {len(genes)} genes, found {overlap:.0%} "
            f"(the model has e.g. {', '.join(genes[:3])}; the data {', '.join(adata.var_names[:3])}); "
            "use the same kind of gene names"
        )
    if message := missing_genes(adata, genes):
        warnings.warn(message, ScraeWarning, stacklevel=3)
    picked = sparse.csc_matrix(counts)[:, np.maximum(at, 0)]
    present = sparse.diags_array((at >= 0).astype(picked.dtype), dtype=picked.dtype)
    aligned = sparse.csr_matrix(picked @ present)
    aligned.eliminate_zeros()
    return aligned


def missing_genes(adata: AnnData, genes: Sequence[str]) -> str:
    """Return a sentence about the genes that the data lack; empty if they lack none."""
    n_missing = int((adata.var_names.get_indexer(list(genes)) < 0).sum())
    if not n_missing:
        return ""
    return f"{n_missing} of the model's {len(genes)} genes are missing in the data and count as zero."


def _batches(
    adata: AnnData, key: str | None, known: Sequence[str] | None
) -> tuple[tuple[str, ...], NDArray[np.int64] | None]:
    """Return the names of the batches, and the index of each cell's batch among them."""
    if key is None:
        return (), None
    batches = batches_of(adata, key)
    names = tuple(batches.categories if known is None else known)
    return names, batch_codes(batches, names, key)


def counts_for(adata: AnnData, model: SCRAE, *, min_overlap: float) -> CountData:
    """Return the counts aligned to a model's genes, on its device, and note missing genes."""
    device = model.library_mean.device
    data = count_data(adata, genes=model.genes, min_overlap=min_overlap, device=device)
    if message := missing_genes(adata, model.genes):
        add_note(adata, message)
    return data
