"""`python -m benchmarks clusters`: which label-free choice of the number of clusters can be trusted.

It works on codes that `python -m benchmarks quality` left in its cache.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.options import Busy, Data, Output, Sets
from benchmarks.records import Record, append, head, read

if TYPE_CHECKING:
    import numpy as np

    from benchmarks.render import Table

__all__ = ["app"]

_CANDIDATES = range(2, 26)
_DIGITS = 5

app = typer.Typer(
    help="Choose the number of clusters in many ways, and compare.",
    no_args_is_help=True,
    add_completion=False,
)


@app.command()
def study(
    data: Data,
    quality: Annotated[Path, typer.Option(help="Records of the runs whose codes are in the cache.")],
    cache: Annotated[Path, typer.Option(help="The cache of those runs.")],
    output: Output,
    sets: Sets,
    method: Annotated[str, typer.Option(help="The method of those runs.")] = "scrae-cluster",
    seeds: Annotated[int, typer.Option(min=1, help="Take seeds 0 to this minus 1.")] = 2,
    criteria: Annotated[str | None, typer.Option(help="Only these groups, comma separated.")] = None,
    busy: Busy = False,
) -> None:
    """Compute every criterion for every number of clusters; one record for what a set and seed have none of yet."""
    import numpy as np

    from benchmarks.counting import CRITERIA, prepare
    from benchmarks.sets import find_sets, read_labels

    wanted = criteria.split(",") if criteria else list(CRITERIA)
    done = {(r["data"]["sha256"], r["seed"], r["code"], name) for r in read(output) for name in r["criteria"]}
    for one in find_sets(data, sets.split(",")):
        runs = [r for r in read(quality) if r["method"] == method and r["data"]["sha256"] == one.sha256]
        for run in sorted((r for r in runs if r["seed"] < seeds), key=lambda r: r["seed"]):
            todo = [n for n in wanted if (one.sha256, run["seed"], run["code"], n) not in done]
            if not todo:
                continue
            case = prepare(np.load(_codes_file(cache, run)), _CANDIDATES, seed=run["seed"])
            found: dict[str, list[float]] = {}
            for name in todo:
                found |= CRITERIA[name](case)
            scores = _scores(read_labels(one.path), case.labels)
            facts = {key: run[key] for key in ("data", "method", "seed", "code")}
            facts |= {
                "criteria": todo,
                "candidates": list(case.labels),
                "curves": _rounded(found),
                "scores": _rounded(scores),
            }
            append(output, head("clusters", threads=1, device="cpu", busy=busy) | facts)
            print(f"{one.name:12} seed {run['seed']}")


def _codes_file(cache: Path, run: Record) -> Path:
    from benchmarks.run import codes_file
    from scrae.errors import ScraeError

    facts = {"embedding": run["config"]["embedding"], "protocol": "label-free"}
    file = codes_file(cache, sha256=run["data"]["sha256"], seed=run["seed"], code=run["code"], **facts)
    if not file.exists():
        raise ScraeError(
            f"expected the codes of {run['data']['name']} seed {run['seed']} in {cache}, found none"
        )
    return file


def _scores(labels: np.ndarray, found: dict[int, np.ndarray]) -> dict[str, list[float]]:
    """NMI and ARI at every number of clusters, and at the true one; labels are read here, when all is fixed."""
    import pandas as pd

    from scrae.cluster.metrics import score

    known = pd.notna(labels)
    scores = [score(labels[known], clusters[known]) for clusters in found.values()]
    return {"nmi": [one.nmi for one in scores], "ari": [one.ari for one in scores]}


def _rounded(values: dict[str, list[float]]) -> dict[str, list[float]]:
    return {name: [round(value, _DIGITS) for value in row] for name, row in values.items()}


@app.command()
def table(
    file: Annotated[Path, typer.Argument(help="File of records.")],
    apart: Annotated[str, typer.Option(help="Sets for a table of their own, comma separated.")] = "",
    into: Annotated[
        Path | None, typer.Option(help="Write Markdown into this page, between its marks, and print nothing.")
    ] = None,
) -> None:
    """Print what each rule chooses, its error in K, and the NMI and ARI that it loses against the true K."""
    from rich.console import Console

    from benchmarks import render

    merged: dict[tuple[str, int], Record] = {}
    for record in read(file):
        first = merged.setdefault((record["data"]["sha256"], record["seed"]), record)
        first["curves"] |= record["curves"]
    aside = [record for record in merged.values() if record["data"]["name"] in apart.split(",")]
    first = [record for record in merged.values() if record not in aside]
    drawn = [_table(records) for records in (first, aside) if records]
    if into is not None:
        into.write_text(render.insert(into.read_text(), drawn))
        return
    for one in drawn:
        render.show(one, Console(highlight=False, width=240))


def _lacks(choose: Callable[[dict[str, list[float]]], int], curves: dict[str, list[float]]) -> bool:
    """Whether a record lacks the curves that a rule reads: not every criterion was computed for every set."""
    try:
        choose(curves)
    except KeyError:
        return True
    return False


def _table(records: list[Record]) -> Table:
    import numpy as np

    from benchmarks.counting import RULES
    from benchmarks.render import Table

    names = list(dict.fromkeys(record["data"]["name"] for record in records))
    true = {record["data"]["name"]: record["data"]["n_types"] for record in records}
    rows = []
    for rule, choose in RULES.items():
        if any(_lacks(choose, record["curves"]) for record in records):
            continue
        chosen: dict[str, list[int]] = {name: [] for name in names}
        lost = []
        for record in records:
            name, numbers = record["data"]["name"], record["candidates"]
            place, at_true = choose(record["curves"]), numbers.index(true[name])
            chosen[name].append(numbers[place])
            lost.append([record["scores"][s][at_true] - record["scores"][s][place] for s in ("nmi", "ari")])
        errors = [abs(np.log2(k / true[name])) for name in names for k in chosen[name]]
        nmi, ari = np.mean(lost, axis=0)
        numbers_of = [", ".join(map(str, chosen[name])) for name in names]
        shown = [f"{np.mean(errors):.2f}", f"{nmi:+.3f}", f"{np.max(lost, axis=0)[0]:+.3f}", f"{ari:+.3f}"]
        rows.append((float(nmi), [rule, *numbers_of, *shown]))
    return Table(
        title="Number of clusters without labels, and what is lost against the number of published types",
        header=[
            "rule",
            *(f"{name} ({true[name]})" for name in names),
            "error",
            "NMI lost",
            "at worst",
            "ARI lost",
        ],
        rows=[row for _, row in sorted(rows, key=lambda row: row[0])],
        note="One number a seed. Error: mean of |log2(K / types)|, 1 being a factor of two. Negative losses are gains.",
    )
