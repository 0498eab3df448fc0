"""The second half of the page: how it was found (number of clusters, training, genes, quality, the record)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup

from scrae.errors import ScraeError
from scrae.pl._genes import gene_points
from scrae.pl._training import panels_of
from scrae.report._charts import Mark, gene_cloud, histogram, lines
from scrae.report._content import duration
from scrae.report._run import Run
from scrae.report._scale import number

__all__ = ["FIRM", "ROUGH", "gene_view", "how_far", "k_view", "quality_view", "record_view", "training_view"]

CRITERIA = {
    "BIC": "BIC (how well one Gaussian a cluster describes the codes, less what its parameters cost; in nats a cell)",
    "mean silhouette": "the mean silhouette width (how much nearer a cell is to its own cluster than to the next)",
}
FIRM, ROUGH = 1.2, 1.5
"""How many times more or fewer clusters than chosen a part of the cells may give."""
METHODS = {
    "gmm": "a mixture of Gaussians on the latent codes",
    "kmeans": "K-means on the latent codes",
    "leiden": "Leiden on the neighbour graph",
    "smoothed": "K-means on latent codes that were averaged over neighbouring cells",
}
FILTERS = ("min_genes", "min_counts", "max_mito", "min_cells")
QUALITY = {  # column of obs: name, factor to show it by, whether the axis is logarithmic
    "scrae_n_counts": ("counts per cell", 1.0, True),
    "scrae_n_genes": ("detected genes per cell", 1.0, True),
    "scrae_mito": ("% mitochondrial counts", 100.0, False),
}


def k_view(run: Run) -> dict[str, Any] | None:
    """Return how the number of clusters came about; None where there is no word on it."""
    clusters = run.part("clusters")
    if "n_clusters" not in clusters:
        return None
    k = int(clusters["n_clusters"])
    method = METHODS.get(str(clusters.get("method")), str(clusters.get("method", "clustering")))
    criterion = clusters.get("criterion")
    candidates = np.atleast_1d(np.asarray(clusters.get("candidates", ()), dtype=np.float64))
    values = np.atleast_1d(np.asarray(clusters.get("values", ()), dtype=np.float64))
    if len(candidates) < 2 or len(candidates) != len(values) or criterion is None:
        return {"k": k, "method": method, "plot": None}
    words = CRITERIA.get(str(criterion), str(criterion))
    plot = lines(
        candidates, {str(criterion): values}, x_label="number of clusters", points=True, width=560, height=240,
        mark=Mark(at=k, word=f"chosen: {k}"),
        summary=f"{criterion} for {candidates.min():.0f} to {candidates.max():.0f} clusters; {k} was chosen.",
    )  # fmt: skip
    pairs = [(f"{c:.0f}", number(v), int(c) == k) for c, v in zip(candidates, values, strict=True)]
    parts = np.atleast_1d(np.asarray(clusters.get("parts", ()), dtype=np.int64)).tolist()
    sure = _how_sure(k, parts) if parts else None
    return {"k": k, "method": method, "criterion": words, "plot": plot, "pairs": pairs, "sure": sure}


def how_far(k: int, parts: list[int]) -> float:
    """Return how many times more or fewer clusters than ``k`` a part gives at most."""
    return max(max(parts) / k, k / min(parts))


def _how_sure(k: int, parts: list[int]) -> str:
    """Say how far random parts of the cells agree on the number."""
    listed = f"{', '.join(map(str, parts[:-1]))} and {parts[-1]}"
    if how_far(k, parts) <= FIRM:
        return f"The choice is firm: {len(parts)} random parts of the cells alone would give {listed}."
    if how_far(k, parts) <= ROUGH:
        return (
            f"The choice is rough: {len(parts)} random parts of the cells alone would give {listed}. "
            "Look at the markers before you trust that two clusters are different, or that one is whole."
        )
    return (
        f"The choice is unsure: {len(parts)} random parts of the cells alone would give {listed}. "
        "The data does not say how many clusters there are; choose by what you want to tell apart."
    )


def training_view(run: Run) -> dict[str, Any] | None:
    """Return one chart a loss, and why training stopped; None where there is no history."""
    history, train = run.part("history"), run.part("train")
    panels = panels_of(history)
    if not panels:
        return None
    length = len(next(iter(next(iter(panels.values())).values())))
    epochs = np.asarray(history.get("epoch", np.arange(length)), dtype=np.float64)
    best = train.get("best_epoch")
    mark = None if best is None else Mark(at=float(best), word=f"epoch {int(best)}")
    names = {"reconstruction": "training cells", "validation": "held-out cells"}
    charts = []
    for title, terms in panels.items():
        ends = "; ".join(
            f"{names.get(term, term)} from {_first(y)} to {_last(y)}" for term, y in terms.items()
        )
        curves = {names.get(term, term): y for term, y in terms.items()}
        chart = lines(
            epochs, curves, x_label="epoch", mark=mark, summary=f"{title} over {length} epochs: {ends}."
        )
        charts.append({"title": title, "plot": chart, "terms": list(curves) if len(curves) > 1 else []})
    stopped = train.get("stopped_because", run.record.get("stopped_because"))
    return {"charts": charts, "epochs": int(train.get("epochs", length)), "best": best, "stopped": stopped}


def _first(values: np.ndarray[Any, np.dtype[np.float64]]) -> str:
    return number(values[np.isfinite(values)][0])


def _last(values: np.ndarray[Any, np.dtype[np.float64]]) -> str:
    return number(values[np.isfinite(values)][-1])


def gene_view(run: Run) -> dict[str, Any] | None:
    """Return the plot of the gene selection; None where no genes were selected."""
    try:
        points = gene_points(run.adata)
    except ScraeError:
        return None
    n_selected = int(run.adata.var["scrae_selected"].sum())
    method = str(run.part("gene_selection").get("method", ""))
    plot = None
    if len(points.names):
        words = f"{points.statistic_name} against mean of {len(points.names):,} genes; {n_selected:,} are selected."
        plot = gene_cloud(points, summary=words)
    best = points.names[np.argsort(points.rank)]
    chosen = set(points.names[points.selected].tolist())
    return {
        "method": method,
        "n_selected": n_selected,
        "n_genes": run.n_genes,
        "has_curve": points.expected is not None,
        "statistic": points.statistic_name,
        "best": [gene for gene in best.tolist() if gene in chosen][:20],
        "plot": plot,
    }


def quality_view(run: Run) -> dict[str, Any]:
    """Return cells and genes before and after the filters, the filters' settings, and histograms of cells."""
    rows = []
    given, filtered = run.record.get("input") or {}, run.part("filter")
    for what, after in (("cells", run.adata.n_obs), ("genes", run.n_genes)):
        before = int(filtered.get(f"n_{what}_before", given.get(f"n_{what}", after)))
        rows.append({"what": what, "before": before, "after": after, "lost": before - after})
    all_cells = run.part("before_filter") if rows[0]["lost"] else {}
    charts: list[Markup] = []
    for key, (name, factor, log) in QUALITY.items():
        values = run.column(key)
        if values is None:
            continue
        values = factor * values
        middle = number(float(f"{np.nanmedian(values):.4g}"))
        summary = f"Histogram of {name}; the median of the cells kept is {middle}."
        earlier = None
        if key in all_cells:
            earlier = factor * np.asarray(all_cells[key]["edges"]), np.asarray(all_cells[key]["cells"])
        charts.append(histogram(values, x_label=name, log=log, summary=summary, before=earlier))
    dropped = filtered.get("cells_dropped", {})
    settings = [
        {
            "name": _words(name),
            "value": _setting(filtered[name]),
            "dropped": f"{int(dropped[name]):,}" if name in dropped else "",
        }
        for name in FILTERS
        if filtered.get(name) is not None
    ]
    notes = run.texts("notes")
    return {
        "rows": rows,
        "charts": charts,
        "has_before": bool(all_cells),
        "settings": settings,
        "notes": notes,
    }


