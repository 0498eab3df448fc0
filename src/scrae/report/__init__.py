"""The report of a run: one HTML file, made from the files of the run."""

from scrae.report._build import build
from scrae.report._run import read_run

__all__ = ["build", "read_run"]
