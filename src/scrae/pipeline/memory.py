"""How much memory this process can still take."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["available"]

_MEMORY = re.compile(r"^MemAvailable:\s+(\d+) kB$", re.MULTILINE)
_GROUP = re.compile(r"^\d+:(memory|):(/.*)$", re.MULTILINE)  # of version 1 and version 2
_CACHE = re.compile(
    r"^(?:total_)?inactive_file (\d+)$", re.MULTILINE
)  # what a group gives back when it is short


def available(root: Path = Path("/")) -> int | None:
    """Return bytes: the least of what the system and each of this process's control groups leave; None: not known.

    Parameters
    ----------
    root : of the file system whose ``proc`` and ``sys`` are read.
    """
    figures = list(_of_groups(root))
    found = _MEMORY.search(_text(root / "proc/meminfo"))
    if found:
        figures.append(int(found[1]) * 1024)
    elif not figures:
        with suppress(ValueError, OSError):  # no Linux: all of the machine's
            figures.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(figures, default=None)


def _of_groups(root: Path) -> Iterator[int]:
    """What each control group that has a limit leaves, from this process's own to the outermost."""
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
