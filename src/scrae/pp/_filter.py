"""Filter cells and genes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from scrae.config import PreprocessConfig
from scrae.errors import ScraeError, did_you_mean
from scrae.gene_selection._blocks import map_blocks
from scrae.io.notes import add_note
from scrae.pp._counts import counts_of
from scrae.pp._gene_kinds import mitochondrial
from scrae.pp._outliers import mad_summary, outliers

__all__ = ["apply_filters", "cell_statistics", "filter", "record", "samples_of"]

_BINS = 48


def filter(
    adata: AnnData,
    *,
    min_cells: int = PreprocessConfig.min_cells,
    min_genes: int = PreprocessConfig.min_genes,
    min_counts: int | None = None,
    max_mito: float | None = None,
    mito_prefix: str | None = None,
    qc: Literal["mad"] | None = None,
    sample_key: str | None = None,
) -> None:
    """Drop low-quality cells, then genes that few of the remaining cells express, in place.

    A cell that expresses none of the remaining genes is dropped too, unless `min_genes` is 0. The defaults
    are those of the scRAE paper (section 4.2).

    Parameters
    ----------
    adata
        With ``layers["counts"]``, as `scrae.io.read` gives it.
    min_cells
        Keep genes expressed in at least this many cells.
    min_genes
        Keep cells that express at least this many genes.
    min_counts
        Keep cells with at least this many counts. None: no such filter.
    max_mito
        Keep cells with at most this fraction (0 to 1) of their counts in mitochondrial genes, which are known by
        their names in human, mouse, rat, fly, fish, worm and yeast. None: no such filter.
    mito_prefix
        What the names of mitochondrial genes begin with, e.g. ``"chrM:"``. None: the usual names of these species.
    qc
        ``"mad"``: drop also the cells whose counts or genes are more than five scaled median absolute deviations from
        the median of their logarithms, or whose mitochondrial share is more than three above the median and above
        0.05. None: no such filter; ``uns["scrae"]["notes"]`` says how many cells it would drop.
    sample_key
        Column of obs: medians and deviations are those of each sample. None: of all cells.

    Raises
    ------
    ScraeError
        A filter leaves nothing (the message names it and the best cell or gene), a threshold is out of
        range, `max_mito` or `mito_prefix` is given and there are no mitochondrial genes, or no such column.

    Notes
    -----
    Writes ``obs["scrae_n_counts"]``, ``obs["scrae_n_genes"]`` and ``obs["scrae_mito"]``, all over the genes
    before filtering; ``uns["scrae"]["filter"]`` (thresholds, numbers before and after, cells dropped by
    each filter); ``uns["scrae"]["before_filter"]`` (for each of these columns a histogram over all cells that came
    in: ``edges`` [49] and ``cells`` [48]; cells without a count are not in those of the first two, whose edges
    are in equal ratios); and ``uns["scrae"]["notes"]``.

    Examples
    --------
    >>> adata = scrae.datasets.pbmc()
    >>> scrae.pp.filter(adata, min_cells=20)
    >>> adata.shape
    (700, 728)
    """
    counts = [counts_of(adata)]
    kept = apply_filters(
        counts,
        cell_statistics(counts, adata.var_names, mito_prefix),
        adata.var_names,
        min_cells=min_cells,
        min_genes=min_genes,
        min_counts=min_counts,
        max_mito=max_mito,
        mito_prefix=mito_prefix,
        qc=qc,
        samples=samples_of(adata, sample_key),
    )
    record(adata, kept)


def samples_of(adata: AnnData, key: str | None) -> pd.Series | None:
    """Return the column of obs with the sample of each cell; None = one sample."""
    if key is not None and key not in adata.obs:
        raise ScraeError(
            f"sample_key: expected a column of obs, found no {key!r}{did_you_mean(key, adata.obs)}"
        )
    return None if key is None else adata.obs[key]


class Kept(NamedTuple):
    """Result of the filters."""

    cells: NDArray[np.bool_]  # [cells]
    genes: NDArray[np.bool_]  # [genes]
    columns: dict[str, NDArray[Any]]  # columns of obs, [cells] each
    facts: dict[str, Any]  # thresholds and numbers
    before: dict[str, dict[str, NDArray[Any]]]  # histograms of the columns over all cells
    advice: str  # on a filter that was not used; "" = none


def record(adata: AnnData, kept: Kept) -> None:
    """Drop the cells and genes, and write the columns, the facts, the histograms and the note."""
    for name, values in kept.columns.items():
        adata.obs[name] = values
    if not kept.cells.all():
        adata._inplace_subset_obs(kept.cells)
    if not kept.genes.all():
        adata._inplace_subset_var(kept.genes)
    add_note(adata, _summary(kept.facts))
    if kept.advice:
        add_note(adata, kept.advice)
    adata.uns["scrae"]["filter"] = kept.facts
    adata.uns["scrae"]["before_filter"] = kept.before


def cell_statistics(
    blocks: Iterable[sparse.csr_matrix], gene_names: pd.Index, mito_prefix: str | None = None
) -> dict[str, NDArray[Any]]:
    """Return the columns of obs that the filters use, [cells] each; the row blocks are read once."""
    sums = map_blocks(blocks, partial(_sums, mito_genes=mitochondrial(gene_names, mito_prefix)))
    n_counts, n_genes, mito_counts = (np.concatenate(parts) for parts in zip(*sums, strict=True))
    return {
        "scrae_n_counts": n_counts,
        "scrae_n_genes": n_genes,
        "scrae_mito": mito_counts / np.maximum(n_counts, 1),
    }


def apply_filters(
    blocks: Iterable[sparse.csr_matrix],
    columns: dict[str, NDArray[Any]],
    gene_names: pd.Index,
    *,
    min_cells: int,
    min_genes: int = 1,
    min_counts: int | None = None,
    max_mito: float | None = None,
    mito_prefix: str | None = None,
    qc: Literal["mad"] | None = None,
    samples: pd.Series | None = None,
) -> Kept:
    """Apply the filters to the columns of `cell_statistics` and to row blocks of counts, which are read twice."""
    if max_mito is not None and not 0 <= max_mito <= 1:
        raise ScraeError(f"max_mito is a fraction from 0 to 1, found {max_mito}; for 5 % say 0.05.")
    mito_genes = mitochondrial(gene_names, mito_prefix)
    if mito_prefix is not None and not mito_genes.any():
        raise ScraeError(
            f"mito_prefix={mito_prefix!r}: no gene has a name that begins so; "
            f"names are {', '.join(map(str, gene_names[:3]))}, ..."
        )
    if max_mito is not None and not mito_genes.any():
        raise ScraeError(
            "max_mito is given, but no gene has the name of a mitochondrial one (MT-CO1, mt-Co1, ...); leave it out, "
            "or say with mito_prefix what the names begin with."
        )
    n_counts, n_genes, mito = (columns[name] for name in ("scrae_n_counts", "scrae_n_genes", "scrae_mito"))
    keep = np.ones(n_counts.size, dtype=bool)
    dropped: dict[str, int] = {}
    _apply("min_genes", min_genes, n_genes >= min_genes, n_genes, keep, dropped)
    if min_counts is not None:
        _apply("min_counts", min_counts, n_counts >= min_counts, n_counts, keep, dropped)
    if max_mito is not None:
        _apply("max_mito", max_mito, mito <= max_mito, mito, keep, dropped)
    odd = outliers(columns, samples)
    if qc == "mad":
        dropped["qc"] = int((keep & odd).sum())
        keep &= ~odd
    seen_in = np.zeros(gene_names.size, dtype=np.int64)
    for seen in map_blocks(blocks, _seen_in, keep):
        seen_in += seen
    genes = seen_in >= min_cells
    if not genes.any():
        raise ScraeError(
            f"min_cells={min_cells} leaves no gene: the most frequent one is in {seen_in.max()} cells. Lower it."
        )
    if min_genes > 0:
        expresses = np.concatenate(list(map_blocks(blocks, partial(_expresses, genes=genes))))
        dropped["no_gene_left"] = int((keep & ~expresses).sum())
        keep &= expresses
    facts: dict[str, Any] = {"min_cells": min_cells, "min_genes": min_genes}
    facts |= {"min_counts": min_counts, "max_mito": max_mito, "mito_prefix": mito_prefix, "qc": qc}
    facts |= {"n_cells_before": keep.size, "n_cells_after": int(keep.sum())}
    facts |= {"n_genes_before": genes.size, "n_genes_after": int(genes.sum())}
    facts |= {"n_mito_genes": int(mito_genes.sum()), "cells_dropped": dropped}
    before = {name: _histogram(values, log=name != "scrae_mito") for name, values in columns.items()}
    advice = (
        f"Quality: {mad_summary(columns, samples)}; --qc mad drops them." if qc is None and odd.any() else ""
    )
    return Kept(keep, genes, columns, facts, before, advice)


def _histogram(values: NDArray[Any], *, log: bool) -> dict[str, NDArray[Any]]:
    if log:
        values = values[values > 0]
    low, high = (float(values.min()), float(values.max())) if values.size else (1.0, 1.0)
    if log:
        edges = np.geomspace(low, max(high, 1.01 * low), _BINS + 1)
    else:
        edges = np.linspace(low, max(high, low + 0.01), _BINS + 1)
    return {"edges": edges, "cells": np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]}


def _sums(
    counts: sparse.csr_matrix, mito_genes: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Counts, expressed genes and mitochondrial counts of each cell."""
    n_counts = np.asarray(counts.sum(axis=1, dtype=np.int64)).ravel()
    mito_counts = np.asarray(counts[:, mito_genes].sum(axis=1, dtype=np.int64)).ravel()
    return n_counts, counts.getnnz(axis=1).astype(np.int64), mito_counts


