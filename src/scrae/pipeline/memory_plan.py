"""Estimate the memory of a run before it starts, and choose between memory and disk."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..config import Settings
from ..errors import ScraeError
from ..io.stored_size import Stored, stored
from ..pp import IN_MEMORY

__all__ = ["MemoryPlan", "available_memory", "plan_memory"]

_GIB = 2**30
_LIBRARIES = int(0.8 * _GIB)
_ENTRY_IN_MEMORY = 42
"""Bytes per nonzero: counts, normalized values and the copies of both that the filter makes (docs/scale.md)."""
_ENTRY_SELECTED = 20
"""Bytes per nonzero of the selected genes: counts, normalized values, the integers for training, temporaries."""
_ENTRY_ON_DISK, _ENTRY_BESIDE = 16, 3
"""Bytes per nonzero: counts and normalized values in scratch files, and what then remains in memory."""
_CELL = 1350
"""Bytes per cell: names, quality measures, neighbors, latent representation, projections, the report's tables."""
_DENSER = 2.0
"""Selected genes have about this many times more nonzeros than the average gene."""
_BLOCKS = int(0.3 * _GIB)
"""Bytes of a block and its copies."""
_FEWER = "select fewer genes (--n-top-genes)"
_MEMORY = re.compile(r"^MemAvailable:\s+(\d+) kB$", re.MULTILINE)
_GROUP = re.compile(r"^\d+:(memory|):(/.*)$", re.MULTILINE)  # cgroup version 1 and version 2
_CACHE = re.compile(r"^(?:total_)?inactive_file (\d+)$", re.MULTILINE)  # reclaimed when a group runs short


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """Estimated memory use of a run.

    Attributes
    ----------
    streamed : bool
        Whether the counts stay in their file and are read in blocks.
    on_disk : int
        Bytes of scratch files for the counts of the selected genes; 0 = these are held in memory.
    parts : tuple of (str, int)
        Name and approximate bytes of each part held at the peak; empty = unknown.
    available : int or None
        Bytes available; None = unknown.
    """

    streamed: bool
    on_disk: int = 0
    parts: tuple[tuple[str, int], ...]
    available: int | None

    @property
    def peak(self) -> int:
        """Estimated peak in bytes."""
        return sum(size for _, size in self.parts)

    @property
    def fits(self) -> bool:
        """Whether the peak is at most what is available, or that is unknown."""
        return self.available is None or self.peak <= self.available

    def __str__(self) -> str:
        """Return the plan in one line."""
        if not self.parts:
            return "Memory: the use cannot be estimated from these file formats; reading them anyway."
        free = "" if self.available is None else f" of {_gib(self.available)} available"
        where = "stay in their file and are read in blocks" if self.streamed else "are read into memory"
        where += (
            f", those of the selected genes in {_gib(self.on_disk)} of scratch files" if self.on_disk else ""
        )
        held = ", ".join(f"{what} {_gib(size)}" for what, size in self.parts)
        return f"Memory: the counts {where}; estimated peak {_gib(self.peak)}{free} ({held})."


def plan_memory(paths: Sequence[Path], settings: Settings) -> MemoryPlan:
    """Return the estimated memory of a run over these files; it has no parts if a format does not state its size.

    Parameters
    ----------
    paths : sequence of Path
        Input files.
    settings : Settings
        Those of the run; ``backed=None`` keeps the counts on disk if they do not fit in memory and the file allows it.

    Raises
    ------
    ScraeError
        The run does not fit, or there are several files with ``backed=True``.
    """
    backed, method = settings.backed, settings.preprocess.gene_selection
    sizes = [stored(path, settings.layer) for path in paths]
    if backed and len(sizes) != 1:
        raise ScraeError(
            f"--backed: expected one h5ad or zarr file, found {len(sizes)} files; join them into one file first"
        )
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes):
        return MemoryPlan(streamed=bool(backed), parts=(), available=available_memory())
    if backed:
        return _streamed(known[0], settings)
    whole = _whole(known)
    if whole.fits or backed is False:
        return _fitting(whole, "keep the counts in their file (--backed)")
    if len(known) > 1 or not known[0].in_blocks:
        return _fitting(whole, "store the counts by rows (csr) in one h5ad, which can be read in blocks")
    if method in IN_MEMORY:
        return _fitting(whole, f"use another --gene-selection: {method} needs all counts in memory")
    return _streamed(known[0], settings)


