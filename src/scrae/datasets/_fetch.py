"""The paper's data sets by their names, from the network or from local files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from anndata import AnnData

from scrae.datasets._catalogue import CATALOGUE
from scrae.datasets._download import OnBytes, obtain
from scrae.datasets._entry import DataSet
from scrae.datasets._packed import check_packed
from scrae.errors import ScraeError
from scrae.io import check_counts
from scrae.io.names import clean_names, some
from scrae.io.notes import add_note

__all__ = ["convert", "fetch"]

_PACKINGS = (".gz", ".bz2", ".tar.gz")


def fetch(name: str, *, cache: Path | None = None, on_bytes: OnBytes | None = None) -> AnnData:
    """Return a data set of the paper, downloading files that are missing in the cache.

    Interrupted downloads are repeated up to two times. A file with a checksum in the catalogue is compared with it.
    For the others the SHA-256 of the first download is written beside the file and later downloads are compared with
    it: the first download is trusted, with a `ScraeWarning`. Refused files are removed from the cache.

    Parameters
    ----------
    name
        A key of `CATALOGUE`.
    cache
        Folder of downloads, with a folder for each set. None: ``scrae`` in the user's cache folder.
    on_bytes
        Called while a file comes, with its name, how many bytes are here, and of how many (None: not known).

    Returns
    -------
    As of `convert`.

    Raises
    ------
    ScraeError
        No such set; pooch is not installed; an address cannot be reached, or none is certain (the message says
        where to put the file by hand); a file is not the one known, cut short or too large; or as `convert`.
    """
    wanted = _look_up(name)
    return _converted(wanted, obtain(wanted, cache, on_bytes))


def convert(name: str, files: Sequence[Path]) -> AnnData:
    """Return a data set of the paper from files that its publisher offers; nothing is downloaded.

    Parameters
    ----------
    name
        A key of `CATALOGUE`.
    files
        The files of the set in any order, under their own names, as published or unpacked; or folders that hold them.

    Returns
    -------
    AnnData with all cells and genes of the files that have a label: ``X`` csr_matrix int32 of counts,
    ``obs["cell_type"]`` the published labels (categorical), and notes of what differs from the paper's table.

    Raises
    ------
    ScraeError
        No such set; a file is missing, damaged, hostile (an archive that leads out of its folder, or unpacks to more
        than any file of the catalogue) or of another form; or the matrix holds no counts.
    """
    wanted = _look_up(name)
    paths = _in_order(wanted, files)
    for path in paths:
        if path.is_file():
            check_packed(path, path)
    return _converted(wanted, paths)


def _look_up(name: str) -> DataSet:
    if name not in CATALOGUE:
        raise ScraeError(f"There is no data set {name!r}; there is {some(CATALOGUE, len(CATALOGUE))}.")
    return CATALOGUE[name]


def _in_order(wanted: DataSet, files: Sequence[Path]) -> list[Path]:
    """Return the files of a set in its order, found by their names."""
    here: dict[str, Path] = {}
    for file in files:
        if not file.exists():
            raise ScraeError(f"{file} does not exist.")
        here |= {inside.name: inside for inside in sorted(file.iterdir())} if file.is_dir() else {}
        here[file.name] = file
    found = {
        source.name: next((here[name] for name in _names(source.name) if name in here), None)
        for source in wanted.files
    }
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise ScraeError(
            f"{wanted.name} needs {' and '.join(missing)}, as published or unpacked (see {wanted.page}); given were "
            f"{some(here, 8) or 'no files'}."
        )
    return [path for path in found.values() if path is not None]


def _names(name: str) -> list[str]:
    """Return the name of a file as published, and unpacked."""
    return [name, *(name.removesuffix(ending) for ending in _PACKINGS if name.endswith(ending))]


def _converted(wanted: DataSet, paths: Sequence[Path]) -> AnnData:
    adata = wanted.convert(paths)
    adata.X = check_counts(
        adata.X, f"The matrix of {wanted.name}", cell_names=adata.obs_names, gene_names=adata.var_names
    )
    clean_names(adata)
    adata.obs["cell_type"] = adata.obs["cell_type"].astype(str).astype("category")
    add_note(adata, f"{wanted.paper}: {wanted.citation}; {wanted.accession}. Terms: {wanted.terms}")
    if wanted.remark:
        add_note(adata, wanted.remark)
    sizes = {
        "cells": (adata.n_obs, wanted.cells),
        "genes": (adata.n_vars, wanted.genes),
        "types": (adata.obs["cell_type"].nunique(), wanted.types),
    }
    for what, (found, paper) in sizes.items():
        if found != paper:
            add_note(adata, f"{found} {what} are here; the paper's table says {paper}.")
    return adata
