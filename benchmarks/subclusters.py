"""`python -m benchmarks subclusters`: a cluster divided in the codes of all cells, or with genes and codes of its own.

Each set is divided into half as many clusters as it has types. Each cluster with at least 100 cells and two types of at
least 5 % is divided into as many parts as it has such types, in three representations, and compared with the types.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.options import Busy, Data, Into, Markdown, Output, Sets, TorchThreads, print_tables
from benchmarks.records import append, head, read

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData

__all__ = ["app"]

WAYS = ("codes of all cells", "own genes and components", "own genes and model")
_LEAST_CELLS, _LEAST_SHARE, _COMPONENTS = 100, 0.05, 15

app = typer.Typer(help="Clusters divided in three ways.", no_args_is_help=True, add_completion=False)


@app.command()
def study(
    data: Data,
    output: Output,
    sets: Sets,
    seeds: Annotated[int, typer.Option(min=1, help="Run seeds 0 to this minus 1.")] = 1,
    threads: TorchThreads = 1,
    busy: Busy = False,
) -> None:
    """Divide the clusters of every set; one record a set and seed."""
    import torch

    from benchmarks.sets import find_sets

    torch.set_num_threads(threads)
    done = {(record["set"], record["seed"]) for record in read(output)}
    for seed in range(seeds):
        for one in find_sets(data, sets.split(",")):
            if (one.name, seed) in done:
                continue
            found = _divided(one.path, seed)
            facts = {"set": one.name, "seed": seed, "clusters": found}
            append(output, head("subclusters", threads=threads, device="cpu", busy=busy) | facts)
            for cluster in found:
                print(
                    one.name,
                    seed,
                    *(f"{way} {cluster[way]['ari']:.3f}" for way in WAYS),
                    sep="  ",
                    flush=True,
                )


def _divided(path: Path, seed: int) -> list[dict[str, object]]:
    import numpy as np

    from benchmarks.genes import prepare
    from benchmarks.sets import read_counts, read_labels
    from scrae import tl
    from scrae.cluster.metrics import score
    from scrae.config import PreprocessConfig

    cells, labels = read_counts(path), read_labels(path)
    raw = cells.copy()
    prepare(cells, PreprocessConfig())
    tl.train(cells, seed=seed, device="cpu")
    tl.cluster(cells, n_clusters=max(len(np.unique(labels)) // 2, 2), seed=seed)
    found: list[dict[str, object]] = []
    for name in cells.obs["scrae"].cat.categories:
        rows = np.flatnonzero((cells.obs["scrae"] == name).to_numpy())
        share = np.unique(labels[rows], return_counts=True)[1] / max(len(rows), 1)
        n_types = int((share >= _LEAST_SHARE).sum())
        if len(rows) < _LEAST_CELLS or n_types < 2:
            continue
        entry: dict[str, object] = {"n_cells": len(rows), "n_types": n_types}
        for way in WAYS:
            parts = _parts(way, cells, raw, name, rows, n_types, seed)
            scores = score(labels[rows], parts)
            entry[way] = {"nmi": round(scores.nmi, 4), "ari": round(scores.ari, 4)}
        found.append(entry)
    return found


def _parts(
    way: str, cells: AnnData, raw: AnnData, name: str, rows: np.ndarray, n_parts: int, seed: int
) -> np.ndarray:
    import numpy as np
    from sklearn.decomposition import PCA

    from benchmarks.genes import prepare
    from scrae import tl
    from scrae.config import PreprocessConfig

    if way == WAYS[0]:
        tl.subcluster(cells, name, n_clusters=n_parts, key_added="divided", seed=seed)
        return cells.obs["divided"].cat.codes.to_numpy()[rows].astype(np.int64)
    part = raw[rows].copy()
    prepare(part, PreprocessConfig(min_cells=3, min_genes=0))
    if way == WAYS[2]:
        tl.train(part, seed=seed, device="cpu")
        tl.cluster(part, n_clusters=n_parts, seed=seed)
    else:
        values = part.X[:, part.var["scrae_selected"].to_numpy()].toarray()
        part.obsm["X_pca"] = PCA(_COMPONENTS, random_state=seed).fit_transform(values).astype(np.float32)
        tl.cluster(part, n_clusters=n_parts, use_rep="X_pca", input_rep=None, seed=seed)
    return part.obs["scrae"].cat.codes.to_numpy().astype(np.int64)


@app.command()
def table(
    files: Annotated[list[Path], typer.Argument(help="Files of records.")],
    markdown: Markdown = False,
    into: Into = None,
) -> None:
    """Print the mean scores of each set, and over sets."""
    import numpy as np

    from benchmarks.render import Table

    records = [record for file in files for record in read(file) if record["kind"] == "subclusters"]
    rows, means = [], []
    for name in dict.fromkeys(record["set"] for record in records):
        found = [cluster for record in records if record["set"] == name for cluster in record["clusters"]]
        if not found:
            continue
        values = [[np.mean([one[way][m] for one in found]) for m in ("nmi", "ari")] for way in WAYS]
        means.append(values)
        rows.append([name, str(len(found)), *(f"{nmi:.3f} / {ari:.3f}" for nmi, ari in values)])
    overall = np.mean(means, axis=0)
    rows.append(["mean", "", *(f"{nmi:.3f} / {ari:.3f}" for nmi, ari in overall)])
    title = "A cluster divided: NMI / ARI with the types in it"
    note = "Means over the clusters of a set; seeds together."
    print_tables([Table(title, ["set", "clusters", *WAYS], rows, note)], markdown, into)
