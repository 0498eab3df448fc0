"""The report of a run: one HTML file, made from the files of the run."""

from scrae.report._build import build
from scrae.report._conditions import count_genes
from scrae.report._run import read_run
from scrae.report._significance import assess_clusters, summarize_test

__all__ = ["assess_clusters", "build", "count_genes", "read_run", "summarize_test"]
