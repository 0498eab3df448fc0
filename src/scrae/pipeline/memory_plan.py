"""What a run will hold in memory, said and judged before the work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..config import PreprocessConfig
from ..errors import ScraeError
from ..io.stored_size import Stored, stored
from ..pp import IN_MEMORY
from . import memory

__all__ = ["MemoryPlan", "plan_memory"]

_GIB = 2**30
_LIBRARIES = int(0.8 * _GIB)
_ENTRY_IN_MEMORY = 42
"""Bytes: counts and normalised values, and the copies of both that the filter makes. Measured: docs/scale.md."""
_ENTRY_SELECTED = 20
"""Bytes: counts, normalised values, the training's own integers, and what is passing."""
_ENTRY_ON_DISK, _ENTRY_BESIDE = 16, 3
"""Bytes: counts and normalised values in scratch files, and what is in memory then."""
_CELL = 1200
"""Bytes: names, quality, codes, pictures, the report's tables."""
_DENSER = 2.0
"""Selected genes are seen in about so many times more cells than the average gene."""
_BLOCKS = int(0.3 * _GIB)
"""Bytes of a block that is read, and of its copies."""
_FEWER = "model fewer genes (--n-top-genes)"


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """What a run will hold.

    Attributes
    ----------
    streamed : whether the counts stay in their file and are read block by block.
    on_disk : bytes of scratch files for the counts of the selected genes; 0 = these are held in memory.
    parts : what is held at the peak, and about how many bytes each; empty = not known.
    available : bytes; None = not known.
    """

    streamed: bool
    on_disk: int = 0
    parts: tuple[tuple[str, int], ...]
    available: int | None

    @property
    def peak(self) -> int:
        """About how many bytes are held at most."""
        return sum(size for _, size in self.parts)

    @property
    def fits(self) -> bool:
        """Whether the peak is below what is available, as far as is known."""
        return self.available is None or self.peak <= self.available

    def __str__(self) -> str:
        """Return the plan in one line."""
        if not self.parts:
            return "Memory: the files do not state how much they hold, so it shows when they are read."
        free = "" if self.available is None else f" of {_gib(self.available)} that are free"
        where = "stay in their file and are read block by block" if self.streamed else "are read as a whole"
        where += (
            f", those of the selected genes in {_gib(self.on_disk)} of scratch files" if self.on_disk else ""
        )
        held = ", ".join(f"{what} {_gib(size)}" for what, size in self.parts)
        return f"Memory: the counts {where}; about {_gib(self.peak)}{free} will be held ({held})."


def plan_memory(
    paths: Sequence[Path], config: PreprocessConfig, *, layer: str | None = None, backed: bool | None = None
) -> MemoryPlan:
    """Return what a run over these files will hold, without parts where their formats do not state their sizes.

    Parameters
    ----------
    layer : where the counts are; None = they are looked for.
    backed : whether the counts stay in their file; None = if they do not fit in memory, and can.

    Raises
    ------
    ScraeError : it does not fit, or several files with ``backed=True``.
    """
    sizes = [stored(path, layer) for path in paths]
    if backed and len(sizes) != 1:
        raise ScraeError(
            f"--backed: expected one h5ad or zarr file, found {len(sizes)} files; join them into one file first"
        )
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes):
        return MemoryPlan(streamed=bool(backed), parts=(), available=memory.available())
    if backed:
        return _streamed(known[0], config)
    whole = _whole(known)
    if whole.fits or backed is False:
        return _fitting(whole, "let the counts stay in their file (--backed)")
    if len(known) > 1 or not known[0].in_blocks:
        return _fitting(
            whole, "write the counts by rows (csr) into one h5ad, which can be read block by block"
        )
    if config.gene_selection in IN_MEMORY:
        return _fitting(
            whole, f"choose another gene selection: {config.gene_selection} needs all counts at once"
        )
    return _streamed(known[0], config)


def _whole(sizes: Sequence[Stored]) -> MemoryPlan:
    entries, cells = sum(size.n_entries for size in sizes), sum(size.n_cells for size in sizes)
    read = max(sum(size.n_bytes for size in sizes), _ENTRY_IN_MEMORY * entries)
    return _plan([("all counts", read)], cells)


def _streamed(size: Stored, config: PreprocessConfig) -> MemoryPlan:
    share = min(1.0, _DENSER * config.n_top_genes / size.n_genes)
    selected, genes = int(share * size.n_entries), f"counts of {config.n_top_genes} genes"
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
    free = memory.available()
    return MemoryPlan(streamed=streamed, on_disk=on_disk, parts=tuple(held), available=free)


def _fitting(plan: MemoryPlan, advice: str) -> MemoryPlan:
    """Return the plan if it fits."""
    if plan.fits:
        return plan
    assert plan.available is not None  # otherwise it fits
    raise ScraeError(
        f"expected about {_gib(plan.peak)} of memory, found {_gib(plan.available)} free; {advice}, or free some. {plan}"
    )


def _gib(size: int) -> str:
    return f"{size / _GIB:.1f} GiB"
