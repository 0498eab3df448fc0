"""The one path from a raw file to a report, which ``scrae run`` and ``scrae demo`` share."""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from anndata import AnnData

from .. import io, pl, pp, report, tl
from ..config import PreprocessConfig, Settings, to_dict
from ..core.fit import TRAINING_FILE, Checkpoint, Epoch
from ..core.model import SCRAE
from ..core.model_io import save
from ..errors import ScraeError, ScraeWarning
from ..files import atomic_path, exclusive_lock, write_text
from ..io.batches import check_keys
from ..io.lazy import lazy_counts
from .memory_plan import MemoryPlan, plan_memory
from .provenance import source_of_anndata, source_of_files

__all__ = ["Progress", "Silent", "analyze", "preprocess", "resolve_device", "run"]

_LIBRARIES = ("scrae", "torch", "numpy", "scipy", "scikit-learn", "anndata", "scanpy")


@runtime_checkable
class Progress(Protocol):
    """Who is told how far a run is."""

    def say(self, sentence: str) -> None:
        """Hear what one should know before long work."""

    def stage(self, name: str) -> None:
        """Hear that a stage begins."""

    def epoch(self, epoch: Epoch, max_epochs: int) -> None:
        """Hear that an epoch of training ended."""


class Silent:
    """Progress that nobody sees."""

    def say(self, sentence: str) -> None:
        """Say nothing."""

    def stage(self, name: str) -> None:
        """Say nothing."""

    def epoch(self, epoch: Epoch, max_epochs: int) -> None:
        """Say nothing."""


def preprocess(adata: AnnData, config: PreprocessConfig, *, scratch: Path | None = None) -> None:
    """Filter, normalise and select genes, in place; of counts in a file or dask array only the selected are left."""
    settings = asdict(config)
    method, n_top_genes = settings.pop("gene_selection"), settings.pop("n_top_genes")
    if lazy_counts(adata) is not None:
        pp.preprocess_backed(adata, method=method, n_top_genes=n_top_genes, scratch=scratch, **settings)
        return
    pp.filter(adata, **settings)
    pp.normalize(adata)
    pp.select_genes(adata, method=method, n_top_genes=n_top_genes)


def analyze(
    adata: AnnData,
    settings: Settings,
    *,
    label_key: str | None = None,
    batch_key: str | None = None,
    also_2d: bool = False,
    check_seeds: int = 0,
    device: str = "cpu",
    checkpoint: Checkpoint | None = None,
    scratch: Path | None = None,
    progress: Progress | None = None,
) -> tuple[SCRAE, dict[str, float]]:
    """Take counts to codes, clusters, scores and pictures' coordinates, in place.

    Parameters
    ----------
    adata : as ``io.read`` gives it, or ``pp.preprocess_backed`` takes it.
    label_key : column of obs to score the clusters against; None = no scores.
    batch_key : column of obs with the experimental batch, which the codes are to forget (:func:`scrae.tl.train`);
        None = nothing is corrected.
    also_2d : train a second model with two latent dimensions into ``obsm["X_scrae_2d"]``.
    check_seeds : train so many models more, with the next seeds, and compare their clusters (:func:`tl.agreement`).
    checkpoint : where the training is kept while it runs (that of the second model beside it); None = nowhere.
    scratch : for counts in a file, see :func:`pp.preprocess_backed`; None = those of the selected genes fit in memory.

    Returns
    -------
    The model, and the seconds of each stage.
    """
    clock = _Clock(progress or Silent())
    seed = settings.train.seed
    train = partial(tl.train, adata, batch_key=batch_key, device=device)
    with clock.stage("preprocess"):
        preprocess(adata, settings.preprocess, scratch=scratch)
    with clock.stage("train"):
        model = train(settings.model, settings.train, checkpoint=checkpoint, on_epoch=clock.progress.epoch)
    if also_2d:
        with clock.stage("train in two dimensions"):
            flat = replace(settings.model, n_latent=2, n_noise=None)
            beside = checkpoint and replace(checkpoint, path=checkpoint.path.with_stem("training_2d"))
            train(flat, settings.train, key_added="X_scrae_2d", checkpoint=beside)
    with clock.stage("cluster"):
        graph, how = tl.neighbours(adata, seed=seed), settings.cluster
        tl.cluster(
            adata,
            n_clusters=how.n_clusters,
            method=how.method,
            resolution=how.resolution,
            graph=graph,
            seed=seed,
        )
        tl.stability(adata, graph=graph, seed=seed)
    if check_seeds:
        with clock.stage("train with other seeds"):
            codes = tl.train_again(
                adata,
                settings.model,
                settings.train,
                times=check_seeds,
                batch_key=batch_key,
                device=device,
                on_epoch=clock.progress.epoch,
            )
            tl.agreement(adata, codes)
    if label_key is not None:
        tl.score(adata, label_key)
    with clock.stage("pictures' coordinates"):
        tl.project(adata, graph=graph, seed=seed)
    return model, clock.seconds


