"""The report of a run: one HTML file, made from the files of the run."""

from scrae.report._build import build

__all__ = ["build"]
