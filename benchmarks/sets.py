"""Labelled data sets: the counts without the labels, and the labels apart.

`read_counts` is all that a method gets. It does not read `obs`, and it numbers the cells anew, since a cell's
name can give its type away.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from scrae.errors import ScraeError

__all__ = ["DataSet", "find_sets", "read_counts", "read_labels"]


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """One h5ad file with counts in `X` and published labels in `obs["cell_type"]`.

    Attributes
    ----------
    name
        The file's name without its suffix.
    path
        Where the file is.
    sha256
        Checksum of the file's bytes.
    n_cells, n_genes
        Shape of `X`.
    n_types
        Number of published types, K.
    """

    name: str
    path: Path
    sha256: str
    n_cells: int
    n_genes: int
    n_types: int


def find_sets(folder: Path, names: list[str] | None = None) -> list[DataSet]:
    """The data sets of a folder, smallest first; only those of `names` where it is given.

    Raises
    ------
    ScraeError
        If the folder holds no h5ad file, a name is not there, or a file has no `obs["cell_type"]`.
    """
    paths = {path.stem: path for path in sorted(folder.glob("*.h5ad"))}
    if not paths:
        raise ScraeError(f"expected h5ad files in {folder}, found none; name another folder with --data")
    unknown = sorted(set(names or []) - paths.keys())
    if unknown:
        raise ScraeError(
            f"expected sets among {', '.join(paths)}, found {', '.join(unknown)}; correct --sets"
        )
    sets = [_describe(paths[name]) for name in names or paths]
    return sorted(sets, key=lambda data: (data.n_cells, data.n_genes))


def _describe(path: Path) -> DataSet:
    labels = read_labels(path)
    with h5py.File(path) as file:
        x = file["X"]
        n_cells, n_genes = x.attrs["shape"] if isinstance(x, h5py.Group) else x.shape
    with path.open("rb") as stream:
        checksum = hashlib.file_digest(stream, "sha256").hexdigest()
    return DataSet(
        name=path.stem,
        path=path,
        sha256=checksum,
        n_cells=int(n_cells),
        n_genes=int(n_genes),
        n_types=int(pd.Series(labels).nunique()),
    )


def read_counts(path: Path) -> ad.AnnData:
    """The counts and the genes' names, nothing else.

    Returns
    -------
    AnnData
        `X` csr_matrix float32 [cells, genes]; `obs_names` are numbers; no other slot is filled.

    Raises
    ------
    ScraeError
        If `X` holds anything but counts.
    """
    with h5py.File(path) as file:
        x = sparse.csr_matrix(ad.io.read_elem(file["X"]), dtype=np.float32)
        genes = ad.io.read_elem(file["var"]).index.astype(str)
    if x.data.size and (x.data.min() < 0 or np.any(x.data != np.rint(x.data))):
        raise ScraeError(
            f"expected raw counts in X of {path.name}, found negative or broken numbers; write counts"
        )
    cells = pd.Index([str(i) for i in range(x.shape[0])])
    counts = ad.AnnData(x, obs=pd.DataFrame(index=cells), var=pd.DataFrame(index=genes))
    counts.var_names_make_unique()
    return counts


def read_labels(path: Path) -> NDArray[np.object_]:
    """The published label of each cell, [cells]; None where a cell has none. Only scoring may call this.

    Raises
    ------
    ScraeError
        If there is no `obs["cell_type"]`.
    """
    with h5py.File(path) as file:
        if "cell_type" not in file["obs"]:
            raise ScraeError(f'expected obs["cell_type"] in {path.name}, found none; name the labels so')
        labels = pd.Series(ad.io.read_elem(file["obs/cell_type"]))
    return labels.astype(object).where(labels.notna(), None).to_numpy()
