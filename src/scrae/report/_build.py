"""Build the page from the folder of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from scrae.files import write_text
from scrae.report._advice import advice
from scrae.report._conditions import conditions_view
from scrae.report._content import cluster_rows, headline, label_view, marker_view, scatter_view, title_of
from scrae.report._format import with_commands
from scrae.report._generated import generated_view
from scrae.report._markers import marker_tables, summarize
from scrae.report._method import gene_view, k_view, quality_view, record_view, training_view
from scrae.report._points import embed_json
from scrae.report._run import Run, read_run
from scrae.report._significance import significance_view
from scrae.report._stability import stability_view

__all__ = ["build", "render"]

MOST_ALERTS = 5  # at the top of the page; the others are folded
SCRIPTS = ("report.js", "picture.js", "expression.js", "explore.js", "plots.js", "levels.js")  # in this order


def build(folder: str | Path, *, generate: int = 0) -> Path:
    """Write ``report.html`` into the folder of a finished run.

    The page is one file that needs no network. It is made from ``result.h5ad`` and ``run.json`` alone, so it can be
    rebuilt at any time; sections without data are left out. The scatter plot shows at most 20,000 cells.

    Parameters
    ----------
    folder : str or pathlib.Path
        Folder with ``result.h5ad`` and ``run.json``.
    generate : int
        Number of cells to simulate with the run's model and to show beside the measured ones; 0: none.

    Returns
    -------
    pathlib.Path
        The page.

    Raises
    ------
    ScraeError
        If a file is missing or cannot be read, the page cannot be written, or no cells can be simulated.
    """
    path, run = Path(folder) / "report.html", read_run(folder)
    write_text(path, render(run, generated_view(run, Path(folder), generate)))
    return path


def render(run: Run, generated: dict[str, Any] | None = None) -> str:
    """Return the page of a run, with every name from the data escaped."""
    environment = Environment(
        loader=PackageLoader("scrae.report", "page"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["commands"] = with_commands
    files = Path(__file__).parent / "page"
    sentences = advice(run)
    expression = summarize(run.adata) if run.has_clusters else None
    markers = marker_tables(run.facts.get("markers")) if expression else {}
    scatter = scatter_view(run, markers)
    return environment.get_template("report.html").render(
        title=title_of(run),
        record=run.record,
        tiles=headline(run),
        advice=sentences[:MOST_ALERTS],
        more_advice=sentences[MOST_ALERTS:],
        scatter=scatter,
        scatter_json=embed_json(scatter["data"]) if scatter else Markup("null"),
        clusters=cluster_rows(run, markers),
        markers=marker_view(expression, markers) if expression else None,
        labels=label_view(run),
        conditions=conditions_view(run),
        k=k_view(run),
        significance=significance_view(run),
        stability=stability_view(run),
        generated=generated,
        training=training_view(run),
        genes=gene_view(run),
        quality=quality_view(run),
        settings=record_view(run),
        style=Markup((files / "report.css").read_text(encoding="utf-8")),  # noqa: S704  our own file
        script=Markup("".join((files / name).read_text(encoding="utf-8") for name in SCRIPTS)),  # noqa: S704  our own
    )
