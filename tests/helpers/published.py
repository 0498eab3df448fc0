"""Small counts, and 10x archives in the form of Cell Ranger 1."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np

GENES = ["Actb", "Malat1", "Sox2", "Gapdh", "Nanog"]


def counts_of(seed: int, n_cells: int, n_genes: int = len(GENES)) -> np.ndarray:
    counts = np.random.default_rng(seed).poisson(1.5, (n_cells, n_genes))
    counts[:, 0] += 1  # no empty cell
    return counts


def is_counts(adata, counts) -> None:
    assert adata.X.dtype == np.int32
    np.testing.assert_array_equal(adata.X.toarray(), counts)


def notes(adata) -> str:
    return "\n".join(adata.uns["scrae"]["notes"])


def tenx_lists(counts: np.ndarray, barcodes: list[str]) -> dict[str, str]:
    """The three files of a 10x matrix of Cell Ranger 1: genes in rows, numbered from 1; one symbol twice."""
    cells, genes = np.nonzero(counts)
    entries = [f"{g + 1} {c + 1} {counts[c, g]}" for c, g in zip(cells, genes, strict=True)]
    symbols = ["ACTB", "MALAT1", "SOX2", "SOX2", "NANOG"]
    return {
        "matrix.mtx": "\n".join(
            [
                "%%MatrixMarket matrix coordinate integer general",
                "%",
                f"5 {len(counts)} {len(entries)}",
                *entries,
            ]
        ),
        "genes.tsv": "".join(f"ENSG{number:011}\t{symbol}\n" for number, symbol in enumerate(symbols)),
        "barcodes.tsv": "".join(f"{barcode}\n" for barcode in barcodes),
    }


def tenx_archive(path: Path, lists: dict[str, str]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in lists.items():
            member = tarfile.TarInfo(f"filtered_matrices_mex/hg19/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
