"""One run of ``scrae demo`` for the whole site: executed pages and figures read it, and its report is ``demo.html``."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from sphinx.application import Sphinx

from scrae.cli import app as program

FOLDER = "SCRAE_SITE_FOLDER"  # environment variable: where pages are executed


def run_demo(app: Sphinx) -> None:
    """Run the demo in an empty folder, in which the kernels of the executed pages start."""
    folder = Path(app.outdir).parent / "site"
    os.environ[FOLDER] = str(folder)
    os.environ["PYTHONSTARTUP"] = str(Path(__file__).with_name("kernel_startup.py"))
    if app.builder.format == "html":
        shutil.rmtree(folder, ignore_errors=True)
        program(["demo", "-o", str(folder / "demo")], standalone_mode=False)


def copy_report(app: Sphinx, error: Exception | None) -> None:
    """Put the report beside the pages, unless the site failed or is not HTML."""
    if error is None and app.builder.format == "html":
        shutil.copy(Path(os.environ[FOLDER]) / "demo" / "report.html", Path(app.outdir) / "demo.html")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("builder-inited", run_demo, priority=100)
    app.connect("build-finished", copy_report)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
