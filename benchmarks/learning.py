"""`python -m benchmarks learning`: the gain of the network over its control, against cells and depth.

The control is the same clustering on 15 principal components. Cells are drawn at random from the set, and depth is
reduced by keeping each molecule with a probability. K is the number of types among the cells that are left.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.options import Busy, Data, Into, Markdown, Output, Sets, TorchThreads, print_tables
from benchmarks.records import Record, append, head, read

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData

    from benchmarks.render import Table

__all__ = ["app"]

_CELLS, _DEPTHS = (300, 600, 1200, 2400, 4800, 8000), (0.1, 0.3)
_METHODS = {"default": "scrae-cluster", "control": "pca15:scrae"}

app = typer.Typer(
    help="Compare the default with its control on fewer cells and molecules.",
    no_args_is_help=True,
    add_completion=False,
)


@app.command()
def study(
    data: Data,
    output: Output,
    sets: Sets,
    seeds: Annotated[int, typer.Option(min=1, help="Run seeds 0 to this minus 1.")] = 2,
    threads: TorchThreads = 1,
    busy: Busy = False,
) -> None:
    """Run what has no record yet."""
    import torch

    from benchmarks.sets import find_sets, read_counts, read_labels

    torch.set_num_threads(threads)
    done = {(r["set"], r["seed"], r["n_cells"], r["depth"]) for r in read(output)}
    for seed in range(seeds):
        for one in find_sets(data, sets.split(",")):
            labels = read_labels(one.path)
            sizes = [*(n for n in _CELLS if n < one.n_cells), one.n_cells]
            plan = [(n, 1.0) for n in sizes] + [(one.n_cells, depth) for depth in _DEPTHS]
            for n_cells, depth in plan:
                if (one.name, seed, n_cells, depth) in done:
                    continue
                counts = read_counts(one.path)
                rows = _rows(counts, n_cells, depth, seed)
                found = _scores(counts[rows].copy(), labels[rows], seed)
                facts = {"set": one.name, "seed": seed, "n_cells": n_cells, "depth": depth}
                append(output, head("learning", threads=threads, device="cpu", busy=busy) | facts | found)
                print(one.name, seed, n_cells, depth, found, flush=True)


def _rows(counts: AnnData, n_cells: int, depth: float, seed: int) -> np.ndarray:
    """Thin the counts in place; return the rows to keep, without cells that lost all molecules."""
    import numpy as np

    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(counts.n_obs)[:n_cells])
    if depth < 1:
        counts.X = counts.X.tocsr().copy()
        counts.X.data = rng.binomial(counts.X.data.astype(np.int64), depth).astype(counts.X.dtype)
        counts.X.eliminate_zeros()
    return rows[np.asarray(counts.X.sum(axis=1)).ravel()[rows] > 0]


def _scores(counts: AnnData, labels: np.ndarray, seed: int) -> dict[str, dict[str, float]]:
    """Labels are read for K and, when all is fixed, for the scores."""
    import pandas as pd

    from benchmarks import own
    from benchmarks.methods import CLUSTERERS, EMBEDDINGS, parse_method
    from scrae.cluster.metrics import score

    known = pd.notna(labels)
    n_clusters = len(set(labels[known].astype(str)))
    beside = own.default_input(counts.copy(), seed)
    found = {}
    for name, text in _METHODS.items():
        method = parse_method(text)
        codes = (
            EMBEDDINGS[method.embedding]
            .embed(
                counts.copy(), n_clusters=n_clusters, seed=seed, config=method.embedding_config, device="cpu"
            )
            .codes
        )
        config = CLUSTERERS[method.clusterer][1]
        clusters = own.cluster(codes, n_clusters=n_clusters, seed=seed, config=config, beside=beside).clusters
        scores = score(labels[known].astype(str), clusters[known])
        found[name] = {"nmi": round(scores.nmi, 5), "ari": round(scores.ari, 5)}
    return found


@app.command()
def table(
    file: Annotated[Path, typer.Argument(help="File of records.")],
    markdown: Markdown = False,
    into: Into = None,
) -> None:
    """Print the gain over the control against cells and depth, mean over sets and seeds."""
    print_tables([_table(read(file))], markdown, into)


def _table(records: list[Record]) -> Table:
    import numpy as np

    from benchmarks.render import Table

    whole = {
        record["set"]: max(r["n_cells"] for r in records if r["set"] == record["set"]) for record in records
    }
    groups: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda r: (-r["depth"], r["n_cells"])):
        size = "all cells" if record["n_cells"] == whole[record["set"]] else f"{record['n_cells']:,} cells"
        name = size if record["depth"] == 1 else f"{size}, {record['depth']:.0%} of the molecules"
        groups.setdefault(name, []).append(record)
    groups["all cells"] = groups.pop("all cells", [])  # after the smaller ones
    thinned = [name for name in groups if "molecules" in name]
    order = [name for name in groups if name not in thinned] + thinned
    rows = []
    for name in order:
        part = groups[name]
        cells = [name, str(len({record["set"] for record in part})), str(len(part))]
        for metric in ("nmi", "ari"):
            values = np.array([[record[method][metric] for method in _METHODS] for record in part])
            own, control = values.mean(axis=0)
            cells += [f"{own:.3f}", f"{control:.3f}", f"{own - control:+.3f}"]
        rows.append(cells)
    return Table(
        title="The default and its control, fewer cells and fewer molecules (K known)",
        header=["data", "sets", "runs", "NMI", "control", "gain", "ARI", "control", "gain"],
        rows=rows,
        note="Rows have different sets: a set of 1,000 cells is in the rows up to 600 cells and in the whole ones.",
    )
