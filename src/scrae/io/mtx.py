"""Reader of 10x folders: a Matrix Market file with its lists of features and barcodes, gzipped or not."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scrae.errors import ScraeError
from scrae.io.names import some
from scrae.io.read_errors import is_gzip, open_text, reading

__all__ = ["holds_mtx", "read_mtx"]

_MATRIX = ("matrix.mtx", "matrix.mtx.gz")
_GENES = ("features.tsv", "features.tsv.gz", "genes.tsv", "genes.tsv.gz")
_BARCODES = ("barcodes.tsv", "barcodes.tsv.gz")

_FIELDS = (["integer", "general"], ["real", "general"])
_EXPECTED = "'%%MatrixMarket matrix coordinate integer general', or real"


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
        counts = _read_coordinates(file, len(genes), len(barcodes))
    var = pd.DataFrame({"gene_ids": genes[0].to_numpy()}, index=pd.Index(genes[min(1, genes.shape[1] - 1)]))
    var.index.name = None
    if genes.shape[1] > 2:
        var["feature_types"] = genes[2].to_numpy()
    obs = pd.DataFrame(index=pd.Index(barcodes[0], name=None))
    with reading(file, "a 10x folder"):
        return AnnData(counts, obs=obs, var=var)


def _read_coordinates(file: Path, n_genes: int, n_cells: int) -> sparse.csr_matrix:
    """Return [cells, genes] from lines of gene, cell and value; SciPy's reader can crash on damaged lines."""
    with open_text(file) as lines:
        banner = lines.readline().lower().split()
        n_lines = 2
        while (sizes := lines.readline()).startswith("%"):
            n_lines += 1
    if banner[:3] != ["%%matrixmarket", "matrix", "coordinate"] or banner[3:] not in _FIELDS:
        raise ScraeError(f"{file} begins with {' '.join(banner)[:80]!r}; expected {_EXPECTED}.")
    n_rows, n_columns, n_values = (int(size) for size in sizes.split())
    if (n_rows, n_columns) != (n_genes, n_cells):
        raise ScraeError(
            f"{file} is {n_rows} x {n_columns}, but {n_genes} genes x {n_cells} barcodes are listed beside it; "
            "the three files do not belong together."
        )
    entries = pd.read_csv(
        file,
        sep=r"\s+",
        header=None,
        skiprows=n_lines,
        dtype={0: np.int64, 1: np.int64, 2: np.float64},
        na_filter=False,
        compression="gzip" if is_gzip(file) else None,
        encoding="utf-8-sig",
    )
    if entries.shape != (n_values, 3):
        raise ScraeError(
            f"{file} states {n_values} values and holds {len(entries)}; it is cut short or damaged."
        )
    genes, cells = entries[0].to_numpy() - 1, entries[1].to_numpy() - 1
    if not (((genes >= 0) & (genes < n_genes) & (cells >= 0) & (cells < n_cells)).all()):
        raise ScraeError(f"{file} has a value outside its {n_genes} x {n_cells} places; it is damaged.")
    return sparse.csr_matrix((entries[2].to_numpy(), (cells, genes)), shape=(n_cells, n_genes))


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
