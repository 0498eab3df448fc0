"""Which genes the model looks at, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from scrae.errors import ScraeError
from scrae.io.lazy import in_blocks
from scrae.pl._draw import ACCENT, INK, MUTED, literal, new_axes, run_facts, tidy

__all__ = ["GenePoints", "gene_points", "gene_selection"]

DROPOUT_METHODS = ("m3drop", "nbumi")
_MEANS = {  # where it is no mean of counts
    "seurat": "log1p of the mean per cell",
    "cell_ranger": "mean log-normalised value",
    "scmarker": "mean log-normalised value",
}


@dataclass(frozen=True, kw_only=True)
class GenePoints:
    """Genes as points; genes that no cell expresses are left out. All arrays are [points]."""

    names: NDArray[np.object_]
    mean: NDArray[np.float64]
    mean_name: str
    statistic: NDArray[np.float64]
    statistic_name: str
    expected: NDArray[np.float64] | None
    """The statistic that the null model expects at each mean; None where there is no null model."""
    selected: NDArray[np.bool_]
    rank: NDArray[np.int64]
    """0 is best."""

    @property
    def log_statistic(self) -> bool:
        """Whether the statistic is positive, no rate, and spans more than two orders of magnitude."""
        low, high = (self.statistic.min(), self.statistic.max()) if len(self.statistic) else (0.0, 0.0)
        return bool(low > 0 and high > 1 and high > 100 * low)


def gene_points(adata: AnnData) -> GenePoints:
    """Collect what ``pp.select_genes`` left in ``var`` and ``uns["scrae"]["gene_selection"]``.

    Where ``uns["scrae"]["genes"]`` has all genes, as after ``pp.preprocess_backed``, it takes the place of ``var``.
    What is not there (mean, drop-out rate) is counted from ``layers["counts"]``; without any statistic of its own the
    method's score takes its place.

    Raises
    ------
    ScraeError
        When no genes were selected yet.
    """
    genes: pd.DataFrame = adata.uns.get("scrae", {}).get("genes", adata.var)
    if "scrae_selected" not in genes:
        raise ScraeError('expected var["scrae_selected"], found none; run scrae.pp.select_genes first')
    facts = run_facts(adata, "gene_selection")
    mean = _per_gene(facts, "mean", len(genes))
    mean_name = _MEANS.get(str(facts.get("method")), "mean per cell")
    if mean is None:
        mean, mean_name = np.asarray(_counts(adata).mean(axis=0), dtype=np.float64).ravel(), "mean per cell"
    score = np.asarray(genes.get("scrae_score", np.zeros(len(genes))), dtype=np.float64)
    rank = np.asarray(genes.get("scrae_rank", np.argsort(np.argsort(-score, kind="stable"))), dtype=np.int64)
    statistic, name, expected = _statistic(adata, facts, mean, score)
    shown = (mean > 0) & np.isfinite(statistic)
    return GenePoints(
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


def _statistic(
    adata: AnnData, facts: Mapping[str, Any], mean: NDArray[np.float64], score: NDArray[np.float64]
) -> tuple[NDArray[np.float64], str, NDArray[np.float64] | None]:
    n_genes = len(mean)
    expected = _per_gene(facts, "expected", n_genes)
    if (statistic := _per_gene(facts, "statistic", n_genes)) is not None:
        return statistic, str(facts.get("statistic_name", "statistic")), expected
    if facts.get("batch_key") is not None:
        return -score, "median rank over the batches (0 is best)", None
    if (dropout := _per_gene(facts, "dropout_rate", n_genes)) is not None or facts.get(
        "method"
    ) in DROPOUT_METHODS:
        if dropout is None:
            counts = _counts(adata)
            dropout = 1.0 - np.asarray(counts.getnnz(axis=0), dtype=np.float64) / max(counts.shape[0], 1)
        if expected is None and "K" in facts:
            expected = float(facts["K"]) / (float(facts["K"]) + mean)  # Michaelis-Menten
        return dropout, "drop-out rate", expected
    if (dispersion := _per_gene(facts, "dispersion", n_genes)) is not None:
        return dispersion, "dispersion", expected
    return score, "score", expected


def _per_gene(facts: Mapping[str, Any], name: str, n_genes: int) -> NDArray[np.float64] | None:
    """Return the array of that name if there is one with a value for each gene of the AnnData."""
    values = np.asarray(facts.get(name, ()), dtype=np.float64)
    return values if values.shape == (n_genes,) else None


def gene_selection(adata: AnnData, *, ax: Axes | None = None) -> Axes:
    """Draw each gene's mean against the statistic that it was judged by; the selected genes stand out.

    For ``m3drop`` and ``nbumi`` the statistic is the drop-out rate, with the curve that the null model expects;
    for other methods it is their dispersion, variance, deviance or number of partners; over batches the median rank.

    Parameters
    ----------
    adata
        Annotated cells after ``pp.select_genes``.
    ax
        Where to draw; None makes a figure.

    Raises
    ------
    ScraeError
        When no genes were selected yet.
    """
    points = gene_points(adata)
    ax = new_axes(5.2, 4.0) if ax is None else ax
    for mask, color, size, name in (
        (~points.selected, MUTED, 3.0, "other"),
        (points.selected, ACCENT, 5.0, "selected"),
    ):
        ax.scatter(
            points.mean[mask], points.statistic[mask], s=size, color=color, linewidths=0, alpha=0.7, rasterized=True,
            label=f"{int(mask.sum()):,} {name}",
        )  # fmt: skip
    if points.expected is not None:
        order = np.argsort(points.mean)
        ax.plot(points.mean[order], points.expected[order], color=INK, linewidth=1.2, label="expected")
    if len(points.mean):
        ax.set_xscale("log")
        _label_few_decades(ax, points.mean)
    if points.log_statistic:
        ax.set_yscale("log")
    ax.set_xlabel(points.mean_name, fontsize=9)
    literal(ax.yaxis.label, points.statistic_name)
    ax.yaxis.label.set_fontsize(9)
    literal(ax.title, str(run_facts(adata, "gene_selection").get("method", "")))
    ax.title.set_fontsize(10)
    ax.legend(frameon=False, fontsize=8, markerscale=2)
    tidy(ax)
    return ax


def _label_few_decades(ax: Axes, values: NDArray[np.float64]) -> None:
    """Label 1, 2 and 5 of each decade where the axis spans few: powers of ten would be one or none."""
    if values.max() < 100 * values.min():
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
