"""Sections on the method: number of clusters, training, genes, quality control and the record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from scrae import pl
from scrae.errors import ScraeError
from scrae.pp._outliers import NAMES, mad_summary
from scrae.report._format import chart, duration, number, setting, spaced
from scrae.report._run import Run
from scrae.tl._codes import is_chosen

__all__ = ["ROUGH", "disagreement", "gene_view", "k_view", "quality_view", "record_view", "training_view"]

ROBUST, ROUGH = 1.2, 1.5
"""Largest ratio between the number of clusters chosen and that of a run of Leiden."""
METHODS = {
    "gmm": "a Gaussian mixture on the latent representation",
    "kmeans": "K-means on the latent representation",
    "leiden": "Leiden on the neighbor graph",
    "smoothed": "K-means on the latent representation, averaged over neighboring cells",
}
FILTERS = ("min_genes", "min_counts", "max_mito", "qc", "min_cells")


def k_view(run: Run) -> dict[str, Any] | None:
    """Return how the number of clusters was chosen; None where it was not recorded."""
    clusters = run.part("clusters")
    if "n_clusters" not in clusters:
        return None
    k, method = int(clusters["n_clusters"]), str(clusters.get("method", "clustering"))
    runs = np.atleast_1d(np.asarray(clusters.get("runs", ()), dtype=np.int64)).tolist()
    return {
        "k": k,
        "method": METHODS.get(method, method),
        "chosen": is_chosen(clusters),
        "confidence": _confidence(k, runs) if runs else None,
    }


def disagreement(k: int, runs: list[int]) -> float:
    """Return the largest ratio between ``k`` and the number of clusters of a run, at least 1."""
    return max(max(runs) / k, k / min(runs))


def _confidence(k: int, runs: list[int]) -> str:
    """Describe how far the runs of Leiden agree on the number."""
    found = f"{len(runs)} runs of Leiden give {', '.join(map(str, runs[:-1]))} and {runs[-1]}."
    if disagreement(k, runs) <= ROBUST:
        return found
    if disagreement(k, runs) <= ROUGH:
        return f"The choice is approximate: {found} Check the markers before you split or merge clusters."
    return (
        f"The choice is uncertain: {found} "
        "The data do not determine the number of clusters; choose it by the question you ask."
    )


def training_view(run: Run) -> dict[str, Any] | None:
    """Return one chart per loss, and why training stopped; None where there is no history."""
    history, train = run.part("history"), run.part("train")
    try:
        titles = [ax.get_title() for ax in pl.history(run.adata)]
    except ScraeError:
        return None
    length = max(np.size(values) for values in history.values())
    charts = []
    for title in titles:
        (ax,) = pl.history(run.adata, panels=[title])
        lines = {str(line.get_label()): line.get_ydata() for line in ax.lines}
        lines.pop("kept weights", None)
        ends = "; ".join(
            f"{name + ' ' if len(lines) > 1 else ''}from {number(y[0])} to {number(y[-1])}"
            for name, values in lines.items()
            if len(y := np.asarray(values)[np.isfinite(values)])
        )
        charts.append(chart(ax, title, f"Over {length} epochs: {ends}."))
    stopped = train.get("stopped_because", run.record.get("stopped_because"))
    epochs, best = int(train.get("epochs", length)), train.get("best_epoch")
    return {"charts": charts, "epochs": epochs, "best": best, "stopped": stopped}


def gene_view(run: Run) -> dict[str, Any] | None:
    """Return the plot of the gene selection; None where no genes were selected."""
    try:
        ax = pl.gene_selection(run.adata, n_names=12)
    except ScraeError:
        return None
    statistic, var = ax.get_ylabel(), run.adata.var
    selected = var.index[var["scrae_selected"].to_numpy(dtype=bool)]
    if "scrae_rank" in var:
        selected = var.loc[selected, "scrae_rank"].sort_values(kind="stable").index
    words = f"{statistic} against {ax.get_xlabel()}; {len(selected):,} genes are selected."
    return {
        "method": ax.get_title().partition(": ")[2],
        "n_selected": len(selected),
        "n_genes": run.n_genes,
        "has_curve": bool(ax.lines),
        "statistic": statistic,
        "best": [str(gene) for gene in selected[:20]],
        "plot": chart(ax, ax.get_title(), words),
    }


def quality_view(run: Run) -> dict[str, Any]:
    """Return cells and genes before and after the filters, the filters' settings, and histograms of cells."""
    rows = []
    given, filtered = run.record.get("input") or {}, run.part("filter")
    for what, after in (("cells", run.adata.n_obs), ("genes", run.n_genes)):
        before = int(filtered.get(f"n_{what}_before", given.get(f"n_{what}", after)))
        rows.append({"what": what, "before": before, "after": after, "removed": before - after})
    charts = []
    for key in ("scrae_n_counts", "scrae_n_genes", "scrae_mito"):
        if (values := run.column(key)) is not None:
            (ax,) = pl.quality(run.adata, panels=[key])
            name = ax.get_xlabel()
            middle = np.nanmedian(values) * (100 if key == "scrae_mito" else 1)
            charts.append(chart(ax, f"Histogram of {name}", f"Median of the cells kept: {number(middle)}."))
    dropped = filtered.get("cells_dropped", {})
    settings = [
        {
            "name": spaced(name),
            "value": setting(filtered[name]),
            "removed": f"{int(dropped[name]):,}" if name in dropped else "",
        }
        for name in FILTERS
        if filtered.get(name) is not None
    ]
    view = {"rows": rows, "charts": charts, "settings": settings, "notes": run.texts("notes")}
    return view | {"violins": _violins(run)}


