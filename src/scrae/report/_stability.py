"""Cluster stability under subsampling of the cells and retraining with other seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scrae.pl import category_colors, category_column
from scrae.report._run import Run

__all__ = ["DOUBTFUL", "STABLE", "cluster_stability", "stability_view"]

DOUBTFUL, STABLE = 0.6, 0.75
"""Thresholds of Hennig (2007, CSDA 52:258): unstable below the first, stable from the second on."""


def cluster_stability(run: Run) -> dict[str, float]:
    """Return the Jaccard index of each cluster in subsamples or in other models, whichever is lower."""
    if not run.has_clusters:
        return {}
    names = category_column(run.adata, "scrae").categories.tolist()
    columns = [
        values for part in ("stability", "agreement") if (values := _per_cluster(run, part, len(names)))
    ]
    return {name: min(values) for name, *values in zip(names, *columns, strict=True) if values}


def _per_cluster(run: Run, part: str, n_clusters: int) -> list[float]:
    values = np.atleast_1d(np.asarray(run.part(part).get("jaccard", ()), dtype=np.float64))
    return np.nan_to_num(values).tolist() if len(values) == n_clusters else []


def stability_view(run: Run) -> dict[str, Any] | None:
    """Return the agreement of subsamples and of models; None where nothing was compared."""
    lowest = cluster_stability(run)
    if not lowest:
        return None
    colors, count = category_colors(run.adata, "scrae"), len(lowest)
    subsamples, models = (_per_cluster(run, part, count) for part in ("stability", "agreement"))
    rows = [
        {
            "name": name,
            "color": colors[i],
            "subsamples": subsamples[i] if subsamples else None,
            "models": models[i] if models else None,
            "verdict": _verdict(value),
        }
        for i, (name, value) in enumerate(lowest.items())
    ]
    n_stable = sum(value >= STABLE for value in lowest.values())
    return {
        "rows": rows,
        "n_stable": n_stable,
        "n_clusters": count,
        "subsamples": _subsamples(run) if subsamples else None,
        "models": _models(run) if models else None,
    }


def _verdict(value: float) -> str:
    if value >= STABLE:
        return "stable"
    return "doubtful" if value >= DOUBTFUL else "unstable"


def _subsamples(run: Run) -> dict[str, Any]:
    facts = run.part("stability")
    return _range(np.asarray(facts["ari"], dtype=np.float64)) | {
        "repeats": int(facts["repeats"]),
        "share": float(facts["share"]),
        "n_cells": int(facts["n_cells"]),
    }


def _models(run: Run) -> dict[str, Any]:
    facts = run.part("agreement")
    ari = np.atleast_2d(np.asarray(facts["ari"], dtype=np.float64))
    numbers = np.atleast_1d(np.asarray(facts.get("n_clusters", ()), dtype=np.int64)).tolist()
    seeds = np.atleast_1d(np.asarray(facts["seeds"])).tolist()
    table = list(zip(seeds, ari.tolist(), numbers or [None] * len(seeds), strict=True))
    return _range(ari[np.triu_indices(len(ari), 1)]) | {
        "seeds": seeds,
        "table": table,
        "chosen": bool(numbers),
    }


def _range(ari: NDArray[np.float64]) -> dict[str, float]:
    known = ari[np.isfinite(ari)] if np.isfinite(ari).any() else np.zeros(1)
    return {"mean": float(known.mean()), "low": float(known.min()), "high": float(known.max())}
