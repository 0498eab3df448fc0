"""Files and folders of other kinds, called by their names, with the way to what can be read."""

from __future__ import annotations

import zlib
from pathlib import Path

from scrae.io.names import some
from scrae.io.read_errors import is_gzip

__all__ = ["foreign_file", "foreign_folder", "is_text"]

_BEGINNINGS = {
    b"PK\x03\x04": "a zip file; unpack it and give the file or folder in it (a zarr store is the folder)",
    b"RDX": "an R data file; write the counts from R as h5ad or as a 10x mtx folder",
    b"\x1f\x8b": "a gzip file; unpack it and give what it holds",
    b"BZh": "a bzip2 file; unpack it and give what it holds",
    b"\xfd7zXZ": "an xz file; unpack it and give what it holds",
    b"\x28\xb5\x2f\xfd": "a zstd file; unpack it and give what it holds",
    b"PAR1": "a parquet table; write it as csv",
    b"ARROW1": "an Arrow table; write it as csv",
    b"\x93NUMPY": "a NumPy array without names; give an AnnData or a table",
    b"\x80\x04": "a pickle, which can run code and is not read; write it as h5ad",
    b"\x80\x05": "a pickle, which can run code and is not read; write it as h5ad",
    b"%PDF": "a PDF; give the table of counts",
    b"\xd0\xcf\x11\xe0": "an Excel file; write it as csv",
    b"X\n": "an R data file; write the counts from R as h5ad or as a 10x mtx folder",
}
_HEAD = 4096  # bytes
_PACKED = (".mtx.bz2", ".mtx.zip", ".mtx.xz", ".mtx.zst")
_MATRICES = (".mtx", ".mtx.gz", ".h5ad", ".loom")
_MOST_FOLDERS = 200  # that are looked into


def foreign_file(path: Path) -> str | None:
    """Return what a file is and what to do with it; None: unknown."""
    head = _head(path)
    if path.suffix.lower() == ".xlsx" and head.startswith(b"PK"):
        return "an Excel file; write it as csv"
    if head[257:262] == b"ustar":
        return "a tar archive; unpack it and give the file or folder in it"
    if is_gzip(path):
        unpacked = _unpacked(path)
        if unpacked[257:262] == b"ustar":
            return "a packed tar archive; unpack it (tar xzf) and give the file or folder in it"
        if unpacked.startswith(b"\x89HDF"):
            return "a gzipped HDF5 file; unpack it (gunzip) and give the result"
        if unpacked.startswith((b"RDX", b"X\n")):
            return _BEGINNINGS[b"RDX"]
    return next((words for start, words in _BEGINNINGS.items() if head.startswith(start)), None)


def foreign_folder(path: Path, names: set[str]) -> str | None:
    """Return what a folder with these entries is and what to do with it; None: unknown."""
    if "mod" in names:
        there = some(sorted(p.name for p in (path / "mod").iterdir() if p.is_dir()))
        return (
            f"a MuData store with the modalities {there}; give the folder of the RNA one, {path / 'mod'}/NAME"
        )
    tables = next((names_of for names_of in ("tables", "table") if names_of in names), None)
    if tables and (names & {"images", "labels", "points", "shapes"} or "obs" not in names):
        there = some(sorted(p.name for p in (path / tables).iterdir() if p.is_dir()))
        return f"a SpatialData store with the tables {there}; give the folder of one, {path / tables}/NAME"
    if any(name.startswith("__tiledb") for name in names):
        return "a TileDB-SOMA experiment; write it as h5ad (tiledbsoma.io.to_h5ad)"
    if "outs" in names:
        return f"a folder of Cell Ranger; give {path / 'outs' / 'filtered_feature_bc_matrix.h5'}"
    if "filtered_feature_bc_matrix" in names:
        return f"a folder of Cell Ranger; give {path / 'filtered_feature_bc_matrix'}"
    if packed := sorted(name for name in names if name.lower().endswith(_PACKED)):
        return f"a folder with a packed matrix; unpack {packed[0]}, or pack it with gzip"
    if names & {".zgroup", ".zattrs", "zarr.json"} or _holds_matrix(path):
        return None
    below = [str(folder.relative_to(path)) for folder in _folders(path) if _holds_matrix(folder)]
    return f"a folder with matrices in the folders {some(below, 6)}; give one of these" if below else None


def _holds_matrix(folder: Path) -> bool:
    return any(file.name.lower().endswith(_MATRICES) for file in folder.iterdir())


def _folders(path: Path) -> list[Path]:
    """The first folders below, down to the third level."""
    found = sorted(p for p in path.iterdir() if p.is_dir())
    for _ in range(2):
        found += sorted(
            p for folder in found[:_MOST_FOLDERS] for p in folder.iterdir() if p.is_dir() and p not in found
        )
    return found[:_MOST_FOLDERS]


def is_text(path: Path) -> bool:
    """Whether the beginning of a file, gzipped or not, is lines of text with separated fields."""
    head = _unpacked(path) if is_gzip(path) else _head(path)
    if b"\0" in head or head.startswith((b"%PDF", b"{", b"<")):
        return False
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # not in a character that is cut in two
            return False
        text = head[: error.start].decode("utf-8-sig")
    lines = text.splitlines()
    return len(lines) > 1 and any(mark in lines[1] for mark in "\t,; ")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)


def _unpacked(path: Path) -> bytes:
    """The beginning of what is packed, also of a file that was cut short."""
    try:
        return zlib.decompressobj(wbits=31).decompress(_head(path), _HEAD)
    except zlib.error:
        return b""
