"""`python -m benchmarks speed`: what an iteration and a whole run cost, beside others and beside their floor.

All that is compared runs interleaved in one process, so that a busy machine slows all of it; medians over repeats.
"""

from __future__ import annotations

import json
import math
import re
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.options import Busy, Output, TorchThreads
from benchmarks.records import append, head, read
from benchmarks.speed_table import RATIOS, tables
from benchmarks.speed_whole import whole, whole_figure, whole_table

if TYPE_CHECKING:
    from scipy import sparse

__all__ = ["app"]

app = typer.Typer(
    help="Time iterations, growth and whole runs, and print tables of the records.",
    no_args_is_help=True,
    add_completion=False,
)
app.command()(whole)
app.command("whole-table")(whole_table)
app.command("whole-figure")(whole_figure)
Data = Annotated[Path, typer.Option(help="Folder of h5ad files with counts in X.")]
Set = Annotated[str, typer.Option("--set", help="Name of the set, without .h5ad.")]
Repeats = Annotated[int, typer.Option(min=1, help="Interleaved repeats; the medians count.")]


@app.command()
def steps(
    data: Data,
    output: Output,
    name: Set = "cao",
    genes: Annotated[str, typer.Option(help="Numbers of genes, comma separated.")] = "720,2000",
    batches: Annotated[str, typer.Option(help="Cells a batch, comma separated.")] = "128,256",
    layers: Annotated[str, typer.Option(help="Hidden sizes of encoder and decoder.")] = "256,256",
    iterations: Annotated[int, typer.Option(min=1, help="Iterations a turn.")] = 5,
    repeats: Repeats = 40,
    threads: TorchThreads = 2,
    with_scvi: Annotated[
        bool, typer.Option("--scvi/--no-scvi", help="Also scvi-tools, if installed.")
    ] = True,
    busy: Busy = False,
) -> None:
    """Time an iteration of each: ours, the autoencoder alone, its matrix products, a plain one, scvi-tools."""
    import torch

    from benchmarks import speed_loops as loops
    from benchmarks.sets import read_counts
    from scrae.config import ModelConfig
    from scrae.core.data import CountData

    torch.set_num_threads(threads)
    hidden = _numbers(layers)
    config = ModelConfig(encoder_layers=tuple(hidden), decoder_layers=tuple(reversed(hidden)))
    everything = read_counts(data / f"{name}.h5ad").X
    for n_genes in _numbers(genes):
        counts = _most_expressed(everything, n_genes)
        ready = CountData(counts)
        for batch in _numbers(batches):
            contestants: dict[str, Any] = {
                "products": loops.products(ready, config, batch),
                "autoencoder": loops.ours(ready, config, batch, "none"),
                "scrae": loops.ours(ready, config, batch, "learned"),
                "plain": loops.plain(ready, config, batch),
                "scvi-tools": loops.scvi(counts, config, batch) if with_scvi else None,
            }
            sizes = {"n_genes": counts.shape[1], "batch_size": batch, "layers": hidden}
            shared = head("speed", threads=threads, device="cpu", busy=busy)
            facts = {"what": "steps", "set": name, "n_cells": counts.shape[0], **sizes}
            facts |= {"density": round(counts.nnz / counts.shape[0] / counts.shape[1], 4)}
            found = _interleaved(contestants, iterations, repeats)
            append(output, {**shared, **facts, "milliseconds": found})
            typer.echo(_line(facts, found))
            if with_scvi and contestants["scvi-tools"] is None:
                typer.echo("scvi-tools is not installed here, so it was not timed")


