"""`python -m benchmarks paper`: the paper's evaluation, from records."""

from benchmarks.paper.cli import app

__all__ = ["app"]
