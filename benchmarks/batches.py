"""`python -m benchmarks batches`: do codes forget the batch and keep the types? scib-metrics' scores, beside scVI's.

Every method gets the counts and, where its name ends in `-batch`, the batch of each cell. Labels are read when the
codes are there.
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
    import numpy as np
    from anndata import AnnData
    from numpy.typing import NDArray

    from benchmarks.embeddings import Embedding
    from benchmarks.render import Table
    from benchmarks.sets import DataSet

__all__ = ["app"]

_METHODS = "pca50,scrae,scrae-batch,scvi,scvi-batch"
_COLUMNS = {
    "nmi": "NMI",
    "ari": "ARI",
    "iLISI": "iLISI",
    "Batch correction": "batch",
    "Bio conservation": "types",
    "Total": "total",
}

app = typer.Typer(
    help="Batch correction by scib-metrics' scores.", no_args_is_help=True, add_completion=False
)


@app.command()
def run(
    data: Data,
    output: Output,
    sets: Sets = "ifnb",
    batch_key: Annotated[str, typer.Option(help="Column of obs with the batch.")] = "batch",
    methods: Annotated[str, typer.Option(help="Comma separated.")] = _METHODS,
    seeds: Annotated[int, typer.Option(min=1, help="Run seeds 0 to this minus 1.")] = 3,
    threads: TorchThreads = 1,
    busy: Busy = False,
    cache: Annotated[Path, typer.Option(help="Folder for codes, kept between runs.")] = Path(
        "benchmarks/cache/batches"
    ),
) -> None:
    """Embed and score every set, seed and method that has no record yet. Needs scib-metrics."""
    import torch

    from benchmarks.sets import find_sets

    torch.set_num_threads(threads)
    done = {(r["data"]["sha256"], r["method"], r["seed"]) for r in read(output)}
    for one in find_sets(data, sets.split(",")):
        for seed in range(seeds):
            for method in methods.split(","):
                if (one.sha256, method, seed) in done:
                    continue
                found = _run(one, method, seed, batch_key, cache)
                append(output, head("batches", threads=threads, device="cpu", busy=busy) | found)
                shown = "  ".join(f"{name} {found['scores'][key]:.3f}" for key, name in _COLUMNS.items())
                print(f"{one.name:8} {method:12} seed {seed}  {shown}", flush=True)


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

    drawn = _table([record for file in files for record in read(file)])
    if into is not None:
        into.write_text(render.insert(into.read_text(), drawn))
        return
    for one in drawn:
        render.show(one, Console(highlight=False, width=160))


def _run(data: DataSet, method: str, seed: int, batch_key: str, cache: Path) -> Record:
    import numpy as np

    from benchmarks.run import file_key

    config, code = _config(method)
    file = cache / f"{file_key([data.sha256, batch_key, method, config, seed, code])}.npy"
    facts = file.with_suffix(".json")
    if not facts.exists():
        cache.mkdir(parents=True, exist_ok=True)
        embedding = _embed(method, _counts(data.path, batch_key), seed, config)
        np.save(file, embedding.codes)
        facts.write_text(json.dumps(embedding.facts))
    about = {key: getattr(data, key) for key in ("name", "sha256", "n_cells", "n_genes", "n_types")}
    return {
        "data": about | {"batch_key": batch_key},
        "method": method,
        "config": config,
        "seed": seed,
        "code": code,
        "facts": json.loads(facts.read_text()),
        "scores": _score(data, np.load(file), seed, batch_key),
    }


def _config(method: str) -> tuple[dict[str, Any], str]:
    """Every setting of a method, and what its codes depend on beside them."""
    from benchmarks.methods import EMBEDDINGS
    from scrae.config import TrainConfig
    from scrae.errors import ScraeError

    name = method.removesuffix("-batch")
    if name not in EMBEDDINGS or (method != name and name not in ("scrae", "scvi")):
        raise ScraeError(f"expected methods among {_METHODS}, found {method!r}; correct --methods")
    more = {"prior_weight_batched": TrainConfig().prior_weight_batched} if method == "scrae-batch" else {}
    return EMBEDDINGS[name].defaults | more, EMBEDDINGS[name].code()


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


def _embed(method: str, counts: AnnData, seed: int, config: dict[str, Any]) -> Embedding:
    from benchmarks import own
    from benchmarks.methods import EMBEDDINGS

    name = method.removesuffix("-batch")
    key = None if name == method else "batch"
    if name == "scrae":
        return own.embed(counts, n_clusters=0, seed=seed, config=config, device="cpu", batch_key=key)
    if name == "scvi":
        from benchmarks.embeddings import scvi

        return scvi(counts, n_clusters=0, seed=seed, config=config, device="cpu", batch_key=key)
    return EMBEDDINGS[name].embed(counts, n_clusters=0, seed=seed, config=config, device="cpu")


def _score(data: DataSet, codes: NDArray[np.float32], seed: int, batch_key: str) -> dict[str, float]:
    """Labels are read here. NMI and ARI of the default clustering at the true K, and all of scib-metrics."""
    import pandas as pd
    import scanpy as sc
    from scib_metrics.benchmark import BatchCorrection, Benchmarker, BioConservation

    from benchmarks import own
    from benchmarks.genes import choose_genes
    from benchmarks.methods import CLUSTERERS
    from benchmarks.sets import read_labels
    from scrae.cluster.metrics import score

    cells = _counts(data.path, batch_key)
    cells = cells[:, choose_genes(cells, "seurat_v3", 2000)].copy()
    sc.pp.normalize_total(cells)
    sc.pp.log1p(cells)
    sc.pp.pca(cells, random_state=0)
    cells.obs["cell_type"] = pd.Categorical(read_labels(data.path))
    cells.obsm["codes"] = codes
    found = own.cluster(codes, n_clusters=data.n_types, seed=seed, config=CLUSTERERS["scrae"][1]).clusters
    agreement = score(cells.obs["cell_type"].to_numpy(), found)
    judge = Benchmarker(
        cells,
        batch_key="batch",
        label_key="cell_type",
        embedding_obsm_keys=["codes"],
        bio_conservation_metrics=BioConservation(),
        batch_correction_metrics=BatchCorrection(),
        pre_integrated_embedding_obsm_key="X_pca",
        progress_bar=False,
    )
    judge.benchmark()
    row = judge.get_results(min_max_scale=False).loc["codes"]
    scores = {"nmi": agreement.nmi, "ari": agreement.ari} | {
        str(name): float(row[name]) for name in row.index
    }
    return {name: round(value, 5) for name, value in scores.items()}


def _table(records: Iterable[Record]) -> list[Table]:
    import numpy as np

    from benchmarks.render import Table

    newest = {(r["data"]["name"], r["method"], r["seed"]): r for r in records}
    drawn = []
    for name in dict.fromkeys(key[0] for key in newest):
        rows = []
        for method in dict.fromkeys(key[1] for key in newest if key[0] == name):
            scores = [r["scores"] for key, r in newest.items() if key[:2] == (name, method)]
            cells = []
            for column in _COLUMNS:
                values = [one[column] for one in scores]
                cells.append(
                    f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
                    if len(values) > 1
                    else f"{values[0]:.3f}"
                )
            rows.append([method, str(len(scores)), *cells])
        note = "NMI and ARI of the default clustering at the true K; the rest is scib-metrics', not rescaled."
        drawn.append(
            Table(f"{name}: mean ± standard deviation", ["method", "seeds", *_COLUMNS.values()], rows, note)
        )
    return drawn
