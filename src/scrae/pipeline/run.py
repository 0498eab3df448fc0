"""The path from raw files to a report, shared by ``scrae run``, ``scrae demo`` and Python."""

from __future__ import annotations

import json
import shlex
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from anndata import AnnData

from .. import io, pp, tl
from ..cluster.graph import NeighborGraph
from ..cluster.partition import check_n_clusters
from ..config import PreprocessConfig, Settings, to_dict
from ..core.checkpoint import TRAINING_FILE, Checkpoint
from ..core.device import resolve_device
from ..core.model import SCRAE
from ..core.model_io import save
from ..errors import ScraeError, ScraeWarning
from ..files import exclusive_lock, printable, replaced_together
from ..io.batches import check_keys, join_columns
from ..io.lazy import lazy_counts
from ..io.notes import add_note
from ..io.storable import make_storable
from ..report._batches import note_batches
from ..tl._annotate import can_annotate
from .memory_plan import MemoryPlan, plan_memory
from .provenance import refuse_changed, source_of_anndata, source_of_files, states
from .results import OF_CLUSTERS, Clock, Progress, write_results

__all__ = ["analyze", "find_clusters", "preprocess", "read_counts", "run"]

_LIBRARIES = ("scrae", "torch", "numpy", "scipy", "scikit-learn", "anndata", "scanpy")


def preprocess(
    adata: AnnData,
    config: PreprocessConfig,
    *,
    sample_key: str | None = None,
    seed: int = 0,
    scratch: Path | None = None,
) -> None:
    """Filter, score doublets, normalize and select genes, in place.

    Of counts in a file or dask array only those of the selected genes are kept, and doublets are not scored.

    Parameters
    ----------
    adata : AnnData
        As ``io.read`` or ``io.open_backed`` returns it.
    config : PreprocessConfig
        Thresholds and gene selection.
    sample_key : str or None
        Column of ``obs`` with the sample, for doublets and ``qc``; None = ``obs["sample"]``, if there is one.
    seed : int
        Seed of the simulated doublets.
    scratch : Path or None
        See :func:`scrae.pp.preprocess_backed`.

    Raises
    ------
    ScraeError
        Thresholds that leave nothing, or doublets to drop from counts that are not in memory.
    """
    names = ("min_cells", "min_genes", "min_counts", "max_mito", "mito_prefix", "qc")
    sample_key = sample_key or ("sample" if "sample" in adata.obs else None)
    filters = {name: getattr(config, name) for name in names} | {"sample_key": sample_key}
    selection: dict[str, Any] = {"method": config.gene_selection, "n_top_genes": config.n_top_genes}
    if lazy_counts(adata) is not None:
        if config.drop_doublets:
            raise ScraeError("drop_doublets: expected counts in memory, found them in a file; leave it out")
        pp.preprocess_backed(adata, **selection, **filters, scratch=scratch)
        return
    pp.filter(adata, **filters)
    tl.doublets(adata, sample_key=sample_key, seed=seed)
    if config.drop_doublets:
        adata._inplace_subset_obs(~adata.obs["scrae_doublet"].to_numpy())
        add_note(adata, "Doublets: these cells were dropped.")
    pp.normalize(adata)
    pp.select_genes(adata, **selection)


