"""Sections on the result: headline, scatter plot, clusters, markers and labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from scrae import pl
from scrae.pl import category_colors, category_column, cross_table
from scrae.report._format import chart, duration, number
from scrae.report._levels import level_data
from scrae.report._markers import Expression, choose_genes
from scrae.report._points import scatter_data, subsample
from scrae.report._run import Run
from scrae.tl._codes import is_chosen

__all__ = ["cluster_rows", "headline", "label_view", "marker_view", "scatter_view", "title_of"]

N_COLOR_GENES = 50  # genes by which the scatter plot can be colored
N_DOT_GENES = 40
SCORES = {
    "nmi": ("NMI", "normalized mutual information, geometric mean"),
    "ari": ("ARI", "adjusted Rand index"),
    "ami": ("AMI", "adjusted mutual information"),
    "homogeneity": ("Homogeneity", "each cluster holds one label"),
    "completeness": ("Completeness", "each label lies in one cluster"),
}


class Tile(NamedTuple):
    """A number in large type."""

    value: str
    name: str
    detail: str


def title_of(run: Run) -> str:
    """Return the names of the input files."""
    path = (run.record.get("input") or {}).get("path") or "result.h5ad"
    return ", ".join(PurePath(str(part)).name for part in (path if isinstance(path, list) else [path]))


def headline(run: Run) -> list[Tile]:
    """Return the numbers at the top of the page."""
    adata, given = run.adata, run.record.get("input") or {}
    tiles = [Tile(f"{adata.n_obs:,}", "cells", _of(adata.n_obs, given.get("n_cells")))]
    for key, name in (("scrae_n_counts", "counts per cell"), ("scrae_n_genes", "genes per cell")):
        if (values := run.column(key)) is not None:
            tiles.append(Tile(number(round(float(np.nanmedian(values)))), name, "median"))
    if run.has_clusters:
        n_clusters = len(category_column(adata, "scrae").categories)
        how = "chosen without labels" if is_chosen(run.part("clusters")) else "as asked"
        tiles.append(Tile(f"{n_clusters:,}", "clusters", how if run.part("clusters") else ""))
    scores = run.part("scores")
    tiles.extend(
        Tile(f"{float(scores[key]):.3f}", SCORES[key][0], "against the labels")
        for key in ("nmi", "ari")
        if scores.get(key) is not None
    )
    seconds = run.record.get("seconds")
    if isinstance(seconds, Mapping) and seconds:
        where = f"on {run.record['device']}" if run.record.get("device") else ""
        tiles.append(Tile(duration(sum(map(float, seconds.values()))), "run time", where))
    return tiles


def _of(part: int, whole: Any) -> str:
    return f"of {int(whole):,}" if whole and int(whole) != part else ""


def scatter_view(run: Run, markers: Mapping[str, pd.DataFrame]) -> dict[str, Any] | None:
    """Return the data of the scatter plot; None where there is no two-dimensional embedding."""
    groups = {"scrae": "Cluster"} if run.has_clusters else {}
    if run.label_key is not None:
        groups[run.label_key] = f"Label ({run.label_key})"
    batch_key = run.record.get("batch_key")
    name = "Suggested name" if "annotation" in run.facts else "Name"
    for key, title in (("scrae_name", name), (batch_key, f"Batch ({batch_key})"), ("sample", "Sample")):
        if isinstance(key, str) and key in run.adata.obs:
            groups.setdefault(key, title)
    data = scatter_data(run.adata, groups, choose_genes(markers, N_COLOR_GENES))
    if not data["bases"]:
        return None
    if run.has_clusters:
        names = {row["cluster"]: row["name"] for row in run.rows("annotation") if row["name"] != "unknown"}
        data["groups"][0]["suggested"] = [names.get(name, "") for name in data["groups"][0]["categories"]]
    n_genes = len(data["genes"]["names"])
    data["levels"] = level_data(run, subsample(run.adata), data["genes"]["names"])
    return {"data": data, "n_shown": data["n"], "n_cells": run.adata.n_obs, "n_genes": n_genes}


def cluster_rows(run: Run, markers: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """Return the rows of the table of clusters."""
    if not run.has_clusters:
        return []
    column = category_column(run.adata, "scrae")
    colors = category_colors(run.adata, "scrae")
    sizes = np.bincount(column.codes[column.codes >= 0], minlength=len(column.categories))
    keys = [key for key in (run.label_key, "sample") if key is not None and key in run.adata.obs]
    suggested = {row["cluster"]: row for row in run.rows("annotation")}
    named = "scrae_name" in run.adata.obs and not suggested
    given = _main_of(run, "scrae_name") if named else []
    main = {key: _main_of(run, key) for key in keys}
    rows = []
    for code, name in enumerate(column.categories):
        cells = column.codes == code
        genes = markers[name]["gene"].head(5).tolist() if name in markers else []
        rows.append(
            {
                "name": name,
                "title": entry[0] if given and (entry := given[code]) and entry[0] != name else "",
                "color": colors[code],
                "size": int(sizes[code]),
                "share": float(sizes[code] / max(run.adata.n_obs, 1)),
                "bar": float(sizes[code] / max(sizes.max(), 1)),
                "counts": _median(run, "scrae_n_counts", cells),
                "genes": _median(run, "scrae_n_genes", cells),
                "label": main[run.label_key][code] if run.label_key in main else None,
                "sample": main["sample"][code] if "sample" in main else None,
                "markers": genes,
                "suggested": suggested.get(name),
            }
        )
    return rows


def _median(run: Run, key: str, cells: np.ndarray[Any, np.dtype[np.bool_]]) -> str | None:
    values = run.column(key)
    return None if values is None or not cells.any() else number(round(float(np.nanmedian(values[cells]))))


def _main_of(run: Run, key: str) -> list[tuple[str, float] | None]:
    """Return for each cluster the most frequent category of ``obs[key]`` and its share of the cluster's cells."""
    clusters, column = category_column(run.adata, "scrae"), category_column(run.adata, key)
    known = (clusters.codes >= 0) & (column.codes >= 0)
    table = np.zeros((len(clusters.categories), len(column.categories)))
    np.add.at(table, (clusters.codes[known], column.codes[known]), 1)
    return [
        (column.categories[int(row.argmax())], float(row.max() / row.sum())) if row.sum() else None
        for row in table
    ]


