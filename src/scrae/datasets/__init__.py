"""Real data: a set that needs no download, and a catalogue of the paper's ten."""

from __future__ import annotations

from scrae.datasets._catalogue import CATALOGUE
from scrae.datasets._entry import DataSet, SourceFile
from scrae.datasets._fetch import convert, fetch
from scrae.datasets._pbmc import pbmc

__all__ = ["CATALOGUE", "DataSet", "SourceFile", "convert", "fetch", "pbmc"]
