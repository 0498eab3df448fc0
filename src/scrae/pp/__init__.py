"""From counts to what the model reads: filter, normalise, select genes. All work in place."""

from __future__ import annotations

from scrae.pp._filter import filter
from scrae.pp._normalize import normalize
from scrae.pp._select import METHODS, select_genes

__all__ = ["METHODS", "filter", "normalize", "select_genes"]
