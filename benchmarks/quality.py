"""How well methods cluster labelled sets: run what has no record yet, score it, record it.

Labels enter in `_score` and nowhere earlier: a run gets counts and K (`benchmarks.run`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from benchmarks import records
from benchmarks.methods import EMBEDDINGS, Method, parse_method
from benchmarks.records import Record
from benchmarks.run import Outcome, Task, file_key, run_apart
from benchmarks.sets import DataSet, find_sets, read_labels
from scrae.cluster import metrics
from scrae.errors import ScraeError

__all__ = ["Settings", "planned", "run_quality"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to run and how.

    Attributes
    ----------
    data
        Folder of h5ad files.
    sets
        Names of sets, None for all of the folder.
    methods
        Names of methods, see `benchmarks.methods`.
    seeds
        Seeds 0 to `seeds` - 1.
    protocol
        `"label-free"` or `"paper"` (METHOD section 6).
    output
        File of records; what is there already is not run again.
    device, threads, busy, cache
        As in `benchmarks.run.Task`.
    rerun
        Run also what has a record; tables take the newest.
    """

    data: Path
    sets: list[str] | None
    methods: list[str]
    seeds: int
    protocol: str
    output: Path
    device: str
    threads: int
    busy: bool
    cache: Path
    rerun: bool


def planned(settings: Settings) -> int:
    """How many runs have no record yet.

    Raises
    ------
    ScraeError
        As `run_quality`.
    """
    if settings.rerun:
        return sum(1 for _ in _runs(settings))
    done = [_identity_of(record) for record in records.read(settings.output)]
    wanted = (_identity(data, method, seed, settings.protocol) for seed, data, method in _runs(settings))
    return sum(identity not in done for identity in wanted)


def run_quality(settings: Settings) -> Iterator[Record | tuple[str, Exception]]:
    """Run every seed, set and method that has no record, seeds outermost, small sets first.

    Yields
    ------
    The record, already in the file; or what failed and why, and then the next run goes on.

    Raises
    ------
    ScraeError
        If a method, a set or the protocol is unknown.
    """
    records.source()  # what runs is the code of now, whatever is committed meanwhile
    for seed, data, method in _runs(settings):
        identity = _identity(data, method, seed, settings.protocol)
        done = [_identity_of(record) for record in records.read(settings.output)]
        if identity in done and not settings.rerun:
            continue
        try:
            record = _run_and_score(data, method, seed, settings)
        except Exception as error:  # one failure must not end a night of runs
            yield f"{data.name} {method.name} seed {seed}", error
            continue
        records.append(settings.output, record)
        yield record


def _runs(settings: Settings) -> Iterator[tuple[int, DataSet, Method]]:
    """Seed, set and method of every run, in the order of running."""
    methods = [parse_method(name) for name in settings.methods]
    for method in methods:
        if settings.protocol == "paper" and EMBEDDINGS[method.embedding].each_epoch is None:
            raise ScraeError(
                f"protocol paper: expected a method that gives its codes after every epoch, found {method.name}; "
                "leave it out"
            )
        if settings.protocol == "paper" and method.clusterer == "self":
            raise ScraeError(
                f"protocol paper: expected a clusterer of codes, as the paper has it, found {method.name}; "
                "name another clusterer"
            )
    sets = find_sets(settings.data, settings.sets)
    for seed in range(settings.seeds):
        for data in sets:
            for method in methods:
                yield seed, data, method


def _identity(data: DataSet, method: Method, seed: int, protocol: str) -> dict[str, Any]:
    """Two runs with the same identity are the same run."""
    return {
        "sha256": data.sha256,
        "protocol": protocol,
        "method": method.name,
        "config": method.config,
        "seed": seed,
    }


def _identity_of(record: Record) -> dict[str, Any]:
    keys = ("protocol", "method", "config", "seed")
    return {"sha256": record["data"]["sha256"], **{key: record[key] for key in keys}}


def _run_and_score(data: DataSet, method: Method, seed: int, settings: Settings) -> Record:
    outcome = run_apart(
        Task(
            path=data.path,
            sha256=data.sha256,
            method=method.name,
            protocol=settings.protocol,
            n_clusters=data.n_types,
            seed=seed,
            device=settings.device,
            threads=settings.threads,
            busy=settings.busy,
            cache=settings.cache,
        )
    )
    identity = _identity(data, method, seed, settings.protocol)
    agreement = {}
    if settings.protocol == "label-free":  # in the other one each seed has its own cells
        agreement = _agreement(identity, outcome.clusters[0], settings)
    return {
        **records.head(
            "quality",
            threads=outcome.embedding.threads,
            device=settings.device,
            busy=outcome.embedding.busy or outcome.clustering.busy,
        ),
        "data": {key: value for key, value in asdict(data).items() if key != "path"},
        **{key: identity[key] for key in ("protocol", "method", "config", "seed")},
        "seconds": {"embedding": outcome.embedding.seconds, "clustering": outcome.clustering.seconds},
        "peak_memory_mb": max(outcome.embedding.peak_memory_mb, outcome.clustering.peak_memory_mb),
        "code": outcome.code,
        "embedding_cached": outcome.embedding_cached,
        "n_latent": outcome.n_latent,
        "facts": {**outcome.embedding.facts, **outcome.clustering.facts},
        "n_clusters": int(np.unique(outcome.clusters[-1]).size),
        "scores": _score(data, outcome),
        "silhouette": outcome.silhouette,
        "seed_agreement": agreement,
    }


def _score(data: DataSet, outcome: Outcome) -> dict[str, float]:
    """The one place that reads labels; cells without a label are clustered but not scored.

    Of several candidates (protocol paper) each score is the best of any, as the paper's authors reported it.
    """
    labels = read_labels(data.path)[outcome.cells]
    labelled = pd.notna(labels)
    each = [asdict(metrics.score(labels[labelled], clusters[labelled])) for clusters in outcome.clusters]
    return {name: round(max(scores[name] for scores in each), 5) for name in each[0]}


def _agreement(identity: dict[str, Any], clusters: NDArray[np.int64], settings: Settings) -> dict[str, float]:
    """ARI with the clusters of the other seeds kept so far, by seed; keeps these clusters too."""
    folder = settings.cache / "clusters"
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for seed in range(settings.seeds):
        file = folder / f"{file_key({**identity, 'seed': seed})}.npy"
        if seed == identity["seed"]:
            np.save(file, clusters.astype(np.uint16))
        elif file.exists():
            found[str(seed)] = round(float(adjusted_rand_score(np.load(file), clusters)), 5)
    return found
