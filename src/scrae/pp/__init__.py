"""Preprocessing: filter, normalize and select genes.

All functions modify the AnnData in place; those that read a file return a new one.
"""

from __future__ import annotations

from scrae.pp._filter import filter
from scrae.pp._in_blocks import preprocess_backed, select_genes_of_file
from scrae.pp._normalize import normalize
from scrae.pp._options import IN_MEMORY, METHODS
from scrae.pp._select import select_genes

__all__ = [
    "IN_MEMORY",
    "METHODS",
    "filter",
    "normalize",
    "preprocess_backed",
    "select_genes",
    "select_genes_of_file",
]
