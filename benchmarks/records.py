"""Records: one JSON object a line for each run, with all that is needed to trust its numbers.

Every record starts with the head that `head` makes (kind, time, commit, versions, machine); what follows
depends on the kind. `quality` and `speed` share the head and the file format.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from scrae import __version__
from scrae.errors import ScraeError

__all__ = ["FORMAT", "Record", "append", "cost_of", "head", "read", "source"]

Record = dict[str, Any]  # a line of JSON; the keys are documented in benchmarks/records/README.md

FORMAT = 1
ROOT = Path(__file__).resolve().parent.parent
_PACKAGES = (
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "anndata",
    "scanpy",
    "igraph",
    "scikit-misc",
    "torch",
    "scvi-tools",
    "scib-metrics",
    "harmonypy",
)


def head(kind: str, *, threads: int, device: str, busy: bool) -> Record:
    """The part that records of every kind share.

    Parameters
    ----------
    kind
        `"quality"` or `"speed"`.
    threads
        Threads that the run was given.
    device
        What the run computed on, `"cpu"` or the name of the GPU.
    busy
        Whether other work shared the machine, so that the seconds must not be compared with others'.
    """
    return {
        "format": FORMAT,
        "kind": kind,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        **source(),
        "versions": {"python": platform.python_version(), "scrae": __version__, **_versions()},
        "machine": {
            "cpu": _cpu_model(),
            "cpus": os.cpu_count(),
            "threads": threads,
            "device": device,
            "busy": busy or os.nice(0) > 0,
        },
    }


@cache
def source() -> Record:
    """Commit of the checkout, and whether its files differ from it; asked once, since they may change later."""
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", "src", "benchmarks/*.py")
    return {"commit": _git("rev-parse", "HEAD"), "uncommitted": changed != ""}


def cost_of(work: Callable[[], object]) -> Record:
    """Do the work in this process and return its seconds, and the peak memory before and after it."""
    before = _peak_memory_mb()
    start, spent = time.perf_counter(), time.process_time()
    work()
    return {
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(time.process_time() - spent, 1),
        "memory_before_mb": before,
        "peak_memory_mb": _peak_memory_mb(),
    }


def _peak_memory_mb() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def append(path: Path, record: Record) -> None:
    """Add one line to a file of records, in one write, so that two processes can share the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as stream:
        stream.write(json.dumps(record, allow_nan=False).encode() + b"\n")


def read(path: Path) -> list[Record]:
    """All records of a file, in the order written; none where there is no file.

    Raises
    ------
    ScraeError
        If a line is no record of this format.
    """
    if not path.exists():
        return []
    records = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            raise ScraeError(
                f"expected one JSON object a line in {path}, line {number} is none; remove it"
            ) from None
        if record.get("format") != FORMAT:
            raise ScraeError(
                f"expected records of format {FORMAT} in {path}, line {number} has {record.get('format')}; "
                "make them anew"
            )
        records.append(record)
    return records


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _git(*arguments: str) -> str | None:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def _cpu_model() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