def _violins(run: Run) -> dict[str, Any] | None:
    """Return the plot of the measures by sample, and what the limits would drop; None where a measure is missing."""
    obs = run.adata.obs
    keys = (run.record.get("batch_key"), "sample")
    sample_key = next((str(key) for key in keys if key is not None and key in obs), None)
    try:
        axes = pl.qc(run.adata, sample_key=sample_key)
    except ScraeError:
        return None
    columns = {key: obs[key].to_numpy(dtype=np.float64) for key in NAMES}
    summary = mad_summary(columns, None if sample_key is None else obs[sample_key].astype(object))
    title = "Quality measures by sample" if sample_key else "Quality measures"
    plot = chart(axes[0], title, f"Violins with the limits for outliers: {summary}.")
    return {"plot": plot, "summary": summary, "key": sample_key}


def record_view(run: Run) -> dict[str, Any]:
    """Return settings, versions, seed, durations and the input's checksum."""
    record, config, given = run.record, run.record.get("config") or {}, run.record.get("input") or {}
    groups = {key: value for key, value in config.items() if isinstance(value, Mapping)}
    loose = {key: value for key, value in config.items() if not isinstance(value, Mapping)}
    seconds = {str(key): float(value) for key, value in (record.get("seconds") or {}).items()}
    longest = max(seconds.values(), default=1.0) or 1.0
    memory = record.get("peak_memory_mb")
    facts = {
        "Command": record.get("command"),
        "scrae": record.get("version"),
        "Seed": record.get("seed"),
        "Device": record.get("device"),
        "Peak memory": f"{float(memory):,.0f} MB" if memory else None,
        "Input": given.get("path"),
        "Input SHA-256": given.get("sha256"),
    }
    return {
        "facts": [(name, setting(value)) for name, value in facts.items() if value is not None],
        "settings": {
            spaced(group): [(spaced(key), setting(value)) for key, value in values.items()]
            for group, values in (({"run": loose} if loose else {}) | groups).items()
        },
        "seconds": [(spaced(stage), duration(value), value / longest) for stage, value in seconds.items()],
        "versions": [(str(name), str(version)) for name, version in run.part("versions").items()],
    }
