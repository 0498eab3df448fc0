"""Gene selection: mean against the statistic of the method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from scrae.errors import ScraeError
from scrae.io.lazy import in_blocks
from scrae.pl._draw import ACCENT, INK, MUTED, label_axes, label_decades, new_axes, run_facts

__all__ = ["gene_selection"]

RASTER_ABOVE = 5_000  # genes
METHODS = {
    "m3drop": "M3Drop",
    "nbumi": "NBumi, drop-outs",
    "nbumi_high_variance": "NBumi, high variance",
    "seurat": "Seurat, dispersion",
    "cell_ranger": "Cell Ranger, dispersion",
    "seurat_v3": "Seurat v3, variance",
    "pearson_residuals": "Pearson residuals",
    "deviance": "binomial deviance",
    "scmarker": "SCMarker",
}
MEANS = {  # of the methods that do not work on the mean count
    "seurat": "log1p of the mean per cell",
    "cell_ranger": "mean log-normalized value",
    "scmarker": "mean log-normalized value",
}


@dataclass(frozen=True, kw_only=True)
class _Genes:
    """Expressed genes; all arrays are [genes]."""

    names: NDArray[np.object_]
    mean: NDArray[np.float64]
    mean_name: str
    statistic: NDArray[np.float64]
    statistic_name: str
    expected: NDArray[np.float64] | None
    """The statistic under the null model; None where the method has none."""
    selected: NDArray[np.bool_]
    rank: NDArray[np.int64]
    """0 is best."""


def _read(adata: AnnData) -> _Genes:
    """Collect the results of ``pp.select_genes``; recompute the means where they belong to other genes."""
    genes: pd.DataFrame = adata.uns.get("scrae", {}).get(
        "genes", adata.var
    )  # all, also after preprocess_backed
    if "scrae_selected" not in genes:
        raise ScraeError('expected var["scrae_selected"], found none; run scrae.pp.select_genes first')
    facts = run_facts(adata, "gene_selection")
    mean, mean_name = (
        _per_gene(facts, "mean", len(genes)),
        MEANS.get(str(facts.get("method")), "mean per cell"),
    )
    if mean is None:
        mean, mean_name = np.asarray(_counts(adata).mean(axis=0), dtype=np.float64).ravel(), "mean per cell"
    score = np.asarray(genes.get("scrae_score", np.zeros(len(genes))), dtype=np.float64)
    rank = np.asarray(genes.get("scrae_rank", np.argsort(np.argsort(-score, kind="stable"))), dtype=np.int64)
    statistic, name = _per_gene(facts, "statistic", len(genes)), str(facts.get("statistic_name", "statistic"))
    if statistic is None and facts.get("batch_key") is not None:
        statistic, name = -score, "median rank over the batches (0 is best)"
    elif statistic is None:
        statistic, name = score, "score"
    expected = _per_gene(facts, "expected", len(genes))
    shown = (mean > 0) & np.isfinite(statistic)
    return _Genes(
        names=genes.index.to_numpy(dtype=object)[shown],
        mean=mean[shown],
        mean_name=mean_name,
        statistic=statistic[shown],
        statistic_name=name,
        expected=None if expected is None else expected[shown],
        selected=genes["scrae_selected"].to_numpy(dtype=bool)[shown],
        rank=rank[shown],
    )


def _counts(adata: AnnData) -> csr_matrix:
    counts = adata.layers.get("counts", adata.X)
    if counts is None or in_blocks(counts):
        raise ScraeError(
            "expected the genes' means or the counts in memory, found neither; run scrae.pp.select_genes again"
        )
    return csr_matrix(counts)


def _per_gene(facts: Mapping[str, Any], name: str, n_genes: int) -> NDArray[np.float64] | None:
    """Return that array if it has one value for each gene of the AnnData."""
    values = np.asarray(facts.get(name, ()), dtype=np.float64)
    return values if values.shape == (n_genes,) else None


def gene_selection(adata: AnnData, *, n_names: int = 0, ax: Axes | None = None) -> Axes:
    """Draw each gene's mean against the statistic of the selection method; selected genes are highlighted.

    The statistic is the drop-out rate for ``m3drop`` and ``nbumi`` (with the curve expected under the null model), the
    dispersion, variance, deviance or number of partners for the other methods, and the median rank over batches.
    Genes that no cell expresses are not drawn.

    Parameters
    ----------
    adata : AnnData
        Annotated cells after ``pp.select_genes``.
    n_names : int, default 0
        Number of the best genes to name in the plot; names that would overlap are skipped.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ScraeError
        If no genes were selected yet.

    Examples
    --------
    >>> ax = scrae.pl.gene_selection(adata, n_names=12)
    """
    genes = _read(adata)
    ax = new_axes(6.0, 4.0) if ax is None else ax
    for mask, color, size, name in (
        (~genes.selected, MUTED, 4.0, "other"), (genes.selected, ACCENT, 7.0, "selected"),
    ):  # fmt: skip
        ax.scatter(
            genes.mean[mask], genes.statistic[mask], s=size, color=color, linewidths=0, alpha=0.7,
            rasterized=len(genes.mean) > RASTER_ABOVE, label=f"{int(mask.sum()):,} {name}",
        )  # fmt: skip
    if genes.expected is not None:
        order = np.argsort(genes.mean)
        order = (
            order[np.linspace(0, len(order) - 1, min(len(order), 400)).astype(int)] if len(order) else order
        )
        ax.plot(genes.mean[order], genes.expected[order], color=INK, linewidth=1.2, label="expected")
    if len(genes.mean):
        ax.set_xscale("log")
        label_decades(ax.xaxis, genes.mean)
        low, high = genes.statistic.min(), genes.statistic.max()
        if low > 0 and high > 1 and high > 100 * low:  # no rate, and more than two orders of magnitude
            ax.set_yscale("log")
            label_decades(ax.yaxis, genes.statistic)
    method = str(run_facts(adata, "gene_selection").get("method", ""))
    title = f"Gene selection: {METHODS.get(method, method)}" if method else "Gene selection"
    label_axes(ax, genes.mean_name, genes.statistic_name, title)
    ax.legend(frameon=False, fontsize=8, markerscale=2, labelcolor=INK)
    _write_names(ax, genes, n_names)
    return ax


def _write_names(ax: Axes, genes: _Genes, n_names: int) -> None:
    """Name the best selected genes, each only where no other name stands."""
    if not n_names:
        return
    figure, legend = ax.get_figure(root=True), ax.get_legend()
    assert figure is not None
    assert legend is not None
    figure.draw_without_rendering()  # lays out the axes
    taken = [legend.get_window_extent()]
    for i in np.argsort(genes.rank)[: 10 * n_names]:
        if len(taken) > n_names or not genes.selected[i]:
            continue
        at = genes.mean[i], genes.statistic[i]
        left = ax.transData.transform(at)[0] > ax.bbox.x0 + 0.85 * ax.bbox.width
        text = ax.annotate(
            str(genes.names[i]), at, xytext=(-4 if left else 4, 0), textcoords="offset points", va="center",
            ha="right" if left else "left", fontsize=7.5, style="italic", color=INK, parse_math=False,
        )  # fmt: skip
        text.set_in_layout(False)
        place = text.get_window_extent().padded(1)
        if any(place.overlaps(other) for other in taken) or place.y1 > ax.bbox.y1:
            text.remove()
        else:
            taken.append(place)
