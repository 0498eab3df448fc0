"""Small seeded counts, and the same counts in the real shape of each file format."""

from __future__ import annotations

import gzip
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse
from scipy.io import mmwrite

GENES = ["ACTB", "GAPDH", "CD3D", "MT-CO1", "NKG7", "LYZ", "MS4A1"]
CELLS = [
    f"{code}TTGCATGC-1"
    for code in ("AAAC", "AACC", "ACGT", "AGGT", "CCAT", "CTGA", "GATC", "GGTA", "TACG", "TTAC")
]


def counts() -> np.ndarray:
    """[10 cells, 7 genes], no row or column empty, all different, so that no transposition goes unseen."""
    matrix = np.random.default_rng(3).poisson(2.0, size=(len(CELLS), len(GENES)))
    matrix[np.arange(10), np.arange(10) % 7] += np.arange(1, 11)
    return matrix


def table() -> AnnData:
    return AnnData(
        sparse.csr_matrix(counts(), dtype=np.float32),
        obs=pd.DataFrame({"cell_type": pd.Categorical(["B", "T"] * 5)}, index=CELLS),
        var=pd.DataFrame({"chromosome": list("abcdefg")}, index=GENES),
    )


def log_table() -> AnnData:
    """Log-normalized values in X, and nothing else."""
    adata = table()
    values = counts() / counts().sum(axis=1, keepdims=True) * 1e4
    adata.X = sparse.csr_matrix(np.log1p(values).astype(np.float32))
    return adata


def as_text(values: list[str]) -> np.ndarray:
    return np.array([value.encode() for value in values])


def write_10x_v3(
    path: Path, matrix: np.ndarray, *, features: list[tuple[str, str]], cells: list[str]
) -> Path:
    """Layout of Cell Ranger 3 and later; features are (name, type)."""
    csr = sparse.csr_matrix(matrix)
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        group["barcodes"] = as_text(cells)
        group["data"] = csr.data.astype(np.int32)
        group["indices"] = csr.indices.astype(np.int64)
        group["indptr"] = csr.indptr.astype(np.int64)
        group["shape"] = np.array([matrix.shape[1], matrix.shape[0]], dtype=np.int32)
        listed = group.create_group("features")
        listed["_all_tag_keys"] = as_text(["genome"])
        listed["id"] = as_text([f"ENSG{n:011d}" for n in range(len(features))])
        listed["name"] = as_text([name for name, _ in features])
        listed["feature_type"] = as_text([kind for _, kind in features])
        listed["genome"] = as_text(["GRCh38"] * len(features))
    return path


def write_10x_v2(path: Path, matrix: np.ndarray, *, genomes: tuple[str, ...] = ("hg19",)) -> Path:
    """Layout of Cell Ranger 2: one group per genome."""
    csr = sparse.csr_matrix(matrix)
    with h5py.File(path, "w") as file:
        for genome in genomes:
            group = file.create_group(genome)
            group["barcodes"] = as_text(CELLS)
            group["genes"] = as_text([f"ENSG{n:011d}" for n in range(len(GENES))])
            group["gene_names"] = as_text(GENES)
            group["data"] = csr.data.astype(np.int32)
            group["indices"] = csr.indices.astype(np.int64)
            group["indptr"] = csr.indptr.astype(np.int64)
            group["shape"] = np.array([matrix.shape[1], matrix.shape[0]], dtype=np.int32)
    return path


def write_text(path: Path, text: str) -> None:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")


def write_mtx(
    folder: Path, *, version: int, gz: bool, prefix: str = "", kinds: list[str] | None = None
) -> Path:
    """Folder of Cell Ranger 2 (genes.tsv, two columns) or 3 (features.tsv, three columns)."""
    folder.mkdir(parents=True, exist_ok=True)
    ending = ".gz" if gz else ""
    plain = folder / "plain.mtx"
    mmwrite(plain, sparse.csc_matrix(counts().T), field="integer")
    write_text(folder / f"{prefix}matrix.mtx{ending}", plain.read_text())
    plain.unlink()
    kinds = kinds or ["Gene Expression"] * len(GENES)
    lines = [
        f"ENSG{n:011d}\t{name}" + (f"\t{kinds[n]}" if version == 3 else "") for n, name in enumerate(GENES)
    ]
    write_text(
        folder / f"{prefix}{'features' if version == 3 else 'genes'}.tsv{ending}", "\n".join(lines) + "\n"
    )
    write_text(folder / f"{prefix}barcodes.tsv{ending}", "\n".join(CELLS) + "\n")
    return folder
