"""What the name of a column of ``obs`` suggests: batches, labels or clusters."""

from __future__ import annotations

import re

__all__ = ["names_batches", "names_clusters", "names_labels"]

_BATCHES = re.compile(
    r"batch|donor|sample|patient|individual|subject|library|lane|chip|replicate|orig.?ident|mouse|plate|stim"
)
_LABELS = re.compile(r"type|label|annot|class|ident|popul")
_CLUSTERS = re.compile(r"leiden|louvain|cluster|snn_res")


def names_batches(column: str) -> bool:
    """Return whether the name suggests batches, such as samples or donors."""
    return _BATCHES.search(column.lower()) is not None


def names_labels(column: str) -> bool:
    """Return whether the name suggests labels of cells, such as types, and not batches."""
    return not names_batches(column) and _LABELS.search(column.lower()) is not None


def names_clusters(column: str) -> bool:
    """Return whether the name suggests the clusters of another tool, and not batches."""
    return not names_batches(column) and _CLUSTERS.search(column.lower()) is not None
