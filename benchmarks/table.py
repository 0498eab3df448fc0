"""From records to tables: means, spreads, paired differences."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.records import Record
from benchmarks.render import Table
from scrae.errors import ScraeError

__all__ = [
    "BEST_PEER",
    "Difference",
    "compare",
    "difference_cells",
    "overview",
    "paired",
    "per_set",
    "selections",
    "tidy",
]

BEST_PEER = "best-peer"
METRICS = ("nmi", "ari", "ami", "homogeneity", "completeness")
_OWN = ("scrae", "ae", "aae")
_RESAMPLES = 10_000


class Difference(NamedTuple):
    """A method against another one, paired over the sets that both have.

    Attributes
    ----------
    sets
        Number of sets.
    mean
        Mean over sets of the difference of the set means.
    low, high
        Bounds of the 95 % bootstrap interval over sets (percentiles of 10,000 resamples).
    wins, losses
        Sets with a difference above and below 0.
    worst, worst_set
        The smallest difference and where it is.
    """

    sets: int
    mean: float
    low: float
    high: float
    wins: int
    losses: int
    worst: float
    worst_set: str


def tidy(records: list[Record], protocol: str) -> pd.DataFrame:
    """One row a run: set, method, seed, scores, silhouette, seconds, busy, agreement, own, and what was run.

    Own are scrae's embeddings, and any embedding with scrae's clustering: neither is a peer.

    Of several records of one set, method and seed the last counts. Of each method only the records with the
    config of its last record count, so that a changed default does not mix with the old one. Records of a method
    that names a number of genes (`+n_top_genes=3000`) are left out for sets that have fewer.

    Raises
    ------
    ScraeError
        If no quality record has this protocol.
    """
    chosen = [r for r in records if r["kind"] == "quality" and r["protocol"] == protocol]
    if not chosen:
        raise ScraeError(f"expected records of protocol {protocol}, found none; run `quality` first")
    configs = {record["method"]: json.dumps(record["config"], sort_keys=True) for record in chosen}
    rows = [
        {
            "set": record["data"]["name"],
            "method": record["method"],
            "protocol": record["protocol"],
            "seed": record["seed"],
            **record["scores"],
            "silhouette": record["silhouette"],
            "seconds": sum(record["seconds"].values()),
            "embedding_seconds": record["seconds"]["embedding"],
            "busy": record["machine"]["busy"],
            "agreement": record["seed_agreement"],
            "own": record["config"]["embedding"]["method"].partition("-")[0] in _OWN
            or record["config"]["clusterer"]["method"].startswith("scrae"),
            "embedding": record["config"]["embedding"]["method"],
            "clusterer": record["config"]["clusterer"]["method"],
            "n_latent": record["n_latent"],
            "n_cells": record["data"]["n_cells"],
            "genes": _genes_of(record["config"]["embedding"]),
            "n_genes": record["config"]["embedding"].get("n_top_genes", 0),
        }
        for record in chosen
        if json.dumps(record["config"], sort_keys=True) == configs[record["method"]] and _had_genes(record)
    ]
    return pd.DataFrame(rows).drop_duplicates(["set", "method", "seed"], keep="last", ignore_index=True)


def _had_genes(record: Record) -> bool:
    """Whether the set had as many genes as the method's name asks for."""
    if "n_top_genes=" not in record["method"]:
        return True
    return bool(record["facts"]["n_genes_used"] >= record["config"]["embedding"]["n_top_genes"])


def _genes_of(config: dict[str, Any]) -> str:
    """The gene selection of an embedding; scrae's own has another name for the setting."""
    return str(config.get("gene_selection", config.get("genes", "")))


def compare(frame: pd.DataFrame, method: str, against: str, metric: str) -> Difference:
    """Paired difference of set means, `method` minus `against`.

    `against` may be `"best-peer"`: on each set the highest mean of any method that is not scrae's own.

    Raises
    ------
    ScraeError
        If the two have no set in common.
    """
    means = _set_means(frame, metric)
    if against == BEST_PEER:
        peers = [name for name in frame.loc[~frame["own"], "method"].unique() if name != method]
        reference = means[peers].max(axis=1)
    else:
        reference = means[against]
    gaps = (means[method] - reference).dropna()
    if gaps.empty:
        raise ScraeError(f"expected sets with records of both {method} and {against}, found none; run both")
    low, high = _bootstrap(gaps.to_numpy())
    return Difference(
        sets=len(gaps),
        mean=float(gaps.mean()),
        low=low,
        high=high,
        wins=int((gaps > 0).sum()),
        losses=int((gaps < 0).sum()),
        worst=float(gaps.min()),
        worst_set=str(gaps.idxmin()),
    )


def difference_cells(found: Difference) -> list[str]:
    """Difference with its interval, wins and the worst set, as cells of a table."""
    return [
        f"{_signed(found.mean)} [{_signed(found.low)}, {_signed(found.high)}]",
        f"{found.wins}/{found.sets}",
        f"{_signed(found.worst)} {found.worst_set}",
    ]