def _seen_in(counts: sparse.csr_matrix, kept: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Number of kept cells that express each gene."""
    return counts[kept].getnnz(axis=0).astype(np.int64)


def _expresses(counts: sparse.csr_matrix, genes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mask of the cells that express any of these genes."""
    return np.asarray(counts[:, genes].getnnz(axis=1) > 0)


def _apply(
    name: str,
    threshold: float,
    passes: NDArray[np.bool_],
    values: NDArray[Any],
    keep: NDArray[np.bool_],
    dropped: dict[str, int],
) -> None:
    """Remove the cells that fail one filter from `keep` and count them in `dropped`, both in place."""
    if not (keep & passes).any():
        best = values[keep].min() if name.startswith("max") else values[keep].max()
        way = "Raise" if name.startswith("max") else "Lower"
        raise ScraeError(
            f"{name}={threshold} leaves no cell: the best remaining cell has {best:g}. {way} it."
        )
    dropped[name] = int((keep & ~passes).sum())
    keep &= passes


def _summary(facts: dict[str, Any]) -> str:
    cells = facts["n_cells_before"] - facts["n_cells_after"]
    genes = facts["n_genes_before"] - facts["n_genes_after"]
    reasons = ", ".join(f"{number} by {name}" for name, number in facts["cells_dropped"].items() if number)
    reasons = f" ({reasons})" if reasons else ""
    return (
        f"Filter: dropped {cells} of {facts['n_cells_before']} cells{reasons} "
        f"and {genes} of {facts['n_genes_before']} genes (expressed in fewer than {facts['min_cells']} cells)."
    )
