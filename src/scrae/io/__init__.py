"""From files to checked counts, and back to files that are whole or not there."""

from __future__ import annotations

from scrae.files import alone, atomic_path, write_text
from scrae.io.atomic import write_h5ad
from scrae.io.blocks import CountBlocks, in_file, open_backed
from scrae.io.check import check_counts
from scrae.io.hdf5 import read_h5ad
from scrae.io.names import note
from scrae.io.reading import read
from scrae.io.slots import use_counts
from scrae.io.trial import try_hdf5

__all__ = [
    "CountBlocks",
    "alone",
    "atomic_path",
    "check_counts",
    "in_file",
    "note",
    "open_backed",
    "read",
    "read_h5ad",
    "try_hdf5",
    "use_counts",
    "write_h5ad",
    "write_text",
]
