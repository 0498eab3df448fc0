"""From files to checked counts, and back to files that are whole or not there."""

from __future__ import annotations

from scrae.files import atomic_path, exclusive_lock, write_text
from scrae.io.atomic import write_h5ad
from scrae.io.backed import open_backed
from scrae.io.blocks import CountBlocks
from scrae.io.check import check_counts
from scrae.io.hdf5 import open_h5ad, read_h5ad
from scrae.io.lazy import in_blocks, is_dask, lazy_counts, use_dask
from scrae.io.names import add_note
from scrae.io.reading import read
from scrae.io.size import Stored, stored
from scrae.io.slots import use_counts
from scrae.io.trial import try_hdf5

__all__ = [
    "CountBlocks",
    "Stored",
    "add_note",
    "atomic_path",
    "check_counts",
    "exclusive_lock",
    "in_blocks",
    "is_dask",
    "lazy_counts",
    "open_backed",
    "open_h5ad",
    "read",
    "read_h5ad",
    "stored",
    "try_hdf5",
    "use_counts",
    "use_dask",
    "write_h5ad",
    "write_text",
]
