"""What all converters do at their end: matrices of samples one below the other, labels to cells."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scrae.errors import ScraeError
from scrae.io.names import some
from scrae.io.notes import add_note

__all__ = ["labeled", "made", "stacked"]


def made(counts: Any, obs: pd.DataFrame, genes: Sequence[str] | pd.Index) -> AnnData:
    """Return an AnnData of a matrix [cells, genes]; names may occur twice."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*names are not unique")  # they are made so at the end
        return AnnData(
            sparse.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=pd.Index(np.asarray(genes)))
        )


def stacked(parts: Sequence[AnnData], paths: Sequence[Path]) -> AnnData:
    """Return the cells of all samples; their files must list the same genes in one order."""
    for part, path in zip(parts, paths, strict=True):
        if not part.var_names.equals(parts[0].var_names):
            raise ScraeError(
                f"{path} lists other genes ({part.n_vars}: {some(part.var_names)}) than {paths[0].name} "
                f"({parts[0].n_vars}: {some(parts[0].var_names)}); the files do not belong together."
            )
    counts = sparse.vstack([part.X for part in parts], format="csr")
    whole = made(counts, pd.concat([part.obs for part in parts]), parts[0].var_names)
    whole.var = parts[0].var.copy()
    return whole


def labeled(adata: AnnData, labels: pd.Series, where: Path) -> AnnData:
    """Return the cells that have a label, with ``obs["cell_type"]``; how many have none is noted."""
    labels = labels[~labels.index.duplicated()].dropna()
    known = np.asarray(adata.obs_names.isin(labels.index))
    if not known.any():
        raise ScraeError(
            f"{where} names none of the cells ({some(labels.index)} there, {some(adata.obs_names)} in the counts); "
            "the files do not belong together."
        )
    if not known.all():
        adata = adata[known].copy()
        add_note(adata, f"{int((~known).sum())} cells without a label in {where.name} were left out.")
    adata.obs["cell_type"] = labels.reindex(adata.obs_names).to_numpy()
    return adata