def analyze(
    adata: AnnData,
    settings: Settings,
    *,
    checkpoint: Checkpoint | None = None,
    scratch: Path | None = None,
    progress: Progress | None = None,
) -> tuple[SCRAE, dict[str, float]]:
    """Take counts to latent representation, clusters, scores and projections, in place.

    Parameters
    ----------
    adata : AnnData
        As ``io.read`` returns it or :func:`scrae.pp.preprocess_backed` takes it.
    settings : Settings
        ``layer``, ``transpose`` and ``backed`` are not used here.
    checkpoint : Checkpoint or None
        Where the training is saved while it runs (that of the second model beside it); None = nowhere.
    scratch : Path or None
        Folder for scratch files of counts that do not fit in memory, see :func:`scrae.pp.preprocess_backed`.
    progress : Progress or None
        Callbacks; None = none.

    Returns
    -------
    model : SCRAE
        The trained model.
    seconds : dict of str to float
        Duration of each stage.

    Raises
    ------
    ScraeError
        Bad input or settings.
    """
    clock = Clock(progress or Progress())
    seed, batch_key, model_config = settings.seed, settings.batch_key, settings.model
    options: dict[str, Any] = {
        "batch_key": batch_key,
        "device": resolve_device(settings.device),
        "seed": seed,
    }
    train = partial(tl.train, adata, train_config=settings.train, **options)
    with clock.stage("preprocess"):
        preprocess(adata, settings.preprocess, sample_key=batch_key, seed=seed, scratch=scratch)
    check_keys(adata, settings.label_key, batch_key)  # the cells with labels may all be gone
    if settings.cluster.n_clusters is not None:
        check_n_clusters("n_clusters", adata.n_obs, settings.cluster.n_clusters)
    with clock.stage("train"):
        model = train(model_config=model_config, checkpoint=checkpoint, on_epoch=clock.progress.on_epoch)
    if settings.also_2d:
        with clock.stage("train in two dimensions"):
            flat = replace(model_config, n_latent=2, n_noise=None)
            beside = checkpoint and replace(checkpoint, path=checkpoint.path.with_stem("training_2d"))
            train(model_config=flat, key_added="X_scrae_2d", write_input=False, checkpoint=beside)
    graph = find_clusters(adata, settings, clock)
    if settings.check_seeds:
        with clock.stage("train with other seeds"):
            codes = tl.train_again(
                adata,
                model_config,
                settings.train,
                times=settings.check_seeds,
                on_epoch=clock.progress.on_epoch,
                **options,
            )
            tl.agreement(adata, codes)
    if settings.label_key is not None:
        tl.score(adata, settings.label_key)
    with clock.stage("project"):
        tl.project(adata, tsne=settings.tsne, graph=graph, seed=seed)
    return model, clock.seconds


def find_clusters(
    adata: AnnData, settings: Settings, clock: Clock, *, given: bool = False
) -> NeighborGraph | None:
    """Cluster the latent representation, unless clusters are given, and assess the clusters, in place.

    Returns the neighbor graph.
    """
    with clock.stage("cluster"):
        graph = tl.neighbors(adata, seed=settings.seed)
        if not given:
            tl.cluster(adata, **vars(settings.cluster), graph=graph, seed=settings.seed)
        divided = "subclustered" in adata.uns["scrae"]["clusters"]
        if divided or not given:
            tl.cluster_levels(adata, graph=graph, seed=settings.seed)
        if not divided:  # subsamples are clustered as all cells are, without a division
            tl.stability(adata, graph=graph, seed=settings.seed)
    if adata.obs["scrae"].nunique() > 1:
        with clock.stage("find markers"):
            tl.markers(adata, seed=settings.seed)
            tl.doublet_clusters(adata)
            if can_annotate(adata):
                tl.annotate(adata)
    note_batches(adata, label_key=settings.label_key, batch_key=settings.batch_key)
    return graph


def run(
    inputs: str | Path | Sequence[str | Path] | AnnData,
    output: str | Path,
    settings: Settings | None = None,
    *,
    resume: bool = False,
    overwrite: bool = True,
    command: str = "scrae.run",
    title: str = "AnnData in memory",
    progress: Progress | None = None,
    **changes: Any,
) -> AnnData:
    """Take raw counts to clusters, latent representation, figures and a report in the folder ``output``.

    Parameters
    ----------
    inputs : path, sequence of paths or AnnData
        One file or folder, several (one sample each), or an AnnData as ``scrae.io.read`` returns it or
        ``scrae.pp.preprocess_backed`` takes it, which is changed in place.
    output : str or Path
        Folder to write.
    settings : Settings or None
        None = the defaults; see also :func:`scrae.preset`.
    resume : bool
        Continue the unfinished training in ``output/model``, if there is one; otherwise one is an error.
    overwrite : bool
        Replace the results of an earlier run in ``output``; if false, these are an error, unless ``resume`` is true.
    command, title : str
        How the run was started, and the name of an AnnData input, for ``run.json``.
    progress : Progress or None
        Callbacks; None = none.
    **changes
        Fields of ``settings`` to replace, e.g. ``label_key="cell_type"`` or ``seed=1``.

    Returns
    -------
    AnnData
        What was written as ``result.h5ad``; its slots are listed in ``docs/architecture.md``.

    Raises
    ------
    ScraeError
        Bad input or settings, too little memory, or a folder that cannot be written.

    Warns
    -----
    ScraeWarning
        All warnings are raised after the results are written.
    """
    settings, progress, folder = (
        replace(settings or Settings(), **changes),
        progress or Progress(),
        Path(output),
    )
    device = resolve_device(settings.device)
    checkpoint = Checkpoint(path=folder / "model" / TRAINING_FILE, resume=resume)
    checkpoint.refuse_unfinished()
    if not (overwrite or resume) and (folder / "run.json").exists():
        raise ScraeError(
            f"{output}: expected a folder without results, found those of an earlier run; give another folder, or "
            f"--overwrite to replace them (new clusters of the same cells: scrae recluster {shlex.quote(str(output))})"
        )
    with _deferred_warnings() as caught, exclusive_lock(folder):
        clock, scratch = Clock(progress), None
        if isinstance(inputs, AnnData):
            with clock.stage("read"):
                adata, source = inputs, source_of_anndata(inputs, title)
                make_storable(adata)
        else:
            paths = [Path(p) for p in ([inputs] if isinstance(inputs, (str, Path)) else inputs)]
            plan = plan_memory(paths, settings)
            progress.on_message(str(plan))
            with clock.stage("read"):
                before = states(paths)
                adata, source = read_counts(paths, settings, plan), source_of_files(paths)
                refuse_changed(paths, before)
            scratch = folder if plan.on_disk else None
        source |= {"n_cells": adata.n_obs, "n_genes": adata.n_vars}
        join_columns(adata, settings.batch_key)
        check_keys(adata, settings.label_key, settings.batch_key)
        model, seconds = analyze(adata, settings, checkpoint=checkpoint, scratch=scratch, progress=progress)
        facts = adata.uns["scrae"]
        if ours := [printable(str(w.message)) for w in caught if issubclass(w.category, ScraeWarning)]:
            facts["warnings"] = list(dict.fromkeys(ours))
        facts["settings"] = json.dumps(to_dict(settings))
        facts["versions"] = {name: version(name) for name in _LIBRARIES}
        record = _record(adata, settings, {"command": command, "input": source, "device": device})
        clock.seconds |= seconds
        _write(adata, model, record, folder, clock)
    return adata


