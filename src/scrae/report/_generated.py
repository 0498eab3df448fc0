"""Simulated cells beside the measured ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.figure import Figure

from scrae import pl, tl
from scrae.cluster.neighbors import NeighborIndex
from scrae.cluster.transfer import vote
from scrae.core.model import SCRAE
from scrae.core.model_io import load
from scrae.errors import ScraeError
from scrae.pl import category_column
from scrae.report._format import chart
from scrae.report._run import Run

__all__ = ["generated_view"]

_NEIGHBORS = 5


def generated_view(run: Run, folder: Path, n_cells: int) -> dict[str, Any] | None:
    """Simulate cells with the run's model, and return the map of both and the shares of the clusters.

    The simulated counts are encoded as measured ones are. A simulated cell lies at the median position of the
    five measured cells with the nearest codes, and has the cluster of most of its 15 nearest.

    Parameters
    ----------
    run : Run
        A finished run.
    folder : Path
        Its folder, with the model.
    n_cells : int
        Number of cells to simulate; 0: none.

    Returns
    -------
    dict or None
        None if no cells are asked for.

    Raises
    ------
    ScraeError
        The run has no clusters, codes or two-dimensional embedding, or as :func:`scrae.load` and
        :func:`scrae.tl.generate`.
    """
    if not n_cells:
        return None
    basis = next((key for key in pl.BASES if key in run.adata.obsm and key != "X_scrae"), None)
    if basis is None or "X_scrae" not in run.adata.obsm or not run.has_clusters:
        raise ScraeError("generate: expected a run with codes, clusters and a map, found none; use scrae run")
    model = load(folder / "model")
    made = _simulate(model, run, n_cells)
    codes, known = model.encode(tl.count_data(made, genes=model.genes)), run.adata.obsm["X_scrae"]
    nearest = NeighborIndex(known).search(codes, min(_NEIGHBORS, len(known)))[1]
    clusters = category_column(run.adata, "scrae")
    made.obsm[basis] = np.median(np.asarray(run.adata.obsm[basis])[nearest], axis=1)
    made.obs["scrae"] = pd.Categorical.from_codes(
        vote(codes, known, clusters.codes.astype(np.int64)), clusters.categories
    )
    made.uns["scrae_colors"] = pl.category_colors(run.adata, "scrae")
    axes = Figure(figsize=(12, 5), layout="constrained").subplots(1, 2)
    for ax, cells, title in zip(axes, (run.adata, made), ("measured", "simulated"), strict=True):
        pl.embedding(cells, basis, color="scrae", ax=ax)
        if cells is not made and (legend := ax.get_legend()) is not None:
            legend.remove()  # one serves both
        ax.set_title(f"{cells.n_obs:,} {title} cells", fontsize=11)
    shares = [column.value_counts(normalize=True) for column in (pd.Series(clusters), made.obs["scrae"])]
    return {
        "plot": chart(axes[0], "Measured and simulated cells", "The same map, colored by cluster."),
        "n_cells": n_cells,
        "rows": [(str(name), *(float(share[name]) for share in shares)) for name in clusters.categories],
        "difference": float(abs(shares[0] - shares[1]).sum() / 2),
    }


def _simulate(model: SCRAE, run: Run, n_cells: int) -> AnnData:
    """Simulate cells; of a model with batches, from each batch as many as its share of the measured cells."""
    seed = int(run.record.get("seed") or 0)
    if not model.batch_names:
        return tl.generate(model, n_cells, seed=seed)
    shares = run.adata.obs[run.record["batch_key"]].astype(str).value_counts(normalize=True)
    ends = np.rint(np.cumsum([0, *(shares.get(name, 0) for name in model.batch_names)]) * n_cells).astype(int)
    parts = [
        tl.generate(model, int(n), batch=name, seed=seed)
        for name, n in zip(model.batch_names, np.diff(ends), strict=True)
        if n
    ]
    return anndata.concat(parts, index_unique="-", keys=[str(i) for i in range(len(parts))])
