"""One run, in a process of its own: counts to codes to clusters. It never reads labels."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import resource
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Outcome", "Stage", "Task", "codes_file", "file_key", "run", "run_apart"]

_SILHOUETTE_CELLS = 2000


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a run may know: of the labels only their number of kinds, K.

    Attributes
    ----------
    path, sha256
        The h5ad file and its checksum.
    method
        The method's name.
    protocol
        `"label-free"` or `"paper"`.
    n_clusters
        The number of published types.
    seed
        Drives everything that is random.
    device
        `"cpu"` or `"cuda"`.
    threads
        Threads for every library.
    busy
        Whether other work shares the machine.
    cache
        Folder for codes and clusters, kept between runs.
    """

    path: Path
    sha256: str
    method: str
    protocol: str
    n_clusters: int
    seed: int
    device: str
    threads: int
    busy: bool
    cache: Path


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Cost and facts of the embedding or of the clustering."""

    seconds: float
    peak_memory_mb: float
    threads: int
    busy: bool
    facts: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run gives.

    Attributes
    ----------
    clusters
        int64 [candidates, cells]: one candidate in protocol label-free, one for each epoch in protocol paper.
    cells
        int64 [cells], the rows of the data that were clustered: all of them, or the test part.
    embedding, clustering
        The two stages; the embedding's are those of the run that made the codes.
    code
        What the codes depend on beside data, seed and config.
    embedding_cached
        Whether the codes came from the cache.
    n_latent
        Dimensions of the codes.
    silhouette
        Of the clusters on the codes, over 2,000 cells drawn with the seed; None where it is not defined, and
        where there are several candidates.
    """

    clusters: NDArray[np.int64]
    cells: NDArray[np.int64]
    embedding: Stage
    clustering: Stage
    code: str
    embedding_cached: bool
    n_latent: int
    silhouette: float | None


def run_apart(task: Task) -> Outcome:
    """Run in a fresh process, so that its peak memory is its own and its threads are as set."""
    context = get_context("forkserver")  # one import of the libraries, then a fork for each run
    context.set_forkserver_preload(["benchmarks.warm"])
    with _threads(task.threads), ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(run, task).result()


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Set the variables that libraries read in a child; this process gets its own back."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(number)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def run(task: Task) -> Outcome:
    """Embed (or take the codes from the cache), cluster, and measure both."""
    warnings.simplefilter("ignore")  # what other packages say; a run's own failure is an exception
    logging.getLogger("lightning").setLevel(logging.ERROR)
    import torch

    from benchmarks import own
    from benchmarks.clusterers import Clustering
    from benchmarks.methods import CLUSTERERS, EMBEDDINGS, parse_method
    from benchmarks.sets import read_counts

    torch.set_num_threads(task.threads)
    method = parse_method(task.method)
    embedded = _each_epoch(task) if task.protocol == "paper" else _all_cells(task)
    cluster, _ = CLUSTERERS[method.clusterer]
    counts = None
    if method.clusterer_config.get("input_neighbours"):
        counts = read_counts(task.path)[embedded.cells].copy()

    start = perf_counter()
    if counts is not None:
        cluster = partial(own.cluster, beside=own.default_input(counts, task.seed))
    if cluster is None:  # the method's own
        assert embedded.clusters is not None  # parse_method asked before
        found = [Clustering(embedded.clusters, {})]
    else:
        found = [
            cluster(codes, n_clusters=task.n_clusters, seed=task.seed, config=method.clusterer_config)
            for codes in embedded.codes
        ]
    clustering = _stage(task, start, found[-1].facts)
    clusters = np.stack([one.clusters for one in found])
    return Outcome(
        clusters=clusters,
        cells=embedded.cells,
        embedding=embedded.stage,
        clustering=clustering,
        code=EMBEDDINGS[method.embedding].code(),
        embedding_cached=embedded.cached,
        n_latent=embedded.codes[0].shape[1],
        silhouette=_silhouette(embedded.codes[0], clusters[0], task.seed) if len(found) == 1 else None,
    )