def _whole(sizes: Sequence[Stored]) -> MemoryPlan:
    entries, cells = sum(size.n_entries for size in sizes), sum(size.n_cells for size in sizes)
    read = max(sum(size.n_bytes for size in sizes), _ENTRY_IN_MEMORY * entries)
    return _plan([("all counts", read)], cells)


def _streamed(size: Stored, settings: Settings) -> MemoryPlan:
    if settings.transpose:
        raise ScraeError("--backed reads h5ad and zarr, and --transpose is for csv and tsv: leave one out")
    n_top_genes = settings.preprocess.n_top_genes
    share = min(1.0, _DENSER * n_top_genes / size.n_genes)
    selected, genes = int(share * size.n_entries), f"counts of {n_top_genes} genes"
    block = ("a block", _BLOCKS)
    plan = _plan([block, (genes, selected * _ENTRY_SELECTED)], size.n_cells, streamed=True)
    if plan.fits:
        return plan
    beside, on_disk = [block, (genes, selected * _ENTRY_BESIDE)], selected * _ENTRY_ON_DISK
    return _fitting(_plan(beside, size.n_cells, streamed=True, on_disk=on_disk), _FEWER)


def _plan(
    parts: list[tuple[str, int]], n_cells: int, *, streamed: bool = False, on_disk: int = 0
) -> MemoryPlan:
    held = [("the program", _LIBRARIES), *parts, (f"{n_cells} cells", _CELL * n_cells)]
    free = available_memory()
    return MemoryPlan(streamed=streamed, on_disk=on_disk, parts=tuple(held), available=free)


def _fitting(plan: MemoryPlan, advice: str) -> MemoryPlan:
    """Return the plan if it fits; raise an error otherwise."""
    if plan.fits:
        return plan
    assert plan.available is not None  # otherwise it fits
    raise ScraeError(
        f"expected about {_gib(plan.peak)} of memory, found {_gib(plan.available)} available; {advice}, or free some. "
        f"{plan}"
    )


def _gib(size: int) -> str:
    return f"{size / _GIB:.1f} GiB"


def available_memory(root: Path = Path("/")) -> int | None:
    """Return the memory available to this process in bytes; None if unknown.

    It is the smallest of what the system and each control group (cgroup) of the process leave.

    Parameters
    ----------
    root : Path
        Root of the file system whose ``proc`` and ``sys`` are read.
    """
    figures = list(_of_groups(root))
    found = _MEMORY.search(_text(root / "proc/meminfo"))
    if found:
        figures.append(int(found[1]) * 1024)
    elif not figures:
        with suppress(ValueError, OSError):  # not Linux: all memory of the machine
            figures.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(figures, default=None)


def _of_groups(root: Path) -> Iterator[int]:
    """Memory left by each control group with a limit, from the innermost to the outermost."""
    for kind, path in _GROUP.findall(_text(root / "proc/self/cgroup")):
        top = root / "sys/fs/cgroup" / kind
        limit, used = ("limit_in_bytes", "usage_in_bytes") if kind else ("max", "current")
        own = top / path.lstrip("/")
        for folder in (own, *own.parents):
            numbers = [_text(folder / f"memory.{name}").strip() for name in (limit, used)]
            if all(map(str.isdigit, numbers)):
                cache = _CACHE.findall(_text(folder / "memory.stat"))
                yield max(0, int(numbers[0]) - int(numbers[1]) + int(cache[-1] if cache else 0))
            if folder == top:
                break


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
