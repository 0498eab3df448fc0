"""`python -m benchmarks significance`: how often the test of clusters splits one population, and finds two."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.options import Busy, Data, Into, Markdown, Output, print_tables
from benchmarks.records import append, head, read

if TYPE_CHECKING:
    import numpy as np
    from scipy import sparse

    from benchmarks.render import Table

__all__ = ["app"]

_LEVEL, _DRAWS = 0.05, 39
_SHARES = (0.5, 0.25, 0.1, 0.05, 0.02)
_CONTINUUM = 0
"""Stands for the number of populations of a continuous process."""

app = typer.Typer(
    help="Calibration and power of tl.significance.", no_args_is_help=True, add_completion=False
)


@app.command()
def study(
    data: Data,
    output: Output,
    kinds: Annotated[str | None, typer.Option(help="Only these kinds, comma separated.")] = None,
    sets: Annotated[int, typer.Option(min=1, help="Sets of one population of each kind.")] = 200,
    mixtures: Annotated[int, typer.Option(min=0, help="Mixtures of each pair and share.")] = 20,
    continua: Annotated[int, typer.Option(min=0, help="Samples of each continuous process.")] = 20,
    first_seed: Annotated[int, typer.Option(min=0, help="Seed of the first set of each kind.")] = 0,
    busy: Busy = False,
) -> None:
    """Test sets of one population and mixtures; one record a kind, for those that have none yet."""
    from benchmarks.one_population import mitochondrial_of
    from benchmarks.sets import find_sets

    done = {record["name"] for record in read(output)}
    files = {one.name: one.sha256 for one in find_sets(data)}
    for name, (source, true, make) in _plan(data).items():
        count = sets if true == 1 else mixtures if true == 2 else continua
        if name in done or not count or (kinds and name not in kinds.split(",")):
            continue
        genes = mitochondrial_of(data / f"{source}.h5ad") if source else None
        start = time.perf_counter()
        tests = [_test(make, genes, seed) for seed in range(first_seed, first_seed + count)]
        facts = {
            "name": name,
            "data": {"name": source, "sha256": files[source]} if source else None,
            "populations": true,
            "seeds": count,
            "first_seed": first_seed,
            "level": _LEVEL,
            "draws": _DRAWS,
            "tests": tests,
            "seconds": round(time.perf_counter() - start, 1),
        }
        append(output, head("significance", threads=1, device="cpu", busy=busy) | facts)
        print(f"{name}: {sum(test['p'] <= _LEVEL for test in tests)} of {count} split")


@app.command()
def one(
    data: Data,
    output: Output,
    sets: Annotated[str | None, typer.Option(help="Only these sets, comma separated.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Samples of cells of each set.")] = 3,
    busy: Busy = False,
) -> None:
    """Ask of sets with several types whether the choice of the number of clusters calls them one population."""
    from scipy import sparse

    from benchmarks.one_population import mitochondrial_of
    from benchmarks.sets import find_sets, read_counts, read_labels
    from scrae.cluster.significance import is_one_population

    done = {record["name"] for record in read(output)}
    for each in find_sets(data, sets.split(",") if sets else None):
        if each.name in done:
            continue
        counts, start = sparse.csr_matrix(read_counts(each.path).X), time.perf_counter()
        facts = {
            "name": each.name,
            "data": {"name": each.name, "sha256": each.sha256},
            "types": len({label for label in read_labels(each.path) if label is not None}),
            "one_population": [
                bool(is_one_population(counts, mitochondrial_of(each.path), seed=seed))
                for seed in range(seeds)
            ],
            "seconds": round(time.perf_counter() - start, 1),
        }
        append(output, head("one-population", threads=1, device="cpu", busy=busy) | facts)
        print(each.name, facts["types"], facts["one_population"])


def _plan(
    data: Path,
) -> dict[str, tuple[str | None, int, Callable[[np.random.Generator], sparse.csr_matrix]]]:
    """Return for each name the file, the number of populations and a function that makes a set."""
    from functools import partial

    from benchmarks.one_population import (
        CONTINUA,
        MIXTURES,
        SIMULATED,
        SORTED,
        continuum,
        mixture,
        sorted_cells,
    )

    plan: dict[str, Any] = {name: (None, 1, make) for name, make in SIMULATED.items()}
    plan |= {name: (file, 1, partial(sorted_cells, data, name)) for name, (file, _) in SORTED.items()}
    plan |= {name: (name, _CONTINUUM, partial(continuum, data, name)) for name in CONTINUA}
    for name, (file, *_) in MIXTURES.items():
        for share in _SHARES:
            plan[f"{name} {share:.0%}"] = (file, 2, partial(mixture, data, name, share))
    return plan


def _test(
    make: Callable[[np.random.Generator], sparse.csr_matrix], mitochondrial: np.ndarray | None, seed: int
) -> dict[str, Any]:
    import numpy as np

    from scrae.cluster.significance import split_test
    from scrae.cluster.tested_genes import counts_to_test

    genes, depth = counts_to_test(make(np.random.default_rng(seed)), mitochondrial)
    found = split_test(genes, depth, seed=seed, n_null=_DRAWS)
    return {
        "p": round(found.p, 4),
        "auc": round(found.auc, 3),
        "gap": found.gap,
        "density": round(found.density, 3),
        "n": found.n_cells,
    }


@app.command()
def table(
    file: Annotated[Path, typer.Argument(help="File of records.")],
    markdown: Markdown = False,
    into: Into = None,
) -> None:
    """Print how many sets were split, with the exact 95 % interval of the share."""
    print_tables(
        _tables([record for record in read(file) if record["kind"] == "significance"]), markdown, into
    )


def _tables(records: list[dict[str, Any]]) -> list[Table]:
    from scipy.stats import binomtest

    from benchmarks.render import Table

    titles = {
        1: "One population: share of sets split",
        _CONTINUUM: "Continuous processes: share of samples split",
        2: "Two sorted kinds: share of mixtures split",
    }
    tables = []
    for true, title in titles.items():
        rows = []
        for record in (one for one in records if one["populations"] == true):
            n = len(record["tests"])
            k = sum(test["p"] <= record["level"] for test in record["tests"])
            interval = binomtest(k, n).proportion_ci()
            rows.append(
                [record["name"], f"{k} of {n}", f"{k / n:.3f}", f"{interval.low:.3f} to {interval.high:.3f}"]
            )
        header = ["kind", "split", "share", "95 % interval"]
        tables.append(Table(title=title, header=header, rows=rows, note=f"Split: p at most {_LEVEL}."))
    return [one for one in tables if one.rows]