@contextmanager
def _deferred_warnings() -> Iterator[list[warnings.WarningMessage]]:
    """Record all warnings of the block and raise each once after it, also if the block fails.

    Then a filter that turns warnings into errors cannot stop a run before its results are written.
    """
    caught: list[warnings.WarningMessage] = []
    failed = True
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield caught
        failed = False
    finally:
        for w in {(str(w.message), w.category, w.filename, w.lineno): w for w in caught}.values():
            with suppress(*[Warning] if failed else []):  # not in place of the error
                warnings.warn_explicit(w.message, w.category, w.filename, w.lineno)


def read_counts(paths: Sequence[Path], settings: Settings, plan: MemoryPlan) -> AnnData:
    """Read the counts of these files, or open the file that they stay in, as the memory plan says."""
    if plan.streamed:
        if settings.round:
            raise ScraeError(
                "round: expected counts that fit in memory, found them read in blocks; round them first"
            )
        return io.open_backed(paths[0], layer=settings.layer)
    least = settings.preprocess.min_counts
    return io.read(
        paths, layer=settings.layer, min_counts=least, transpose=settings.transpose, round=settings.round
    )


def _write(adata: AnnData, model: SCRAE, record: dict[str, Any], folder: Path, clock: Clock) -> None:
    """Write all files of a run together.

    After an error, those that were written count: at once where there are no earlier results, otherwise only if the
    record is among them, so that only a figure or the report is missing.
    """
    keep = "run.json" if (folder / "run.json").exists() else "model"
    with replaced_together(folder, ("model", *OF_CLUSTERS), keep=keep) as draft:
        with clock.stage("write model"):
            save(model, draft / "model")
        write_results(adata, record, draft, clock)


def _record(adata: AnnData, settings: Settings, origin: dict[str, Any]) -> dict[str, Any]:
    """Return the content of ``run.json``, apart from times and memory."""
    facts = adata.uns["scrae"]
    scores = facts["scores"] if settings.label_key else {}
    return {
        "version": version("scrae"),
        **origin,
        "seed": settings.seed,
        "config": to_dict(settings),
        "n_cells": adata.n_obs,
        "n_genes": int(facts["filter"]["n_genes_after"]),
        "n_clusters": int(facts["clusters"]["n_clusters"]),
        "epochs": int(facts["train"]["epochs"]),
        "best_epoch": int(facts["train"]["best_epoch"]),
        "stopped_because": facts["train"]["stopped_because"],
        "label_key": settings.label_key,
        "batch_key": settings.batch_key,
        "scores": {name: value for name, value in scores.items() if name != "label_key"} or None,
        "versions": facts["versions"],
    }
