"""The report of ``scrae demo``, made with the site: ``demo.html``."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from sphinx.application import Sphinx


def write_report(app: Sphinx, error: Exception | None) -> None:
    """Run the demo and put its page beside the others, unless the site failed or is not HTML."""
    if error is not None or app.builder.format != "html":
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "scrae", "demo", "-o", f"{folder}/demo"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603  our own program
        shutil.copy(f"{folder}/demo/report.html", Path(app.outdir) / "demo.html")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("build-finished", write_report)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
