"""The page that a run ends with: one file, made from what the run wrote and nothing else."""

from scrae.report._build import build

__all__ = ["build"]
