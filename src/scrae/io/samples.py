"""Several files are several samples: one AnnData of all their cells and the genes that they share."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from anndata import AnnData

from scrae.errors import ScraeError, ScraeWarning
from scrae.io.names import make_unique, some
from scrae.io.notes import add_note

__all__ = ["join_samples", "sample_names"]


def sample_names(files: Sequence[Path]) -> list[str]:
    """Return the part of each path that tells it from the others: its name without ending, or a folder above.

    ``a/outs/matrix.h5`` and ``b/outs/matrix.h5`` are samples ``a`` and ``b``.
    """
    parts = [[_stem(file), *reversed(file.absolute().parts[:-1])] for file in files]
    for level in range(min(map(len, parts))):
        names = [part[level] for part in parts]
        if len(set(names)) == len(names):
            return names
    return make_unique(part[0] for part in parts)


def _stem(file: Path) -> str:
    name = file.name.removesuffix(".gz")
    return name.rpartition(".")[0] or name


def join_samples(samples: Sequence[AnnData], files: Sequence[Path]) -> AnnData:
    """Stack the cells of several AnnData that `read` made, over the genes that all of them have.

    Writes ``obs["sample"]`` (categorical, in the order of `files`). Where a cell name occurs in two
    samples, the sample is appended to every cell name. What is lost is noted.

    Raises
    ------
    ScraeError
        The samples share no gene.

    Warns
    -----
    ScraeWarning
        They share fewer than half of the genes of the smallest sample.
    """
    names = sample_names(files)
    for adata in samples:
        if "sample" in adata.obs:
            adata.obs = adata.obs.rename(columns={"sample": "sample_in_file"})
    renamed = _tell_cells_apart(samples, names)
    joined = anndata.concat(samples, join="inner", merge="same", uns_merge=None)
    smallest = min(adata.n_vars for adata in samples)
    if joined.n_vars == 0:
        firsts = "; ".join(f"{name}: {some(a.var_names)}" for name, a in zip(names, samples, strict=True))
        raise ScraeError(f"The files share no gene; name the genes of all in one way ({firsts}).")
    if joined.n_vars < 0.5 * smallest:
        warnings.warn(
            f"The files share only {joined.n_vars} genes, the smallest has {smallest}; are the genes named "
            "in one way?",
            ScraeWarning,
            stacklevel=3,
        )
    origin = [name for name, adata in zip(names, samples, strict=True) for _ in range(adata.n_obs)]
    joined.obs["sample"] = pd.Categorical(origin, categories=names)
    _note_samples(joined, samples, names)
    if renamed:
        add_note(joined, "Cell names occurred in several samples, so the sample was appended to each.")
    return joined


def _tell_cells_apart(samples: Sequence[AnnData], names: Sequence[str]) -> bool:
    """Append the sample to every cell name, in place, if any name occurs in two samples; say whether."""
    if pd.Index(np.concatenate([adata.obs_names for adata in samples])).is_unique:
        return False
    unique = make_unique(
        f"{cell}-{name}" for name, a in zip(names, samples, strict=True) for cell in a.obs_names
    )
    for adata in samples:
        adata.obs_names, unique = unique[: adata.n_obs], unique[adata.n_obs :]
    return True


def _note_samples(joined: AnnData, samples: Sequence[AnnData], names: Sequence[str]) -> None:
    for name, adata in zip(names, samples, strict=True):
        for line in adata.uns["scrae"]["notes"]:
            add_note(joined, f"{name}: {line}")
        lost = adata.n_vars - joined.n_vars
        if lost:
            add_note(
                joined, f"{name}: {lost} of {adata.n_vars} genes are not in all samples and were left out."
            )
        columns = [str(column) for column in adata.obs if column not in joined.obs]
        if columns:
            add_note(
                joined, f"{name}: columns that not all samples have were left out of obs: {some(columns, 8)}."
            )
