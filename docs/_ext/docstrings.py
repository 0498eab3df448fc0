"""The house's docstrings for Sphinx: sections in numpydoc's form become definition lists.

An entry is ``name : sentence`` on one line, or ``name`` with the sentence indented below it. What stands under
Returns is a sentence, or a type with the sentence indented below it.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from sphinx.application import Sphinx

_LISTS = ("Parameters", "Attributes", "Raises", "Warns")


def to_lists(lines: list[str]) -> list[str]:
    """Return the lines of a docstring with its sections as headed definition lists."""
    heads = [i for i, (name, rule) in enumerate(pairwise(lines)) if name and re.fullmatch("-{3,}", rule)]
    out = lines[: heads[0]] if heads else list(lines)
    for start, end in pairwise([*heads, len(lines)]):
        name, body = lines[start], lines[start + 2 : end]
        out += [f".. rubric:: {name}", "", *(_entries(body) if name in _LISTS else body), ""]
    return out


def _entries(body: list[str]) -> list[str]:
    """Write ``name : sentence`` as a term and its definition."""
    out: list[str] = []
    for line in body:
        if line and not line.startswith(" "):
            name, _, sentence = line.partition(" : ")
            out += [f"``{name}``", *([f"    {sentence}"] if sentence else [])]
        else:
            out.append(line)
    return out


def _process(*event: Any) -> None:
    lines: list[str] = event[-1]  # after the application, the kind of object, its name, itself and options
    lines[:] = [] if lines and lines[0].startswith("Alias for field number") else to_lists(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("autodoc-process-docstring", _process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