def file_key(content: Any) -> str:
    """A short name for a cache file, from all that its content depends on."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]


def codes_file(
    cache: Path, *, sha256: str, embedding: dict[str, Any], seed: int, code: str, protocol: str
) -> Path:
    """Where the codes of a run are kept: of all cells, or with the protocol paper of the test cells at the end."""
    content = [sha256, embedding, seed, code]
    return cache / "codes" / f"{file_key(content if protocol == 'label-free' else [*content, protocol])}.npy"


class _Embedded(NamedTuple):
    cells: NDArray[np.int64]
    codes: list[NDArray[np.float32]]
    clusters: NDArray[np.int64] | None
    stage: Stage
    cached: bool


def _all_cells(task: Task) -> _Embedded:
    from benchmarks.methods import EMBEDDINGS, parse_method
    from benchmarks.sets import read_counts

    method = parse_method(task.method)
    how = EMBEDDINGS[method.embedding]
    file = _codes_file(task)
    stage_file, clusters_file = file.with_suffix(".json"), file.with_suffix(".clusters.npy")
    if stage_file.exists():
        codes, stage = np.load(file), Stage(**json.loads(stage_file.read_text()))
        clusters = np.load(clusters_file) if clusters_file.exists() else None
        return _Embedded(np.arange(len(codes)), [codes], clusters, stage, True)

    counts = read_counts(task.path)
    n_cells = counts.n_obs
    start = perf_counter()
    codes, facts, clusters = how.embed(
        counts,
        n_clusters=task.n_clusters,
        seed=task.seed,
        config=method.embedding_config,
        device=task.device,
    )
    stage = _stage(task, start, facts)
    if codes.shape[0] != n_cells or not np.isfinite(codes).all():
        raise FloatingPointError(f"{method.embedding}: expected finite codes for {n_cells} cells")
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, codes)
    if clusters is not None:
        np.save(clusters_file, clusters)
    stage_file.write_text(json.dumps(asdict(stage)))  # last, since it says that the codes are whole
    return _Embedded(np.arange(n_cells), [codes], clusters, stage, False)


def _each_epoch(task: Task) -> _Embedded:
    from benchmarks.methods import EMBEDDINGS, parse_method
    from benchmarks.sets import read_counts

    method = parse_method(task.method)
    each_epoch = EMBEDDINGS[method.embedding].each_epoch
    assert each_epoch is not None  # the caller asked before
    counts = read_counts(task.path)
    start = perf_counter()
    cells, codes, facts = each_epoch(
        counts,
        n_clusters=task.n_clusters,
        seed=task.seed,
        config=method.embedding_config,
        device=task.device,
    )
    stage, file = _stage(task, start, facts), _codes_file(task)
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, codes[-1])  # for pictures only: the protocol chooses its epochs by score
    return _Embedded(cells, codes, None, stage, False)


def _codes_file(task: Task) -> Path:
    from benchmarks.methods import EMBEDDINGS, parse_method

    method = parse_method(task.method)
    return codes_file(
        task.cache,
        sha256=task.sha256,
        embedding=method.config["embedding"],
        seed=task.seed,
        code=EMBEDDINGS[method.embedding].code(),
        protocol=task.protocol,
    )


def _stage(task: Task, start: float, facts: dict[str, Any]) -> Stage:
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return Stage(
        seconds=round(perf_counter() - start, 3),
        peak_memory_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1),
        threads=task.threads,
        busy=task.busy or os.nice(0) > 0,
        facts=facts,
    )


def _silhouette(codes: NDArray[np.float32], clusters: NDArray[np.int64], seed: int) -> float | None:
    from sklearn.metrics import silhouette_score

    generator = np.random.default_rng(seed)
    cells = generator.permutation(clusters.size)[:_SILHOUETTE_CELLS]
    if not 2 <= np.unique(clusters[cells]).size < cells.size:
        return None
    return round(float(silhouette_score(codes[cells], clusters[cells])), 5)