def marker_view(expression: Expression, markers: Mapping[str, pd.DataFrame]) -> dict[str, Any] | None:
    """Return the dot plot and one table per cluster; None where no cluster could be tested."""
    if not markers:
        return None
    names = expression.clusters
    chosen = choose_genes(markers, max(N_DOT_GENES, len(names)))
    genes = sorted(chosen, key=lambda gene: names.index(chosen[gene]))
    at = expression.genes.get_indexer(pd.Index(genes))
    rows = [f"cluster {name}" for name in names]
    share, mean = (
        pd.DataFrame(values[:, at], index=rows, columns=genes)
        for values in (expression.share, expression.mean)
    )
    words = f"{len(genes)} marker genes in {len(names)} clusters; the tables below hold the numbers."
    plot = chart(pl.dot_plot(share, mean), "Dot plot of marker genes", words)
    tables = [
        {"name": name, "genes": table["gene"].head(8).tolist(), "rows": table.to_dict("records")}
        for name, table in markers.items()
    ]
    return {"plot": plot, "tables": tables}


def label_view(run: Run) -> dict[str, Any] | None:
    """Return scores and the table of labels against clusters; None where the run had no labels."""
    scores = [
        Tile(f"{float(run.part('scores')[key]):.3f}", name, detail)
        for key, (name, detail) in SCORES.items()
        if run.part("scores").get(key) is not None
    ]
    if run.label_key is None or not run.has_clusters:
        return {"key": None, "scores": scores} if scores else None
    table = cross_table(run.adata, run.label_key)
    rows = [
        {"name": name, "size": int(row.sum()), "cells": [(int(n), float(n / row.sum())) for n in row]}
        for name, row in zip(table.index, table.to_numpy(), strict=True)
    ]
    return {"key": run.label_key, "scores": scores, "clusters": list(table.columns), "rows": rows}
