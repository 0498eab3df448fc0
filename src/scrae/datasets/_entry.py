"""What the catalogue says of a data set and of its files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from anndata import AnnData

__all__ = ["DataSet", "SourceFile"]


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One file of a publisher.

    Attributes
    ----------
    name
        Its name there, and in the cache.
    url
        Its address. None: the address is not certain, and the file is fetched by hand.
    checksum
        ``sha256:`` or ``git:`` (the blob's id in its repository) and the digits. None: not known; the SHA-256 of the
        first download is kept beside the file and compared from then on.
    """

    name: str
    url: str | None
    checksum: str | None = None


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """One of the paper's data sets.

    Attributes
    ----------
    name, paper
        Our name, and the paper's.
    accession, page
        Where the publisher keeps it, as a name and as a page to look at.
    files
        What is needed, in the order that `convert` takes.
    convert
        From local files in that order to an AnnData with counts in ``X`` and ``obs["cell_type"]``.
    cells, genes, types
        What the paper's table 1 says.
    citation
        The publication.
    terms
        What is known of the terms of use.
    remark
        What to know of labels, or why the numbers differ from the paper's; may be empty.
    """

    name: str
    paper: str
    accession: str
    page: str
    files: tuple[SourceFile, ...]
    convert: Callable[[Sequence[Path]], AnnData]
    cells: int
    genes: int
    types: int
    citation: str
    terms: str
    remark: str = ""

    @property
    def download(self) -> Literal["checked", "trusted", "by hand"]:
        """What `scrae.datasets.fetch` can do: compare with known checksums, trust the first download, or nothing."""
        if any(file.url is None for file in self.files):
            return "by hand"
        return "checked" if all(file.checksum for file in self.files) else "trusted"
