"""The results of a run: their files, its progress, and the time it took."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anndata import AnnData

from .. import io, pl, report
from ..core.checkpoint import Epoch
from ..files import write_text

__all__ = ["OF_CLUSTERS", "Clock", "Progress", "peak_memory_mb", "write_results"]


OF_CLUSTERS = (
    "clusters.csv",
    "markers.csv",
    "suggested_names.csv",
    "composition.csv",
    "differential_expression.csv",
    "figures",
    "result.h5ad",
    "run.json",
    "report.html",
)
"""Files of a run that depend on its clusters."""
_TABLES = {
    "markers": "markers.csv",
    "annotation": "suggested_names.csv",
    "composition": "composition.csv",
    "differential_expression": "differential_expression.csv",
}


class Progress:
    """Progress callbacks of a run, which do nothing; override those of interest."""

    def on_message(self, text: str) -> None:
        """Report a message before a long stage."""

    def on_stage(self, name: str) -> None:
        """Report that a stage begins."""

    def on_epoch(self, epoch: Epoch, max_epochs: int) -> None:
        """Report that an epoch of training ended."""


class Clock:
    """Reports each stage and measures its seconds."""

    def __init__(self, progress: Progress) -> None:
        """Start with no stage."""
        self.progress = progress
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Report a stage and measure its block."""
        self.progress.on_stage(name)
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start


def write_results(adata: AnnData, record: dict[str, Any], folder: Path, clock: Clock) -> None:
    """Write all that depends on the clusters into a new folder: tables, figures, result, record and report."""
    name = "suggested_name" if "annotation" in adata.uns["scrae"] else "name"
    columns = {"scrae": "cluster"} | ({"scrae_name": name} if "scrae_name" in adata.obs else {})
    table = adata.obs[list(columns)]
    table.to_csv(folder / "clusters.csv", index_label="cell", header=list(columns.values()))
    for key, file in _TABLES.items():
        if key in adata.uns["scrae"]:
            adata.uns["scrae"][key].to_csv(folder / file, index=False)
    try:
        with clock.stage("figures"):  # their colors go into uns
            pl.save_figures(adata, folder / "figures", label_key=record["label_key"], formats=("png",))
    finally:
        with clock.stage("write"):
            io.write_h5ad(adata, folder / "result.h5ad")
            _write_record(record, clock, folder)
    with clock.stage("report"):
        report.build(folder)  # reads the record
    _write_record(record, clock, folder)


def _write_record(record: dict[str, Any], clock: Clock, folder: Path) -> None:
    record |= {"seconds": clock.seconds, "peak_memory_mb": peak_memory_mb()}
    write_text(folder / "run.json", json.dumps(record, indent=2) + "\n")


def peak_memory_mb() -> int | None:
    """Return the peak memory of this process in MiB; None on Windows."""
    try:
        import resource
    except ImportError:
        return None
    scale = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale)
