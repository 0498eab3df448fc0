"""`python -m benchmarks scale`: whole runs on more and more cells, made from real profiles.

Each cell is a Poisson draw around a random mixture of two cells of one type, thinned to its own depth, so that no two
cells are equal and the types stay those of the profiles.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray
from scipy import sparse

from benchmarks.options import Busy, Data, Output
from benchmarks.records import Record, append, head, read
from scrae.errors import ScraeError

__all__ = [
    "Profiles",
    "draw",
    "read_profiles",
    "scale",
    "scale_agreement",
    "scale_table",
    "write_cells",
]

_DENSITY = 0.05
_DEPTH_SD = 0.3  # of the logarithm of a cell's depth
_ROWS = 5000  # cells made at a time
_CHUNK = 2**18  # entries
_CALIBRATION = 500  # cells


class Profiles(NamedTuple):
    """Real cells that new ones are drawn around."""

    counts: sparse.csr_matrix  # [profiles, genes] float64
    types: NDArray[np.object_]  # [profiles]
    depth: float  # what counts are multiplied by, so that about one in twenty is above 0


def scale(
    data: Data,
    output: Output,
    work: Annotated[
        Path, typer.Option(help="Folder outside the repository for the made cells and the runs.")
    ],
    cells: Annotated[str, typer.Option(help="Numbers of cells, comma separated.")] = "1000,10000,100000",
    sets: Annotated[str, typer.Option(help="Sets whose cells are the profiles.")] = "baron,zheng_facs",
    n_genes: Annotated[int, typer.Option(min=2, help="Most frequent genes to make.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Of cells and runs.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Threads for every library.")] = 2,
    max_epochs: Annotated[
        int | None, typer.Option(min=1, help="Few epochs, where only the size of the report is asked for.")
    ] = None,
    busy: Busy = False,
) -> None:
    """Make cells, run scrae on them in a process of its own, and record seconds, peak memory and scores."""
    profiles = read_profiles([data / f"{name}.h5ad" for name in sets.split(",")], n_genes)
    for number in map(int, cells.split(",")):
        file, folder = work / f"cells_{number}.h5ad", work / f"run_{number}"
        start = time.perf_counter()
        density = write_cells(file, profiles, number, seed=seed)
        made = round(time.perf_counter() - start, 1)
        options = ["--n-clusters", len(set(profiles.types)), "--seed", seed]
        options += [] if max_epochs is None else ["--max-epochs", max_epochs]
        found = _run(file, folder, options, threads)
        facts = {
            "cells": number,
            "genes": profiles.counts.shape[1],
            "density": round(density, 4),
            "sets": sets,
        }
        facts |= {"file_mb": round(file.stat().st_size / 2**20), "seconds_to_make": made, "seed": seed}
        append(output, {**head("scale", threads=threads, device="cpu", busy=busy), **facts, **found})
        typer.echo(json.dumps(facts | found))
        file.unlink()


def scale_agreement(
    data: Data,
    model: Annotated[Path, typer.Option(help="Model folder of a run of `scale` over the same sets.")],
    output: Output,
    cells: Annotated[int, typer.Option(help="How many cells.")] = 100_000,
    samples: Annotated[str, typer.Option(help="Sizes of samples, comma separated.")] = "10000,50000",
    sets: Annotated[str, typer.Option(help="Sets whose cells are the profiles.")] = "baron,zheng_facs",
    n_genes: Annotated[int, typer.Option(min=2, help="Most frequent genes to make.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Of cells and clusters.")] = 1,
    busy: Busy = False,
) -> None:
    """Cluster the codes of new cells all together and by samples, and record how far the two agree.

    The second exact clustering, with another seed, says how far the exact one agrees with itself.
    """
    from anndata import AnnData

    from scrae.cluster.graph import neighbor_graph
    from scrae.cluster.metrics import score
    from scrae.tl import cluster

    profiles = read_profiles([data / f"{name}.h5ad" for name in sets.split(",")], n_genes)
    z, types = _codes(model, profiles, cells, seed)
    adata, whole = AnnData(z, obsm={"X_scrae": z}), None
    for size in (cells, cells, *map(int, samples.split(","))):
        start = time.process_time()
        rows = np.sort(np.random.default_rng(seed).permutation(cells)[:size])
        if size < cells or whole is None:
            graph = neighbor_graph(z[rows], cells=rows)
        again = size == cells and whole is not None
        cluster(adata, n_clusters=len(set(types)), graph=graph, seed=seed + again)
        found = adata.obs["scrae"].astype(str).to_numpy()
        whole = found if whole is None else whole
        facts = {"cells": cells, "sample": size, "again": again, "seed": seed + again, "sets": sets}
        facts |= {"processor_seconds": round(time.process_time() - start, 1)}
        facts |= {"nmi_with_exact": score(whole, found).nmi, "nmi_with_types": score(types, found).nmi}
        append(output, {**head("scale-agreement", threads=1, device="cpu", busy=busy), **facts})
        typer.echo(json.dumps(facts))


def _codes(
    model: Path, profiles: Profiles, n_cells: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.object_]]:
    """Return codes of new cells [cells, latent] by a model of earlier ones, and their types [cells]."""
    import scrae

    trained = scrae.load(model)
    columns = [int(name.removeprefix("gene")) for name in trained.genes]
    rng, codes, types = np.random.default_rng(seed), [], []
    for start in range(0, n_cells, _ROWS):
        counts, of_block = draw(profiles, min(_ROWS, n_cells - start), rng)
        codes.append(trained.encode(scrae.CountData(counts[:, columns], trained.genes)))
        types.append(of_block)
    return np.concatenate(codes), np.concatenate(types)


def scale_table(files: Annotated[list[Path], typer.Argument(help="Files of records.")]) -> None:
    """Print the records of `scale` as Markdown."""
    records = [r for file in files for r in read(file) if r["kind"] == "scale"]
    stages = list(dict.fromkeys(stage for r in records for stage in r["seconds"]))
    typer.echo(f"| cells | {' | '.join(stages)} | seconds in all | ms a cell | peak MB | report MB | NMI |")
    typer.echo(f"|{'---:|' * (len(stages) + 6)}")
    for r in records:
        spent = sum(r["seconds"].values())
        parts = " | ".join(f"{r['seconds'].get(stage, 0):.0f}" for stage in stages)
        ends = f"{spent:.0f} | {1000 * spent / r['cells']:.1f} | {r['peak_memory_mb']} | {r['report_mb']:.1f}"
        typer.echo(f"| {r['cells']:,} | {parts} | {ends} | {r['scores']['nmi']:.3f} |")


def read_profiles(paths: list[Path], n_genes: int) -> Profiles:
    """Return the labelled cells of some sets over their most frequent genes, named by set and type.

    Raises
    ------
    ScraeError
        A file that is no labelled set.
    """
    import pandas as pd

    from benchmarks.sets import read_counts, read_labels

    parts, types = [read_counts(path) for path in paths], []
    genes = pd.Index([]).append([part.var_names for part in parts]).unique()
    for at, part in enumerate(parts):
        labels = read_labels(paths[at])
        known = np.array([label is not None for label in labels])
        types += [f"{paths[at].stem} {label}" for label in labels[known]]
        counts = sparse.coo_matrix(part.X[known])
        column = genes.get_indexer(part.var_names)[counts.col]
        shape = (int(known.sum()), len(genes))
        parts[at] = sparse.csr_matrix((counts.data.astype(np.float64), (counts.row, column)), shape=shape)
    stacked = sparse.csr_matrix(sparse.vstack(parts, format="csr"))
    if not types:
        raise ScraeError("expected labelled cells in the sets, found none; name others with --sets")
    chosen = np.sort(np.argsort(-stacked.getnnz(axis=0), kind="stable")[:n_genes])
    profiles = Profiles(stacked[:, chosen], np.array(types, dtype=object), 1.0)
    return profiles._replace(depth=_depth(profiles))


def _depth(profiles: Profiles) -> float:
    """Return the factor at which the expected share of values above 0 is `_DENSITY`, by bisection of its logarithm."""
    rates = _rates(profiles, _CALIBRATION, np.random.default_rng(0))[0].data
    low, high = -12.0, 6.0
    for _ in range(50):
        middle = (low + high) / 2
        seen = -np.expm1(-np.exp(middle) * rates).sum() / _CALIBRATION / profiles.counts.shape[1]
        low, high = (middle, high) if seen < _DENSITY else (low, middle)
    return float(np.exp(low))


def _rates(
    profiles: Profiles, n_cells: int, rng: np.random.Generator
) -> tuple[sparse.csr_matrix, NDArray[np.int64]]:
    """Return mixtures of two cells of one type [cells, genes], each of its own depth, and the first cell of each."""
    by_type = {name: np.flatnonzero(profiles.types == name) for name in sorted(set(profiles.types))}
    first = rng.integers(len(profiles.types), size=n_cells)
    second = np.array([rng.choice(by_type[name]) for name in profiles.types[first]])
    share = rng.random(n_cells)
    depth = rng.lognormal(0.0, _DEPTH_SD, n_cells) * profiles.depth
    rows = np.tile(np.arange(n_cells), 2)
    weights = np.concatenate([share * depth, (1 - share) * depth])
    shape = (n_cells, len(profiles.types))
    mixture = sparse.csr_matrix((weights, (rows, np.concatenate([first, second]))), shape=shape)
    return sparse.csr_matrix(mixture @ profiles.counts), first


def draw(
    profiles: Profiles, n_cells: int, rng: np.random.Generator
) -> tuple[sparse.csr_matrix, NDArray[np.object_]]:
    """Return counts of new cells, csr_matrix of uint16 [cells, genes], and their types [cells]."""
    rates, first = _rates(profiles, n_cells, rng)
    rates.data = rng.poisson(rates.data).clip(max=65535).astype(np.uint16)
    rates.eliminate_zeros()
    rates.sort_indices()
    return rates, profiles.types[first]


def write_cells(path: Path, profiles: Profiles, n_cells: int, *, seed: int) -> float:
    """Write an h5ad of new cells block by block, and return the share of values above 0."""
    import h5py
    import pandas as pd
    from anndata.io import write_elem

    rng, types, n_genes = np.random.default_rng(seed), [], profiles.counts.shape[1]
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        x = file.create_group("X")
        x.attrs.update(
            {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": (n_cells, n_genes)}
        )
        for name, kind in (("data", "u2"), ("indices", "i4")):
            x.create_dataset(name, (0,), kind, maxshape=(None,), chunks=(_CHUNK,))
        ends = [np.zeros(1, dtype=np.int64)]
        for start in range(0, n_cells, _ROWS):
            counts, of_block = draw(profiles, min(_ROWS, n_cells - start), rng)
            types.append(of_block)
            before = int(ends[-1][-1])
            ends.append(before + counts.indptr[1:].astype(np.int64))
            for name in ("data", "indices"):
                x[name].resize((before + counts.nnz,))
                x[name][before:] = getattr(counts, name)
        x.create_dataset("indptr", data=np.concatenate(ends))
        names = pd.Index([f"cell{i}" for i in range(n_cells)])
        write_elem(
            file, "obs", pd.DataFrame({"cell_type": pd.Categorical(np.concatenate(types))}, index=names)
        )
        write_elem(file, "var", pd.DataFrame(index=pd.Index([f"gene{i}" for i in range(n_genes)])))
    return int(ends[-1][-1]) / n_cells / n_genes


def _run(file: Path, folder: Path, options: list[Any], threads: int) -> Record:
    """Run scrae on a file in a process of its own; what it recorded, and the size of its report."""
    import os

    command = [
        sys.executable,
        "-m",
        "scrae",
        "run",
        file,
        "-o",
        folder,
        "--backed",
        "--label-key",
        "cell_type",
    ]
    command += options
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        list(map(str, command)), env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ScraeError(f"scrae run failed on {file.name}: {done.stderr.strip()[-300:]}")
    record: dict[str, Any] = json.loads((folder / "run.json").read_text())
    facts = {
        name: record[name] for name in ("seconds", "peak_memory_mb", "scores", "epochs", "n_cells", "n_genes")
    }
    seconds = {stage: round(value, 1) for stage, value in facts.pop("seconds").items()}
    size = (folder / "report.html").stat().st_size / 2**20
    return {**facts, "seconds": seconds, "report_mb": round(size, 2), "plan": done.stdout.splitlines()[0]}