def _set_means(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Means over seeds, sets in rows and methods in columns."""
    return frame.pivot_table(index="set", columns="method", values=metric, aggfunc="mean")


def _bootstrap(values: NDArray[np.float64]) -> tuple[float, float]:
    """95 % percentile interval of the mean; the generator is seeded, so that a table never changes by itself."""
    draws = np.random.default_rng(0).integers(values.size, size=(_RESAMPLES, values.size))
    low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def per_set(frame: pd.DataFrame, metric: str, apart: list[str]) -> Table:
    """Mean ± sd over seeds of one metric, methods by sets; the last column but those apart is the mean of sets."""
    grouped = frame.groupby(["method", "set"])[metric].agg(["mean", "std"])
    inside = [name for name in sorted(frame["set"].unique()) if name not in apart]
    outside = [name for name in apart if name in set(frame["set"])]
    rows = []
    for method in _order(frame, apart):
        cells = {
            name: grouped.loc[(method, name)] for name in inside + outside if (method, name) in grouped.index
        }
        text = {name: _spread(cell["mean"], cell["std"]) for name, cell in cells.items()}
        means = [cells[name]["mean"] for name in inside if name in cells]
        whole = _number(float(np.mean(means))) if len(means) == len(inside) else ""
        rows.append([method, *(text.get(n, "") for n in inside), whole, *(text.get(n, "") for n in outside)])
    return Table(
        title=f"{metric.upper() if metric in ('nmi', 'ari', 'ami') else metric.capitalize()}, mean ± sd over seeds",
        header=["method", *inside, "mean of sets", *(f"({name})" for name in outside)],
        rows=rows,
        note=f"The mean is without {', '.join(outside)}." if outside else "",
    )


def selections(frame: pd.DataFrame, metric: str, apart: list[str]) -> Table:
    """One metric as `per_set` gives it, by gene selection and number of genes; fewest genes first, then the best."""
    table = per_set(frame, metric, apart)
    named = frame.drop_duplicates("method").set_index("method")
    rows = [
        [method, named.loc[method, "genes"], str(named.loc[method, "n_genes"]), *cells]
        for method, *cells in table.rows
    ]
    rows.sort(key=lambda row: int(row[2]))  # stable: rows of as many genes stay in the order of their means
    note = "Empty: not run, or the set has fewer genes."
    return Table(
        title=table.title,
        header=["method", "genes by", "number", *table.header[1:]],
        rows=rows,
        note=f"{table.note} {note}".strip(),
    )


def overview(frame: pd.DataFrame, apart: list[str]) -> Table:
    """All scores over sets (mean of set means ± sd of set means), stability over seeds, and time."""
    frame = frame[~frame["set"].isin(apart)]
    rows = []
    for method in _order(frame, apart):
        part = frame[frame["method"] == method]
        sets = part.groupby("set")
        means = sets[[*METRICS, "silhouette", "seconds"]].mean()
        spread = sets["nmi"].std().dropna()
        agreement = [_agreement(group) for _, group in sets]
        agreement = [value for value in agreement if value is not None]
        seeds = sorted({int(count) for count in sets["seed"].nunique()})
        rows.append(
            [
                method,
                str(len(means)),
                "-".join(str(count) for count in dict.fromkeys([seeds[0], seeds[-1]])),
                *(_spread(means[metric].mean(), means[metric].std()) for metric in METRICS[:2]),
                *(_number(means[metric].mean()) for metric in METRICS[2:]),
                _number(means["silhouette"].mean()),
                _spread_of_seeds(spread),
                _number(float(np.mean(agreement))) if agreement else "",
                ("~" if part["busy"].any() else "") + f"{means['seconds'].mean():.1f}",
            ]
        )
    names = ["NMI", "ARI", "AMI", "homog.", "compl."]
    stability = ["silh.", "NMI sd of seeds (worst)", "seed ARI", "seconds"]
    return Table(
        title="Over sets: means of set means (± their sd)",
        header=["method", "sets", "seeds", *names, *stability],
        rows=rows,
        note=(
            "Seconds are embedding and clustering; ~ marks runs on a shared or niced machine: not comparable. "
            "Silhouettes on codes of different methods are not comparable."
        ),
    )


def paired(frame: pd.DataFrame, against: str, apart: list[str]) -> Table:
    """Every method against one: difference with interval, wins, and the worst set, for NMI and ARI.

    Raises
    ------
    ScraeError
        If `against` has no records.
    """
    frame = frame[~frame["set"].isin(apart)]
    if against != BEST_PEER and against not in set(frame["method"]):
        known = ", ".join([BEST_PEER, *_order(frame, apart)])
        raise ScraeError(f"expected a method with records ({known}), found {against!r}; correct --against")
    rows = []
    for method in _order(frame, apart):
        if method == against:
            continue
        row = [method]
        for metric in ("nmi", "ari"):
            found = compare(frame, method, against, metric)
            row += difference_cells(found)
        rows.append(row)
    columns = [
        f"{metric} {what}" for metric in ("NMI", "ARI") for what in ("difference", "wins", "worst set")
    ]
    return Table(
        title=f"Against {against}: paired over sets, with 95 % bootstrap intervals over sets",
        header=["method", *columns],
        rows=rows,
        note="",
    )


def _order(frame: pd.DataFrame, apart: list[str]) -> list[str]:
    """Methods by their mean NMI over sets, best first."""
    inside = frame[~frame["set"].isin(apart)]
    means = _set_means(inside if len(inside) else frame, "nmi").mean().sort_values(ascending=False)
    return [str(name) for name in means.index]


def _agreement(runs: pd.DataFrame) -> float | None:
    """Mean ARI over all pairs of seeds of one method on one set; None without a pair."""
    pairs = {
        frozenset((seed, int(other))): value
        for seed, agreement in zip(runs["seed"], runs["agreement"], strict=True)
        for other, value in agreement.items()
    }
    return float(np.mean(list(pairs.values()))) if pairs else None


def _number(value: float) -> str:
    return f"{value:.3f}"


def _signed(value: float) -> str:
    return f"{value:+.3f}"


def _spread(mean: float, sd: float) -> str:
    return _number(mean) if np.isnan(sd) else f"{mean:.3f} ± {sd:.3f}"


def _spread_of_seeds(spread: pd.Series) -> str:
    if spread.empty:
        return ""
    return f"{spread.mean():.3f} ({spread.max():.3f} {spread.idxmax()})"
