"""Marker genes as dots, as a heatmap or as violins."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import sparse

from scrae.errors import ScraeError
from scrae.pl._colors import category_colors, category_column
from scrae.pl._draw import INK, label_axes, new_axes, shorten
from scrae.pl._tables import dot_plot
from scrae.tl._markers import shown

__all__ = ["markers"]


def markers(
    adata: AnnData,
    *,
    kind: Literal["dots", "heatmap", "violins"] = "dots",
    n_genes: int = 4,
    cluster_key: str = "scrae",
    all_genes: bool = False,
) -> NDArray[np.object_]:
    """Draw the best marker genes of every cluster.

    Parameters
    ----------
    adata : AnnData
        After :func:`scrae.tl.markers`, with log-normalized values in ``X``.
    kind : {"dots", "heatmap", "violins"}
        ``dots``: area is the fraction of the cells with the gene, shade the mean scaled within each gene. ``heatmap``:
        mean of each cluster, standardized within each gene. ``violins``: distribution in each cluster, one panel for
        each gene.
    n_genes : int
        Genes of each cluster; a gene of several clusters is drawn once.
    cluster_key : str
        Column of ``obs`` with the clusters.
    all_genes : bool
        Draw also ribosomal, mitochondrial, hemoglobin and stress response genes.

    Returns
    -------
    numpy.ndarray
        The axes in one figure, shape [panels]: one for dots and heatmap, one per gene for violins.

    Raises
    ------
    ScraeError
        If there is no marker table of these clusters, or no significant gene in it.

    Examples
    --------
    >>> axes = scrae.pl.markers(adata, n_genes=2)
    >>> axes = scrae.pl.markers(adata, kind="heatmap", n_genes=2)
    >>> axes = scrae.pl.markers(adata, kind="violins", n_genes=1)
    """
    table = adata.uns.get(cluster_key, {}).get("markers")
    if table is None:
        raise ScraeError(
            f"expected markers in uns[{cluster_key!r}], found none; call "
            f"scrae.tl.markers(adata{'' if cluster_key == 'scrae' else f', cluster_key={cluster_key!r}'}) first"
        )
    best = shown(table, all_genes=all_genes).groupby("cluster", observed=True, sort=True).head(n_genes)
    genes = list(dict.fromkeys(best["gene"]))
    if not genes:
        raise ScraeError("expected significant markers, found none; the clusters may not differ")
    column = category_column(adata, cluster_key)
    x = sparse.csr_matrix(adata[:, genes].X).toarray().astype(np.float64)
    if kind == "violins":
        return _violins(x, genes, column, category_colors(adata, cluster_key))
    groups = [x[column.codes == code] for code in range(len(column.categories))]
    mean, share = (
        pd.DataFrame([row(group) for group in groups], index=list(column.categories), columns=genes)
        for row in (_mean, lambda group: _mean(group > 0))
    )
    return np.array([dot_plot(share, mean) if kind == "dots" else _heatmap(mean)], dtype=object)


def _mean(group: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(group.mean(axis=0) if len(group) else np.zeros(group.shape[1]), dtype=np.float64)


def _heatmap(mean: pd.DataFrame) -> Axes:
    values = mean.to_numpy()
    spread = values.std(axis=0)
    scaled = (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1)
    n_clusters, n_genes = mean.shape
    ax = new_axes(1.8 + 0.2 * n_genes, 1.2 + 0.22 * n_clusters)
    limit = float(np.abs(scaled).max()) or 1.0
    image = ax.imshow(scaled, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    label_axes(ax, "", "cluster")
    names = [shorten(gene, 24) for gene in mean.columns]
    ax.set_xticks(range(n_genes), names, rotation=90, style="italic", parse_math=False)
    ax.set_yticks(range(n_clusters), [shorten(str(name), 24) for name in mean.index], parse_math=False)
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.8, pad=0.02)
    bar.set_label("mean, standardized per gene", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return ax


def _violins(
    x: NDArray[np.float64], genes: list[str], column: pd.Categorical, colors: list[str]
) -> NDArray[np.object_]:
    figure = Figure(
        figsize=(1.6 + 0.35 * len(column.categories), 0.9 * len(genes) + 0.5), layout="constrained"
    )
    axes: NDArray[np.object_] = figure.subplots(len(genes), 1, sharex=True, squeeze=False).ravel()
    filled = [code for code in range(len(column.categories)) if (column.codes == code).sum() > 1]
    for at, (ax, gene) in enumerate(zip(axes, genes, strict=True)):
        label_axes(ax, "cluster" if at == len(genes) - 1 else "", shorten(gene, 16))
        ax.yaxis.label.set_style("italic")
        for code in filled:
            values = x[column.codes == code, at]
            if np.ptp(values) > 0:
                body = ax.violinplot([values], positions=[code], widths=0.85, showextrema=False)["bodies"][0]
                body.set(facecolor=colors[code], edgecolor=INK, linewidth=0.4, alpha=0.9)
            else:
                ax.plot([code - 0.3, code + 0.3], 2 * [values[0]], color=colors[code])
        ax.set_ylim(bottom=0)
    names = [shorten(name, 16) for name in column.categories]
    axes[-1].set_xticks(range(len(names)), names, rotation=90, parse_math=False)
    return axes