@app.command()
def growth(
    data: Data,
    output: Output,
    name: Set = "cao",
    repeats: Repeats = 5,
    threads: TorchThreads = 2,
    busy: Busy = False,
) -> None:
    """Time an epoch with more cells, genes and latent dimensions, and fit the exponent of each growth.

    The cells beyond the real ones are Poisson draws around real profiles.
    """
    import numpy as np
    import torch

    from benchmarks import speed_loops as loops
    from benchmarks.sets import read_counts
    from scrae.config import ModelConfig
    from scrae.core.data import CountData

    torch.set_num_threads(threads)
    everything = read_counts(data / f"{name}.h5ad").X
    axes = {"n_cells": [4000, 16000, 64000], "n_genes": [500, 1000, 2000, 4000], "n_latent": [2, 10, 50]}
    for axis, values in axes.items():
        contestants, size = {}, {"n_cells": 4000, "n_genes": 1000, "n_latent": 10}
        for value in values:
            now = {**size, axis: value}
            counts = _resampled(_most_expressed(everything, now["n_genes"]), now["n_cells"])
            config = ModelConfig(n_latent=now["n_latent"])
            contestants[str(value)] = loops.ours(CountData(counts), config, 128, "learned")
        found = _interleaved(contestants, 20, repeats)
        if axis == "n_cells":  # an epoch has as many iterations as there are batches
            found = {key: {k: v * int(key) / 128 for k, v in times.items()} for key, times in found.items()}
        medians = [found[str(value)]["median"] for value in values]
        exponent = round(float(np.polyfit(np.log(values), np.log(medians), 1)[0]), 3)
        shared = head("speed", threads=threads, device="cpu", busy=busy)
        facts = {"what": "growth", "set": name, "axis": axis, "exponent": exponent}
        append(output, {**shared, **facts, "milliseconds": found})
        times = ", ".join(f"{value}: {time:.1f} ms" for value, time in zip(values, medians, strict=True))
        typer.echo(f"{axis}: exponent {exponent}; {times}")


@app.command()
def runs(
    data: Data,
    output: Output,
    name: Set = "cao",
    repeats: Repeats = 1,
    threads: TorchThreads = 2,
    busy: Busy = False,
) -> None:
    """Time whole runs, from file to report, by stage."""
    import torch

    import scrae

    torch.set_num_threads(threads)
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            scrae.run(data / f"{name}.h5ad", Path(folder) / "run")
            seconds = json.loads((Path(folder) / "run" / "run.json").read_text())["seconds"]
        shared = head("speed", threads=threads, device="cpu", busy=busy)
        append(output, {**shared, "what": "run", "set": name, "seconds": seconds})
        typer.echo(f"{name}: {seconds}")


@app.command()
def memory(
    data: Data,
    output: Output,
    name: Set = "cao",
    cells: Annotated[int, typer.Option(min=1, help="Cells, resampled from real ones.")] = 100_000,
    genes: Annotated[int, typer.Option(min=2, help="Genes, the most expressed.")] = 2000,
    threads: TorchThreads = 2,
) -> None:
    """Measure the memory of an epoch and of all codes, beyond the libraries and the counts as a float32 matrix."""
    import torch

    from benchmarks.sets import read_counts
    from scrae.config import ModelConfig, TrainConfig
    from scrae.core.data import CountData
    from scrae.core.fit import fit
    from scrae.core.model import SCRAE

    torch.set_num_threads(threads)
    few = _most_expressed(read_counts(data / f"{name}.h5ad").X, genes)
    warm, once = CountData(few[:256]), TrainConfig(max_epochs=1)
    fit(SCRAE.for_data(warm, ModelConfig()), warm, once)  # what libraries load when first used
    counts = _resampled(few, cells)
    before, peak_before = _resident_mb()
    ready = CountData(counts)
    model = SCRAE.for_data(ready, ModelConfig())
    fit(model, ready, once)
    model.encode(ready)
    after, peak = _resident_mb()
    tensors = (ready.indptr, ready.indices, ready.values, ready.totals)
    facts = {
        "what": "memory",
        "set": name,
        "n_cells": cells,
        "n_genes": genes,
        "compact_mb": round(sum(t.nbytes for t in tensors) / 1e6, 1),
        "matrix_mb": round(
            sum(part.nbytes for part in (counts.data, counts.indices, counts.indptr)) / 1e6, 1
        ),
        "resident_mb": {"before": before, "after": after, "peak before": peak_before, "peak": peak},
    }
    append(output, {**head("speed", threads=threads, device="cpu", busy=False), **facts})
    typer.echo(facts)


