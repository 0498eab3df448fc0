"""Figures of ``scrae.pl``: the examples of the docstrings are run, for the pages of the API and the ``{gallery}``."""

from __future__ import annotations

import doctest
import inspect
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import scrae

FIGURES = "api/generated/figures"  # in the source folder; git ignores it
DRAWN: dict[
    str, list[tuple[doctest.Example, str]]
] = {}  # examples of each function, with the figure after each or ""


def draw_figures(app: Sphinx) -> None:
    """Run the examples of every function of ``scrae.pl`` on the demo's cells, and save what they draw."""
    if app.builder.format != "html":
        return
    folder = Path(app.srcdir) / FIGURES
    shutil.rmtree(folder.parent, ignore_errors=True)  # with pages of functions that no longer exist
    folder.mkdir(parents=True, exist_ok=True)
    adata = scrae.io.read_h5ad(Path(os.environ["SCRAE_SITE_FOLDER"]) / "demo" / "result.h5ad")
    for name in sorted(scrae.pl.__all__, key=lambda name: name != "embedding"):  # the first one first
        function = getattr(scrae.pl, name)
        if callable(function):
            DRAWN[name] = list(_drawn(name, function, {"scrae": scrae, "adata": adata}, folder))


def _drawn(
    name: str, function: Any, names: dict[str, Any], folder: Path
) -> Iterator[tuple[doctest.Example, str]]:
    """Run the examples of a function, each of one line."""
    for number, example in enumerate(doctest.DocTestParser().get_examples(inspect.getdoc(function) or "")):
        exec(example.source, names)  # noqa: S102 -- our own docstrings
        path = ""
        variable, _, call = example.source.partition(" = ")
        if variable in ("ax", "axes") and call.startswith(f"scrae.pl.{name}("):
            path = f"{FIGURES}/{name}_{number}.png"
            np.atleast_1d(names[variable]).ravel()[0].figure.savefig(folder / f"{name}_{number}.png", dpi=110)
        yield example, path


def add_figures(_app: Sphinx, _what: str, name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    """Put each figure below the example that draws it."""
    module, _, function = name.rpartition(".")
    if not module.startswith("scrae.pl"):
        return
    for example, path in DRAWN.get(function, []):
        if path:
            at = (
                next(i for i, line in enumerate(lines) if line.strip() == f">>> {example.source.strip()}") + 1
            )
            lines[at:at] = ["", f".. image:: /{path}", f"   :alt: {example.source.strip()}", ""]


class Gallery(SphinxDirective):
    """Every figure of ``scrae.pl`` with its code, a section each function."""

    def run(self) -> list[nodes.Node]:
        """Return the parsed sections."""
        return self.parse_text_to_nodes("\n".join(self._markdown()), allow_section_headings=True)

    def _markdown(self) -> Iterator[str]:
        for name, examples in DRAWN.items():
            if not any(path for _, path in examples):
                continue
            summary = (inspect.getdoc(getattr(scrae.pl, name)) or "").split("\n\n")[0]
            summary = " ".join(summary.split()).replace("``", "`").replace(":func:", "")
            yield from ("", f"## {name}", "", summary, f"Reference: {{py:obj}}`scrae.pl.{name}`.")
            code: list[str] = []
            for example, path in examples:
                code += example.source.splitlines()
                if path:
                    yield from ("", "```python", *code, "```", "", f"![{code[-1]}](/{path})", "")
                    code = []


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("builder-inited", draw_figures, priority=200)
    app.connect("autodoc-process-docstring", add_figures, priority=100)
    app.add_directive("gallery", Gallery)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