def run(
    inputs: str | Path | Sequence[str | Path] | AnnData,
    output: str | Path,
    settings: Settings | None = None,
    *,
    label_key: str | None = None,
    batch_key: str | None = None,
    layer: str | None = None,
    transpose: bool = False,
    backed: bool | None = None,
    also_2d: bool = False,
    check_seeds: int = 0,
    device: str = "auto",
    resume: bool = False,
    command: str = "scrae.run",
    title: str = "AnnData in memory",
    progress: Progress | None = None,
) -> AnnData:
    """Take raw counts to clusters, codes, pictures and a report in the folder ``output``.

    Parameters
    ----------
    inputs : one file or folder, several (one sample each), or an AnnData as ``scrae.io.read`` gives it or
        ``scrae.pp.preprocess_backed`` takes it, which is changed in place.
    settings : None = the defaults; see ``scrae.preset``.
    label_key : column of obs to score against; None = no scores.
    batch_key : column of obs with the experimental batch, e.g. ``sample`` for several inputs; None = nothing is
        corrected.
    check_seeds : train so many models more, with the next seeds, and compare their clusters.
    layer : where the counts are; None = they are looked for.
    transpose : for csv and tsv, the rows are genes and the columns cells.
    backed : whether the counts of an h5ad or zarr stay in the file and are read block by block; the result then has
        the selected genes alone. None = if the file does not fit in memory.
    device : auto, cpu, cuda or mps; auto takes a CUDA device where there is one.
    resume : go on with the training that a stopped run kept in ``output/model``, if there is one. Otherwise an
        unfinished training there is refused.
    command, title : what ``run.json`` says of how the run was started, and of an input that is no file.

    Returns
    -------
    The AnnData that was written as ``result.h5ad``; its slots are listed in ``docs/architecture.md``.

    Raises
    ------
    ScraeError : bad input or settings, too little memory, or a folder that cannot be written.
    """
    settings, progress = settings or Settings(), progress or Silent()
    device, folder, start = resolve_device(device), Path(output), time.perf_counter()
    checkpoint = Checkpoint(path=folder / "model" / TRAINING_FILE, resume=resume)
    checkpoint.refuse_unfinished()
    with exclusive_lock(folder):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ScraeWarning)
            if isinstance(inputs, AnnData):
                progress.stage("read")
                scratch = None
                adata, source = inputs, source_of_anndata(inputs, title)
            else:
                paths = [Path(p) for p in ([inputs] if isinstance(inputs, (str, Path)) else inputs)]
                plan = plan_memory(paths, settings.preprocess, layer=layer, backed=backed)
                progress.say(str(plan))
                progress.stage("read")
                adata = _read(paths, plan, settings.preprocess.min_counts, layer, transpose)
                scratch = folder if plan.on_disk else None
                source = source_of_files(paths)
            source |= {"n_cells": adata.n_obs, "n_genes": adata.n_vars}
            check_keys(adata, label_key, batch_key)
            seconds = {"read": time.perf_counter() - start}
            model, stages = analyze(
                adata,
                settings,
                label_key=label_key,
                batch_key=batch_key,
                also_2d=also_2d,
                check_seeds=check_seeds,
                device=device,
                checkpoint=checkpoint,
                scratch=scratch,
                progress=progress,
            )
        _pass_on(adata, caught)
        adata.uns["scrae"]["versions"] = {name: version(name) for name in _LIBRARIES}
        record = _record(adata, settings, command, source, device, label_key, seconds | stages)
        _write(adata, model, record, folder, progress)
    return adata


