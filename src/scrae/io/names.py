"""Names of cells and genes: none empty, none twice."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
from anndata import AnnData

from scrae.io.notes import add_note

__all__ = ["UNFIT", "clean_names", "make_unique", "some", "unwrap"]

UNFIT = re.compile("[\0\r\n\ud800-\udfff]")  # what a list of lines, UTF-8 or HDF5 cannot hold

_AROUND = "\ufeff\u200b\ufffe\x1a"  # byte order marks and other characters without width
_BEGINNINGS = tuple("""b"'`“‘«""")
_WRAPPED = re.compile(r"""b?(["'`])(.*)\1|[“‘«](.*)[”’»]""", re.DOTALL)


def unwrap(name: str) -> str:
    """Return a name without quotes, blanks and byte order marks around it, as a user would type it."""
    while True:
        bare = name.strip().strip(_AROUND)
        if bare[:1] in _BEGINNINGS and (match := _WRAPPED.fullmatch(bare)):
            bare = match[2] if match[3] is None else match[3]
        if bare == name:
            return name
        name = bare


def some(names: Iterable[object], limit: int = 3, *, show: Callable[[str], str] = repr) -> str:
    """Return the first names, for a message: ``'A', 'B', 'C' and 4 more``."""
    listed = [show(str(name)) for name in names]
    head = ", ".join(listed[:limit])
    return head if len(listed) <= limit else f"{head} and {len(listed) - limit} more"


def make_unique(names: Iterable[str]) -> list[str]:
    """Append -1, -2, ... to every name seen before; the first keeps its name, no new one meets another."""
    names = list(names)
    taken = set(names)
    seen: set[str] = set()
    last: dict[str, int] = {}
    unique = []
    for name in names:
        new = name
        if name in seen:
            number = last.get(name, 0) + 1
            while (new := f"{name}-{number}") in taken:
                number += 1
            last[name] = number
            taken.add(new)
        seen.add(name)
        unique.append(new)
    return unique


def clean_names(adata: AnnData) -> None:
    """Give every cell and gene a bare text name that is neither empty nor used twice; what changed is noted."""
    adata.obs_names = _clean(adata, adata.obs_names, "cell")
    adata.var_names = _clean(adata, adata.var_names, "gene")


def _clean(adata: AnnData, index: pd.Index, kind: str) -> pd.Index:
    missing = index.isna()
    texts = np.where(missing, "", index.astype(str)).astype(object)
    bare = np.array([unwrap(text) for text in texts], dtype=object)
    wrapped = bare != texts
    if wrapped.any():
        add_note(
            adata,
            f"{int(wrapped.sum())} {kind} names had quotes, blanks or a byte order mark around them, now removed: "
            f"{some(texts[wrapped])}.",
        )
        texts = bare
    odd = np.array([UNFIT.search(text) is not None for text in texts], dtype=bool)
    if odd.any():
        texts[odd] = [UNFIT.sub("\ufffd", text) for text in texts[odd]]
        add_note(
            adata,
            f"{int(odd.sum())} {kind} names held line breaks or broken characters, now \ufffd: {some(texts[odd])}.",
        )
    empty = texts == ""
    if empty.any():
        texts[empty] = [f"{kind}_{position}" for position in np.flatnonzero(empty)]
        add_note(adata, f"{int(empty.sum())} {kind} names were empty and became {some(texts[empty])}.")
    names: pd.Index = pd.Index(texts)
    repeated = names[names.duplicated()].unique()
    if len(repeated):
        names = pd.Index(make_unique(names))
        add_note(
            adata,
            f"{len(repeated)} {kind} names occurred more than once and were made unique with -1, -2, ...: "
            f"{some(repeated)}.",
        )
    names.name = None if index.name is None else str(index.name)
    return names
