"""The paper's Tables 2 to 5 beside ours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from typing import Any

import pandas as pd

from benchmarks.paper import plan
from benchmarks.records import Record
from benchmarks.render import Table
from benchmarks.table import tidy

__all__ = [
    "by_set", "dispersion", "frame_of", "number_of_genes", "run_time", "selection", "systems_of", "table_2",
]  # fmt: skip

_N_GENES = 720
_OURS = {"scRAE": "ours", "scRAE (default)": "ours, default"}


def frame_of(records: list[Record], protocol: str) -> pd.DataFrame:
    """One row a run as `tidy` gives it, of the paper's systems with K-means; `system` is the paper's name."""
    frame = tidy(records, protocol)
    known = frame["embedding"].isin(plan.SYSTEMS.values()) & (frame["clusterer"] == "kmeans")
    frame = frame[known].copy()
    frame["system"] = frame["embedding"].map(plan.label_of)
    return frame


def dispersion(frame: pd.DataFrame) -> pd.DataFrame:
    """The runs on the paper's genes: 720 by dispersion."""
    return frame[(frame["genes"] == "seurat") & (frame["n_genes"] == _N_GENES)]


def systems_of(frame: pd.DataFrame) -> list[str]:
    """The systems that have records, in the paper's order."""
    return [name for name in plan.SYSTEMS if name in set(frame["system"])]


def _columns(frame: pd.DataFrame) -> list[str]:
    """The paper's systems, and those that have records, in the paper's order."""
    return [name for name in plan.SYSTEMS if name in plan.TABLE_2[10] or name in set(frame["system"])]


def table_2(frame: pd.DataFrame, metric: str = "nmi") -> Table:
    """Mean over sets by latent dimensions: the paper's ten sets, and those that all systems here have."""
    frame = dispersion(frame)
    systems, rows = _columns(frame), []
    for size in plan.LATENT:
        if metric == "nmi":
            rows.append([str(size), "paper, 10 sets", *_cells(plan.TABLE_2[size], systems)])
        for means, sets in _over_sets(frame[frame["n_latent"] == size], metric):
            rows.append([str(size), f"ours, {', '.join(sets)}", *_cells(means, systems)])
    return Table(
        title=f"Table 2: mean {metric.upper()} over sets, by latent dimensions",
        header=["latent", "sets", *systems],
        rows=rows,
        note="Ours: in a row all have the same sets. Empty: not run on all of these, or not in the paper.",
    )


def by_set(frame: pd.DataFrame, metric: str = "nmi") -> Table:
    """Figures 2 to 5 in numbers: each set by latent dimensions, the mean over seeds of every system that ran."""
    frame = dispersion(frame)
    frame = frame[frame["n_latent"].isin(plan.LATENT)]
    systems = systems_of(frame)
    means = frame.pivot_table(index=["set", "n_latent"], columns="system", values=metric, aggfunc="mean")
    rows = [[str(name), str(size), *_cells(row.dropna(), systems)] for (name, size), row in means.iterrows()]
    return Table(
        title=f"{metric.upper()} by set and latent dimensions",
        header=["set", "latent", *systems],
        rows=rows,
        note="K-means with the number of published types. Empty: not run.",
    )


def selection(frame: pd.DataFrame) -> Table:
    """Mean NMI of Klein and Baron, by gene selection, at 10 latent dimensions."""
    inside = frame["set"].isin(plan.SELECTION_SETS) & (frame["n_latent"] == 10)
    frame = frame[inside & (frame["n_genes"] == _N_GENES) & frame["genes"].isin(plan.SELECTIONS)]
    systems, rows = _columns(frame), []
    for name, theirs in plan.SELECTIONS.items():
        rows.append([theirs, "paper, klein and baron", *_cells(plan.TABLE_3[name], systems)])
        for means, sets in _over_sets(frame[frame["genes"] == name], "nmi"):
            rows.append([theirs, f"ours, {', '.join(sets)}", *_cells(means, systems)])
    return Table(
        title="Table 3: mean NMI by gene selection, 720 genes",
        header=["genes", "sets", *systems],
        rows=rows,
        note="Ours at 10 latent dimensions; the paper does not say how many it took.",
    )


def run_time(frame: pd.DataFrame) -> Table:
    """Seconds of the embedding on the smallest and the largest set at 10 latent dimensions."""
    frame = dispersion(frame)
    frame = frame[frame["n_latent"] == 10]
    systems = _columns(frame)
    rows = [
        [f"{name} (paper)", "", *_cells(times, systems, "{:.0f}")] for name, times in plan.TABLE_4.items()
    ]
    sizes = frame.drop_duplicates("set").set_index("set")["n_cells"].sort_values()
    for name in dict.fromkeys([*sizes.index[:1], *sizes.index[-1:]]):
        here = frame[frame["set"] == name].groupby("system")
        busy = "shared machine" if here["busy"].any().any() else ""
        rows.append(
            [
                f"{name}, {sizes[name]} cells",
                busy,
                *_cells(here["embedding_seconds"].mean(), systems, "{:.0f}"),
            ]
        )
    return Table(
        title="Table 4: seconds to the codes",
        header=["set", "machine", *systems],
        rows=rows,
        note="Ours with gene selection and normalization. Times of a shared machine are not comparable.",
    )


def number_of_genes(frame: pd.DataFrame, n_latent: int) -> Table:
    """NMI of scRAE by number of genes: the paper's, and ours with the paper's settings and with the default's."""
    ours = frame["system"].isin(_OURS) & (frame["genes"] == "seurat") & (frame["n_latent"] == n_latent)
    frame = frame[ours & frame["n_genes"].isin(plan.N_GENES)]
    means = frame.pivot_table(index=["set", "system"], columns="n_genes", values="nmi", aggfunc="mean")
    rows = []
    for name in sorted({*frame["set"], *(plan.TABLE_5 if n_latent == 2 else ())}):
        if n_latent == 2 and name in plan.TABLE_5:
            rows.append([name, "paper", *_cells(plan.TABLE_5[name], plan.N_GENES)])
        for system, who in _OURS.items():
            if (name, system) in means.index:
                rows.append([name, who, *_cells(means.loc[name, system].dropna(), plan.N_GENES)])
    return Table(
        title=f"Table 5: NMI of scRAE by number of genes, {n_latent} latent dimensions",
        header=["set", "", *map(str, plan.N_GENES)],
        rows=rows,
        note="",
    )


def _over_sets(frame: pd.DataFrame, metric: str) -> Iterator[tuple[pd.Series, list[str]]]:
    """Means of set means: first the sets that all systems have, then more sets, and the systems that have them all."""
    table = frame.pivot_table(index="set", columns="system", values=metric, aggfunc="mean")
    order = table.notna().sum(axis=1).sort_values(ascending=False, kind="stable").index
    of_sets = [table.loc[order[:n]].dropna(axis=1) for n in range(1, len(order) + 1)]
    for now, wider in zip_longest(of_sets, of_sets[1:]):
        more_for_nothing = wider is not None and wider.shape[1] == now.shape[1]
        if not more_for_nothing and now.shape[1] >= min(2, table.shape[1]):
            yield now.mean(), sorted(map(str, now.index))


def _cells(values: Mapping[Any, float] | pd.Series, keys: Iterable[Any], form: str = "{:.3f}") -> list[str]:
    found = dict(values)
    return [form.format(found[key]) if key in found else "" for key in keys]
