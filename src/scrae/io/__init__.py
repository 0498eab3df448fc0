"""From files to checked counts, and back to h5ad files."""

from __future__ import annotations

from scrae.io.backed import open_backed
from scrae.io.blocks import CountBlocks
from scrae.io.check import check_counts
from scrae.io.find_counts import use_counts
from scrae.io.h5ad import read_h5ad, write_h5ad
from scrae.io.probe import try_hdf5
from scrae.io.reading import read

__all__ = [
    "CountBlocks",
    "check_counts",
    "open_backed",
    "read",
    "read_h5ad",
    "try_hdf5",
    "use_counts",
    "write_h5ad",
]
