"""What a run will hold in memory, said and judged before the work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import memory
from .config import PreprocessConfig
from .errors import ScraeError
from .io import Stored, stored
from .pp import IN_MEMORY

__all__ = ["MemoryPlan", "plan_memory"]

_GIB = 2**30
_LIBRARIES = int(0.8 * _GIB)
_ENTRY_IN_MEMORY = 42
"""Bytes: counts and normalised values, and the copies of both that the filter makes. Measured: docs/scale.md."""
_ENTRY_SELECTED = 20
"""Bytes: counts, normalised values, the training's own integers, and what is passing."""
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
    parts : what is held at the peak, and about how many bytes each.
    available : bytes; None = not known.
    """

    streamed: bool
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
        free = "" if self.available is None else f" of {_gib(self.available)} that are free"
        where = "stay in their file and are read block by block" if self.streamed else "are read as a whole"
        held = ", ".join(f"{what} {_gib(size)}" for what, size in self.parts)
        return f"Memory: the counts {where}; about {_gib(self.peak)}{free} will be held ({held})."


def plan_memory(
    paths: Sequence[Path], config: PreprocessConfig, *, layer: str | None = None, backed: bool | None = None
) -> MemoryPlan | None:
    """Return what a run over these files will hold; None where their formats do not state their sizes.

    Parameters
    ----------
    layer : where the counts are; None = they are looked for.
    backed : whether the counts stay in their file; None = if they do not fit in memory, and can.

    Raises
    ------
    ScraeError : it does not fit, or several files with ``backed=True``.
    """
    sizes = [stored(path, layer) for path in paths]
    if backed:
        if len(sizes) != 1:
            raise ScraeError(
                f"--backed: expected one h5ad or zarr file, found {len(sizes)} files; join them into one file first"
            )
        return None if sizes[0] is None else _fitting(_streamed(sizes[0], config), _FEWER)
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes):
        return None
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
    return _fitting(_streamed(known[0], config), _FEWER)


def _whole(sizes: Sequence[Stored]) -> MemoryPlan:
    entries, cells = sum(size.n_entries for size in sizes), sum(size.n_cells for size in sizes)
    read = max(sum(size.n_bytes for size in sizes), _ENTRY_IN_MEMORY * entries)
    return _plan(False, [("all counts", read)], cells)


def _streamed(size: Stored, config: PreprocessConfig) -> MemoryPlan:
    share = min(1.0, _DENSER * config.n_top_genes / size.n_genes)
    selected = int(share * size.n_entries) * _ENTRY_SELECTED
    parts = [("a block", _BLOCKS), (f"counts of {config.n_top_genes} genes", selected)]
    return _plan(True, parts, size.n_cells)


def _plan(streamed: bool, parts: list[tuple[str, int]], n_cells: int) -> MemoryPlan:
    held = [("the program", _LIBRARIES), *parts, (f"{n_cells} cells", _CELL * n_cells)]
    return MemoryPlan(streamed=streamed, parts=tuple(held), available=memory.available())


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
