"""`python -m benchmarks batches`: how well codes forget the batch and keep the types.

Every method gets the counts and, if it corrects, the batch of each cell. Labels are read when the codes are there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.options import Busy, Data, Output, Sets, TorchThreads
from benchmarks.records import Record, append, head, read

if TYPE_CHECKING:
    from anndata import AnnData

    from benchmarks.batch_methods import BatchMethod, Embedded
    from benchmarks.render import Table
    from benchmarks.sets import DataSet

__all__ = ["app"]

_SETS = "celseq2_5cl,mca_gut,baron_mouse,marques_oligo,ifnb,baron"
_BATCH_KEYS = {"baron": "donor", "baron_mouse": "donor"}
_HARM_SETS = "bremsc_pbmc,baron_mouse,zheng_mudan"
_METHODS = "pca50,harmony,scrae,scrae-batch,scvi-batch,scvi-recipe"
_COLUMNS = {
    "own_auto_nmi": "NMI",
    "own_auto_ari": "ARI",
    "cilisi": "CiLISI",
    "iLISI": "iLISI",
    "BRAS": "BRAS",
    "Batch correction": "batch",
    "Bio conservation": "types",
    "Total": "total",
}
_HARM_COLUMNS = {
    "ari": "ARI",
    "neighbors": "neighbors",
    "type_before": "own type before",
    "type_after": "own type after",
}

_LEFT_COLUMNS = {"mapped": "mapped", "aligned": "aligned", "joint": "trained with it"}

Cache = Annotated[Path, typer.Option(help="Folder for codes, kept between runs.")]
app = typer.Typer(help="Batch correction.", no_args_is_help=True, add_completion=False)


@app.command()
def run(
    data: Data,
    output: Output,
    sets: Sets = _SETS,
    batch_key: Annotated[
        str, typer.Option(help="Column of obs with the batch; of baron and baron_mouse it is donor.")
    ] = "batch",
    methods: Annotated[str, typer.Option(help="Comma separated.")] = _METHODS,
    seeds: Annotated[int, typer.Option(min=1, help="Run seeds 0 to this minus 1.")] = 3,
    threads: TorchThreads = 1,
    busy: Busy = False,
    cache: Cache = Path("benchmarks/cache/batches"),
) -> None:
    """Embed and score every set, seed and method that has no record yet. Needs scib-metrics."""
    import torch

    from benchmarks.batch_methods import find_methods
    from benchmarks.sets import find_sets

    torch.set_num_threads(threads)
    chosen = find_methods(methods)
    done = {(r["data"]["sha256"], r["method"], r["seed"]) for r in read(output) if r["kind"] == "batches"}
    for one in find_sets(data, sets.split(",")):
        key = _BATCH_KEYS.get(one.name, batch_key)
        for seed in range(seeds):
            for name, method in chosen.items():
                if (one.sha256, name, seed) in done:
                    continue
                embedded = _cached(one, name, method, seed, key, cache)
                record = _about(one, name, method, seed) | {
                    "facts": embedded.facts,
                    "scores": _score(one, embedded, seed, key),
                }
                record["data"]["batch_key"] = key
                append(output, head("batches", threads=threads, device="cpu", busy=busy) | record)
                shown = "  ".join(f"{title} {record['scores'][key]:.3f}" for key, title in _COLUMNS.items())
                print(f"{one.name:13} {name:12} seed {seed}  {shown}", flush=True)


@app.command()
def harm(
    data: Data,
    output: Output,
    sets: Sets = _HARM_SETS,
    methods: Annotated[str, typer.Option(help="Comma separated.")] = "harmony,scrae-batch",
    seeds: Annotated[int, typer.Option(min=1, help="Run seeds 0 to this minus 1.")] = 3,
    threads: TorchThreads = 1,
    busy: Busy = False,
) -> None:
    """Give random halves of a set as two batches: a correction should change nothing.

    ARI of the clusters (K unknown) with those of the uncorrected run, and the share of neighbors kept. Then the most
    frequent type is removed from one half: the share of neighbors of the same type of its cells, before and after.
    """
    import torch

    from benchmarks.batch_methods import find_methods
    from benchmarks.sets import find_sets

    torch.set_num_threads(threads)
    done = {(r["data"]["sha256"], r["method"], r["seed"]) for r in read(output) if r["kind"] == "harm"}
    for one in find_sets(data, sets.split(",")):
        for seed in range(seeds):
            for name, method in find_methods(methods).items():
                if (one.sha256, name, seed) in done:
                    continue
                record = _about(one, name, method, seed) | {"scores": _harm(one, method, seed)}
                append(output, head("harm", threads=threads, device="cpu", busy=busy) | record)
                shown = "  ".join(
                    f"{title} {record['scores'][key]:.3f}" for key, title in _HARM_COLUMNS.items()
                )
                print(f"{one.name:13} {name:12} seed {seed}  {shown}", flush=True)


@app.command()
def leave(
    data: Data,
    output: Output,
    sets: Sets = "celseq2_5cl,ifnb",
    seeds: Annotated[int, typer.Option(min=1, help="Run seeds 0 to this minus 1.")] = 1,
    threads: TorchThreads = 1,
    busy: Busy = False,
) -> None:
    """Train without one batch, for each in turn, and map its cells: the share that get their published type."""
    import pandas as pd
    import torch

    from benchmarks.batch_map import left_out_scores
    from benchmarks.batch_methods import METHODS
    from benchmarks.sets import find_sets, read_labels

    torch.set_num_threads(threads)
    done = {(r["data"]["sha256"], r["method"], r["seed"]) for r in read(output) if r["kind"] == "left_out"}
    for one in find_sets(data, sets.split(",")):
        cells = _counts(one.path, _BATCH_KEYS.get(one.name, "batch"))
        cells.obs["cell_type"] = pd.Categorical(read_labels(one.path))
        for seed in range(seeds):
            for batch in cells.obs["batch"].cat.categories:
                if (one.sha256, name := f"without {batch}", seed) in done:
                    continue
                record = _about(one, name, METHODS["scrae-batch"], seed)
                record["scores"] = left_out_scores(cells, batch, seed=seed)
                append(output, head("left_out", threads=threads, device="cpu", busy=busy) | record)
                print(f"{one.name:13} {name} seed {seed}  {record['scores']}", flush=True)


@app.command()
def table(
    files: Annotated[list[Path], typer.Argument(help="Files of records.")],
    into: Annotated[
        Path | None, typer.Option(help="Write Markdown into this page, between its marks.")
    ] = None,
) -> None:
    """Print means over seeds."""
    from rich.console import Console

    from benchmarks import render

    drawn = _tables([record for file in files for record in read(file)])
    if into is not None:
        into.write_text(render.insert(into.read_text(), drawn))
        return
    for one in drawn:
        render.show(one, Console(highlight=False, width=160))


def _about(data: DataSet, name: str, method: BatchMethod, seed: int) -> Record:
    about = {key: getattr(data, key) for key in ("name", "sha256", "n_cells", "n_genes", "n_types")}
    return {"data": about, "method": name, "config": method.config, "seed": seed, "code": method.code()}


def _cached(data: DataSet, name: str, method: BatchMethod, seed: int, key: str, cache: Path) -> Embedded:
    """The codes of a run, from an earlier one if nothing that shapes them has changed."""
    import numpy as np

    from benchmarks.batch_methods import Embedded
    from benchmarks.run import file_key

    file = cache / f"{file_key([data.sha256, key, name, method.config, seed, method.code()])}.npz"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        made = method.embed(_counts(data.path, key), seed=seed)
        beside = {} if made.beside is None else {"beside": made.beside}
        np.savez(file, codes=made.codes, facts=json.dumps(made.facts), **beside)
    with np.load(file) as saved:
        return Embedded(
            codes=saved["codes"],
            beside=saved.get("beside", None),
            facts=json.loads(str(saved["facts"])),
        )


def _counts(path: Path, batch_key: str) -> AnnData:
    """The counts and the batch of each cell, nothing else."""
    import anndata as ad
    import h5py
    import pandas as pd

    from benchmarks.sets import read_counts

    counts = read_counts(path)
    with h5py.File(path) as file:
        batches = pd.Series(ad.io.read_elem(file["obs"][batch_key]))
    counts.obs["batch"] = pd.Categorical(batches.astype(str))
    return counts


def _score(data: DataSet, embedded: Embedded, seed: int, batch_key: str) -> dict[str, float]:
    """Labels are read here."""
    import pandas as pd
    import scanpy as sc

    from benchmarks.batch_scores import cilisi, cluster_scores, scib_scores
    from benchmarks.genes import choose_genes
    from benchmarks.sets import read_labels

    cells = _counts(data.path, batch_key)
    cells = cells[:, choose_genes(cells, "seurat_v3", 2000)].copy()
    sc.pp.normalize_total(cells)
    sc.pp.log1p(cells)
    sc.pp.pca(cells, random_state=0)
    types = read_labels(data.path)
    cells.obs["cell_type"] = pd.Categorical(types)
    scores = cluster_scores(embedded.codes, embedded.beside, types, seed)
    scores["cilisi"] = cilisi(embedded.codes, cells.obs["batch"].to_numpy(dtype=object), types)
    scores |= scib_scores(cells, embedded.codes)
    return {name: round(value, 5) for name, value in scores.items()}


def _harm(data: DataSet, method: BatchMethod, seed: int) -> dict[str, float]:
    import numpy as np
    import pandas as pd
    from sklearn.metrics import adjusted_rand_score

    from benchmarks import batch_scores
    from benchmarks.batch_methods import METHODS
    from benchmarks.sets import read_counts, read_labels

    counts, types = read_counts(data.path), read_labels(data.path).astype(str)
    half = np.random.default_rng(seed).permutation(len(types)) % 2
    counts.obs["batch"] = pd.Categorical(np.where(half, "b", "a"))
    common = str(pd.Series(types).mode()[0])
    kept = (types != common) | (half == 0)
    assert method.uncorrected is not None

    def both(cells: AnnData) -> list[Embedded]:
        return [one.embed(cells.copy(), seed=seed) for one in (METHODS[method.uncorrected or ""], method)]

    before, after = both(counts)
    found = [
        batch_scores.clusters(one.codes, one.beside, n_clusters=None, seed=seed) for one in (before, after)
    ]
    scores = {
        "ari": adjusted_rand_score(*found),
        "neighbors": batch_scores.kept_neighbors(before.codes, after.codes),
    }
    for name, one in zip(("type_before", "type_after"), both(counts[kept].copy()), strict=True):
        scores[name] = batch_scores.neighbors_of_type(one.codes, types[kept], common)
    return {name: round(float(value), 5) for name, value in scores.items()}


def _tables(records: Iterable[Record]) -> list[Table]:
    listed = list(records)
    return [
        *_by_set([r for r in listed if r["kind"] == "batches"], _COLUMNS, "NMI and ARI: K unknown."),
        *_by_set([r for r in listed if r["kind"] == "harm"], _HARM_COLUMNS, "Two random halves as batches."),
        *_by_set(
            [r for r in listed if r["kind"] == "left_out"],
            _LEFT_COLUMNS,
            "Share of cells with their published type, by a model without this batch.",
        ),
    ]


def _by_set(records: list[Record], columns: dict[str, str], note: str) -> list[Table]:
    from benchmarks.render import Table

    newest = {(r["data"]["name"], r["method"], r["seed"]): r["scores"] for r in records}
    methods = list(dict.fromkeys(key[1] for key in newest))
    drawn = []
    for name in dict.fromkeys(key[0] for key in newest):
        rows = []
        for method in methods:
            scores = [one for key, one in newest.items() if key[:2] == (name, method)]
            if scores:
                rows.append([method, str(len(scores)), *(_mean(scores, column) for column in columns)])
        title = f"{name}: mean ± standard deviation"
        drawn.append(Table(title, ["method", "seeds", *columns.values()], rows, note))
    return drawn


def _mean(scores: list[dict[str, Any]], column: str) -> str:
    import numpy as np

    values = [one[column] for one in scores if column in one]
    if not values:  # an older record
        return "-"
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}"
