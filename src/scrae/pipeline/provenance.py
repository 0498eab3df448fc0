"""Provenance: input paths and SHA-256 checksums."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from anndata import AnnData
from scipy.sparse import csr_matrix

from ..errors import ScraeError
from ..io.blocks import CountBlocks
from ..io.lazy import lazy_counts

__all__ = ["refuse_changed", "source_of_anndata", "source_of_files", "states"]


def source_of_anndata(adata: AnnData, title: str) -> dict[str, Any]:
    """Return the title and the checksum of the counts of an AnnData, or of the checksums of their blocks.

    Raises
    ------
    ScraeError
        It has no counts.
    """
    if (matrix := lazy_counts(adata)) is not None:
        of_blocks = CountBlocks(matrix=matrix, gene_names=adata.var_names).map(_of_counts)
        return {"path": title, "sha256": hashlib.sha256(b"".join(of_blocks)).hexdigest()}
    counts = adata.layers.get("counts")
    if not isinstance(counts, csr_matrix) or counts.dtype.kind not in "iu":
        form = (
            "none"
            if counts is None
            else f"a {type(counts).__name__} of {getattr(counts, 'dtype', 'objects')}"
        )
        raise ScraeError(
            f'run: expected raw counts in layers["counts"] as a csr_matrix of integers, found {form}; use '
            "scrae.io.use_counts(adata)"
        )
    return {"path": title, "sha256": _of_counts(counts).hex()}


def _of_counts(counts: csr_matrix) -> bytes:
    digest = hashlib.sha256()
    for part in (counts.indptr, counts.indices, counts.data):
        digest.update(part.tobytes())
    return digest.digest()


def states(paths: list[Path]) -> list[tuple[int, int, int]]:
    """Return what tells a replaced or changed input from the old one, for every file in these paths."""
    stats = [file.stat() for path in paths if path.exists() for file in _files(path)]
    return [(stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in stats]


def refuse_changed(paths: list[Path], before: list[tuple[int, int, int]]) -> None:
    """Raise ScraeError if an input was changed since its state was taken: its checksum would be of another file."""
    if states(paths) != before:
        raise ScraeError(
            f"{', '.join(map(str, paths))}: the input was changed or replaced while it was read; run again when "
            "it is complete"
        )


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())


def source_of_files(paths: list[Path]) -> dict[str, Any]:
    """Return the path and the checksum of a file or folder, or lists of them for several."""
    if len(paths) == 1:
        return {"path": str(paths[0]), "sha256": _sha256(paths[0])}
    return {"path": [str(path) for path in paths], "sha256": [_sha256(path) for path in paths]}


def _sha256(path: Path) -> str:
    """Return the checksum of a file, or of the names and contents of all files in a folder."""
    digest = hashlib.sha256()
    for file in _files(path):
        if file != path:
            digest.update(file.relative_to(path).as_posix().encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
