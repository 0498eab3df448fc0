"""Converters of sparse matrices: 10x archives and folders, HDF5, MATLAB."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData

from scrae.datasets._made import labeled, made, stacked
from scrae.datasets._packed import unpack
from scrae.errors import ScraeError
from scrae.io.mtx import read_mtx
from scrae.io.names import some
from scrae.io.read_errors import is_gzip, reading

__all__ = ["labelled_hdf5", "matlab", "one_label_a_tenx", "tenx_and_annotation"]

_MATRIX = ("matrix.mtx", "matrix.mtx.gz")


def one_label_a_tenx(paths: Sequence[Path], *, labels: Sequence[str]) -> AnnData:
    """Read 10x matrices, as archives or folders; all cells of a matrix have one label."""
    parts = []
    for path, label in zip(paths, labels, strict=True):
        part = _read_tenx(path)
        part.obs["cell_type"] = label
        parts.append(part)
    return stacked(parts, paths)


def tenx_and_annotation(paths: Sequence[Path]) -> AnnData:
    """Read a 10x matrix, and a tab-separated table with the columns ``barcodes`` and ``celltype``."""
    matrix, annotation = paths
    with reading(annotation, "a tab-separated table"):
        table = pd.read_csv(annotation, sep="\t", dtype=str)
    if not {"barcodes", "celltype"} <= set(table.columns):
        raise ScraeError(
            f"{annotation} has the columns {some(table.columns, 8)}; expected 'barcodes' and 'celltype'."
        )
    return labeled(_read_tenx(matrix), table.set_index("barcodes")["celltype"], annotation)


def _read_tenx(path: Path) -> AnnData:
    """Read the one 10x matrix in a folder, or in an archive of one, however deep."""
    if path.is_dir():
        return _only_matrix(path, path)
    with TemporaryDirectory() as folder:
        unpack(path, Path(folder))
        return _only_matrix(Path(folder), path)


def _only_matrix(folder: Path, path: Path) -> AnnData:
    found = sorted(file for file in folder.rglob("*") if file.name in _MATRIX)
    if len(found) != 1:
        raise ScraeError(
            f"{path} holds {len(found)} files matrix.mtx; expected one, with its two lists beside it."
        )
    return read_mtx(found[0])


def labelled_hdf5(paths: Sequence[Path]) -> AnnData:
    """Read an HDF5 file with the counts in ``X`` [cells, genes] and a number for each cell's type in ``Y``."""
    (path,) = paths
    with reading(path, "HDF5 with X and Y"), h5py.File(path) as file:
        if not {"X", "Y"} <= set(file):
            raise ScraeError(f"{path} holds {some(file)}; expected X (counts) and Y (types).")
        counts, types = file["X"][()], file["Y"][()]
        cells = [f"cell_{number}" for number in range(len(counts))]
        obs = pd.DataFrame({"cell_type": types.astype(np.int64).astype(str)}, index=cells)
        return made(counts, obs, [f"gene_{number}" for number in range(counts.shape[1])])


def matlab(paths: Sequence[Path]) -> AnnData:
    """Read the MATLAB file of Rosenberg et al.: ``DGE`` [cells, genes], and texts padded with spaces.

    ``obs`` gets ``sample_type`` (age and tissue), too.
    """
    from scipy.io import loadmat

    (path,) = paths
    wanted = ["DGE", "genes", "barcodes", "sample_type", "cluster_assignment"]
    with reading(path, "a MATLAB file"):
        with gzip.open(path) if is_gzip(path) else path.open("rb") as file:
            found = loadmat(cast("Any", file), variable_names=wanted)  # its stubs know paths only
        missing = [name for name in wanted if name not in found]
        if missing:
            raise ScraeError(f"{path} has no {some(missing)}; expected {some(wanted, 5)}.")
        genes, cells, samples, types = (
            [str(value).strip() for value in np.asarray(found[name]).ravel()] for name in wanted[1:]
        )
        obs = pd.DataFrame({"cell_type": types, "sample_type": samples}, index=pd.Index(cells))
        return made(found["DGE"], obs, genes)