def record_view(run: Run) -> dict[str, Any]:
    """Return settings, versions, seed, times and the input's checksum."""
    record = run.record
    config = record.get("config") or {}
    groups = {key: value for key, value in config.items() if isinstance(value, Mapping)}
    loose = {key: value for key, value in config.items() if not isinstance(value, Mapping)}
    settings = {**({"run": loose} if loose else {}), **groups}
    seconds = {str(key): float(value) for key, value in (record.get("seconds") or {}).items()}
    longest = max(seconds.values(), default=1.0) or 1.0
    facts = [
        ("Command", record.get("command")),
        ("scrae", record.get("version")),
        ("Seed", record.get("seed")),
        ("Device", record.get("device")),
        (
            "Peak memory",
            f"{float(record['peak_memory_mb']):,.0f} MB" if record.get("peak_memory_mb") else None,
        ),
        ("Input", (record.get("input") or {}).get("path")),
        ("Input SHA-256", (record.get("input") or {}).get("sha256")),
    ]
    return {
        "facts": [(name, _setting(value)) for name, value in facts if value is not None],
        "settings": {
            _words(group): [(_words(key), _setting(value)) for key, value in values.items()]
            for group, values in settings.items()
        },
        "seconds": [(_words(stage), duration(value), value / longest) for stage, value in seconds.items()],
        "versions": [(str(name), str(version)) for name, version in run.part("versions").items()],
    }


def _words(name: object) -> str:
    return str(name).replace("_", " ")


def _setting(value: object) -> str:
    """Write a setting as a person would."""
    if value is None:
        return "–"
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple, np.ndarray)):
        return ", ".join(_setting(part) for part in value)
    return f"{value:g}" if isinstance(value, (float, np.floating)) else str(value)
