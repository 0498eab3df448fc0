"""Reader of 10x folders: a Matrix Market file with its lists of features and barcodes, gzipped or not."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
from anndata import AnnData
from scipy import sparse
from scipy.io import mmread

from scrae.errors import ScraeError
from scrae.io.foreign import reading
from scrae.io.names import some

__all__ = ["holds_mtx", "read_mtx"]

_MATRIX = ("matrix.mtx", "matrix.mtx.gz")
_GENES = ("features.tsv", "features.tsv.gz", "genes.tsv", "genes.tsv.gz")
_BARCODES = ("barcodes.tsv", "barcodes.tsv.gz")


def holds_mtx(folder: Path) -> bool:
    """Whether a folder holds a 10x matrix, with or without a prefix as in ``GSM1234_matrix.mtx.gz``."""
    return any(file.name.endswith(_MATRIX) for file in folder.iterdir())


def read_mtx(path: Path) -> AnnData:
    """Read a 10x folder, or the ``matrix.mtx[.gz]`` in it with the lists beside it; X is unchecked."""
    file = path if path.is_file() else _only_matrix(path)
    prefix = file.name.removesuffix(".gz").removesuffix("matrix.mtx")
    genes = _read_list(_beside(file, prefix, _GENES))
    barcodes = _read_list(_beside(file, prefix, _BARCODES))
    with reading(file, "Matrix Market"):
        matrix = mmread(file)
    if matrix.shape != (len(genes), len(barcodes)):
        raise ScraeError(
            f"{file} is {matrix.shape[0]} x {matrix.shape[1]}, but {len(genes)} genes x {len(barcodes)} "
            "barcodes are listed beside it; the three files do not belong together."
        )
    var = pd.DataFrame({"gene_ids": genes[0].to_numpy()}, index=pd.Index(genes[min(1, genes.shape[1] - 1)]))
    var.index.name = None
    if genes.shape[1] > 2:
        var["feature_types"] = genes[2].to_numpy()
    obs = pd.DataFrame(index=pd.Index(barcodes[0], name=None))
    with reading(file, "a 10x folder"):
        return AnnData(sparse.csr_matrix(matrix.T), obs=obs, var=var)


def _only_matrix(folder: Path) -> Path:
    found = sorted(file for file in folder.iterdir() if file.name.endswith(_MATRIX))
    if len(found) > 1:
        raise ScraeError(
            f"{folder} holds {len(found)} matrices ({some(file.name for file in found)}); give the files "
            "that you want, each as one sample."
        )
    return found[0]


def _beside(matrix: Path, prefix: str, names: tuple[str, ...]) -> Path:
    for name in names:
        if (file := matrix.with_name(prefix + name)).is_file():
            return file
    raise ScraeError(f"{matrix} has no {prefix}{' or '.join(names[::2])} (or .gz) beside it.")


def _read_list(file: Path) -> pd.DataFrame:
    with reading(file, "a list in tab-separated columns"):
        return pd.read_csv(
            file,
            sep="\t",
            header=None,
            dtype=str,
            keep_default_na=False,
            quoting=csv.QUOTE_NONE,
            encoding="utf-8",
        )