def _read(
    paths: list[Path], plan: MemoryPlan, min_counts: int | None, layer: str | None, transpose: bool
) -> AnnData:
    """Read the counts, or open the file that they stay in."""
    if not plan.streamed:
        return io.read(paths, layer=layer, min_counts=min_counts, transpose=transpose)
    if transpose:
        raise ScraeError("--backed reads h5ad and zarr, and --transpose is for csv and tsv: leave one out")
    return io.open_backed(paths[0], layer=layer)


def resolve_device(name: str) -> str:
    """Return the torch device that ``name`` (auto, cpu, cuda, mps) means here.

    Raises
    ------
    ScraeError : another name, or a device that this machine does not have.
    """
    if name not in ("auto", "cpu", "cuda", "mps"):
        raise ScraeError(f"device: expected auto, cpu, cuda or mps, found {name!r}")
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there[name]:
        raise ScraeError(
            f"device: expected one that is there, found no {name} device for torch; use --device cpu"
        )
    return name


class _Clock:
    """Tells each stage's beginning and keeps its seconds."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.progress.stage(name)
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start


def _write(adata: AnnData, model: SCRAE, record: dict[str, Any], folder: Path, progress: Progress) -> None:
    """Write everything that DESIGN's contract names; each file appears whole or not at all."""
    clock = _Clock(progress)
    with clock.stage("figures"), atomic_path(folder / "figures") as draft:
        pl.save_figures(adata, draft, label_key=record["label_key"])  # and their colours into uns
    with clock.stage("write"):
        io.write_h5ad(adata, folder / "result.h5ad")
        with atomic_path(folder / "clusters.csv") as draft:
            adata.obs["scrae"].to_csv(draft, index_label="cell", header=["cluster"])
        with atomic_path(folder / "model") as draft:
            save(model, draft)
    with clock.stage("report"):
        _write_record(record, clock, folder)  # the report reads it
        report.build(folder)
    _write_record(record, clock, folder)


def _write_record(record: dict[str, Any], clock: _Clock, folder: Path) -> None:
    scale = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    record["seconds"] |= clock.seconds
    record["peak_memory_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale)
    write_text(folder / "run.json", json.dumps(record, indent=2) + "\n")


def _record(
    adata: AnnData,
    settings: Settings,
    command: str,
    source: dict[str, Any],
    device: str,
    label_key: str | None,
    seconds: dict[str, float],
) -> dict[str, Any]:
    facts = adata.uns["scrae"]
    scores = {k: v for k, v in facts["scores"].items() if k != "label_key"} if label_key else None
    return {
        "version": version("scrae"),
        "command": command,
        "input": source,
        "seed": settings.train.seed,
        "device": device,
        "config": to_dict(settings),
        "n_cells": adata.n_obs,
        "n_genes": int(facts["filter"]["n_genes_after"]),
        "n_clusters": int(facts["clusters"]["n_clusters"]),
        "epochs": int(facts["train"]["epochs"]),
        "best_epoch": int(facts["train"]["best_epoch"]),
        "stopped_because": facts["train"]["stopped_because"],
        "label_key": label_key,
        "batch_key": facts["train"]["batch_key"] or None,
        "scores": scores,
        "seconds": seconds,
        "peak_memory_mb": None,
        "versions": facts["versions"],
    }


def _pass_on(adata: AnnData, caught: Sequence[warnings.WarningMessage]) -> None:
    """Keep our own warnings for the report, and raise all of them again."""
    ours = [str(w.message) for w in caught if issubclass(w.category, ScraeWarning)]
    if ours:
        adata.uns["scrae"]["warnings"] = list(dict.fromkeys(ours))
    for w in caught:
        warnings.warn_explicit(w.message, w.category, w.filename, w.lineno)
