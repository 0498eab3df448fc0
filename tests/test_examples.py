"""The examples in the docstrings of the public functions run, and print what they say."""

from __future__ import annotations

import doctest
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import scrae
from scrae.config import TrainConfig

API = Path(__file__).parent.parent / "docs" / "api"
ROOMS = ("datasets", "gene_selection", "io", "metrics", "pl", "pp", "sklearn", "tl")


def examples() -> Iterator[doctest.DocTest]:
    """The examples of every public function that has some."""
    for module in (scrae, *(getattr(scrae, room) for room in ROOMS)):
        for name in module.__all__:
            doc = inspect.getdoc(getattr(module, name)) or ""
            if ">>>" in doc:
                label = f"{module.__name__}.{name}"
                yield doctest.DocTestParser().get_doctest(doc, {}, label, label, 0)


@pytest.fixture(scope="module")
def given() -> Callable[[], dict[str, Any]]:
    """What the examples take as given, copied for each: cells after a run, their model, and new cells."""
    adata = scrae.datasets.pbmc()
    scrae.pp.filter(adata)
    scrae.pp.normalize(adata)
    scrae.pp.select_genes(adata, n_top_genes=400)
    model = scrae.tl.train(adata, scrae.ModelConfig(), TrainConfig(max_epochs=4))
    scrae.tl.cluster(adata, n_clusters=8)
    scrae.tl.markers(adata)
    adata.obsm["X_umap"] = adata.obsm["X_scrae"][:, :2]
    new = scrae.datasets.pbmc()[:50].copy()
    return lambda: {"scrae": scrae, "adata": adata.copy(), "model": model, "new": new.copy()}


@pytest.mark.parametrize("example", list(examples()), ids=lambda example: example.name)
@pytest.mark.filterwarnings("ignore::scrae.ScraeWarning")  # four epochs
def test_example_runs(
    example: doctest.DocTest, given: Callable[[], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainConfig, "epochs_for", lambda self, n_cells: 2)
    example.globs = given()
    lines: list[str] = []
    failed, tried = doctest.DocTestRunner().run(example, out=lines.append)
    assert tried
    assert not failed, "".join(lines)


def test_every_public_name_has_a_page() -> None:
    """Each name of a module is on its page of the API."""
    for room in ("scrae", *ROOMS):
        module = scrae if room == "scrae" else getattr(scrae, room)
        page = (API / f"{room}.md").read_text(encoding="utf-8")
        listed = set(re.findall(r"^(?:   |\.\. py:data:: )(\w+)$", page, re.MULTILINE))
        assert set(module.__all__) - set(ROOMS) <= listed, room