def _resident_mb() -> tuple[float, float]:
    """Resident memory of this process now, and at most so far, MB."""
    status = Path("/proc/self/status").read_text()
    now, most = (
        int(re.search(rf"^{key}:\s+(\d+) kB", status, re.MULTILINE)[1]) for key in ("VmRSS", "VmHWM")
    )
    return round(now / 1000, 1), round(most / 1000, 1)


@app.command()
def training(
    data: Data,
    output: Output,
    name: Set = "cao",
    cells: Annotated[int, typer.Option(min=2, help="Cells, resampled from real ones.")] = 156_000,
    genes: Annotated[int, typer.Option(min=2, help="Genes, the most expressed.")] = 720,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    repeats: Annotated[int, typer.Option(min=1, help="Trainings, one after the other.")] = 2,
    threads: TorchThreads = 2,
    busy: Busy = False,
) -> None:
    """Time the whole default training on a device; the first one also loads libraries and records graphs."""
    import torch

    from benchmarks.sets import read_counts
    from scrae.config import ModelConfig, TrainConfig
    from scrae.core.data import CountData
    from scrae.core.fit import fit
    from scrae.core.model import SCRAE

    torch.set_num_threads(threads)
    counts = _resampled(_most_expressed(read_counts(data / f"{name}.h5ad").X, genes), cells)
    ready, config = CountData(counts, device=device), TrainConfig()
    for _ in range(repeats):
        start = perf_counter()
        result = fit(SCRAE.for_data(ready, ModelConfig()), ready, config)
        seconds = perf_counter() - start
        n_train = cells - math.ceil(cells * config.validation_fraction)
        steps = result.epochs * math.ceil(n_train / config.batch_size)
        facts = {"what": "training", "set": name, "n_cells": cells, "n_genes": genes, "epochs": result.epochs}
        facts |= {"seconds": round(seconds, 4), "iteration_ms": round(1000 * seconds / steps, 3)}
        facts |= {"cells_per_second": round(n_train * result.epochs / seconds)}
        append(output, {**head("speed", threads=threads, device=device, busy=busy), **facts})
        typer.echo(facts)


@app.command()
def table(files: Annotated[list[Path], typer.Argument(help="Files of records.")]) -> None:
    """Print the records as Markdown."""
    records = [r for file in files for r in read(file) if r["kind"] == "speed"]
    for text in tables(records):
        typer.echo(text)


def _interleaved(contestants: dict[str, Any], iterations: int, repeats: int) -> dict[str, dict[str, float]]:
    """Milliseconds of an iteration of each: median and least over the repeats, taking turns."""
    taken: dict[str, list[float]] = {key: [] for key, run in contestants.items() if run is not None}
    for run in filter(None, contestants.values()):
        run(iterations)  # warm
    for _ in range(repeats):
        for key, times in taken.items():
            times.append(contestants[key](iterations) / iterations * 1000)
    return {
        key: {"median": round(median(times), 4), "least": round(min(times), 4)}
        for key, times in taken.items()
    }


def _line(facts: dict[str, Any], found: dict[str, dict[str, float]]) -> str:
    times = "  ".join(f"{key} {value['median']:.1f}" for key, value in found.items())
    ratios = "  ".join(
        f"{a}/{b} {found[a]['median'] / found[b]['median']:.2f}"
        for a, b in RATIOS
        if a in found and b in found
    )
    return f"{facts['set']} {facts['n_genes']} genes, batch {facts['batch_size']}: ms {times}; {ratios}"


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _most_expressed(counts: sparse.csr_matrix, n_genes: int) -> sparse.csr_matrix:
    """The genes with the largest means, in their order."""
    import numpy as np

    totals = np.asarray(counts.sum(axis=0)).ravel()
    return counts[:, np.sort(np.argsort(-totals, kind="stable")[:n_genes])]


def _resampled(counts: sparse.csr_matrix, n_cells: int) -> sparse.csr_matrix:
    """Cells that are Poisson draws around the profiles of real cells, themselves drawn with replacement."""
    import numpy as np

    rng = np.random.default_rng(0)
    chosen = counts[rng.integers(0, counts.shape[0], n_cells)].copy()
    chosen.data = rng.poisson(chosen.data).astype(np.float32)
    chosen.eliminate_zeros()
    return chosen
