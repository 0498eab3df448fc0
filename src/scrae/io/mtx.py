"""Reader of Matrix Market files with their lists of genes and cells, whichever program wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from scrae.errors import ScraeError
from scrae.io.genomes import refuse_several_genomes
from scrae.io.mtx_lists import Lists, find_lists
from scrae.io.names import some
from scrae.io.notes import add_note
from scrae.io.read_errors import is_gzip, open_text, reading

__all__ = ["begins_as_mtx", "holds_mtx", "read_mtx"]

_ENDINGS = (".mtx", ".mtx.gz")
_FORMATS = ("coordinate", "array")
_FIELDS = ("integer", "unsigned-integer", "real", "double", "pattern")
_EXPECTED = "'%%MatrixMarket matrix coordinate integer general', or array, real, unsigned-integer or pattern"


class _Header(NamedTuple):
    layout: str  # one of _FORMATS
    field: str  # one of _FIELDS
    shape: tuple[int, int]
    n_values: int
    n_lines: int  # before the values


def holds_mtx(folder: Path) -> bool:
    """Whether a folder holds a Matrix Market file."""
    return any(file.name.lower().endswith(_ENDINGS) for file in folder.iterdir())


def begins_as_mtx(file: Path) -> bool:
    """Whether a file has the banner of Matrix Market."""
    try:
        with open_text(file) as lines:
            return lines.read(14).lower() == "%%matrixmarket"
    except (OSError, EOFError, ValueError):  # another kind, or damaged
        return False


def read_mtx(path: Path, *, transpose: bool = False) -> AnnData:
    """Read a Matrix Market file, or the one in a folder, with the lists of genes and cells beside it; X is unchecked.

    Rows are genes or cells as the lengths of the lists say. `transpose`: rows are cells. A line above a list that has
    one line more than the matrix has rows is a header.
    """
    file = path if path.is_file() else _only_matrix(path)
    lists = find_lists(file)
    with reading(file, "Matrix Market"):
        header = _read_header(file)
        lists, by_cells = _fitting(file, header.shape, lists, transpose)
        rows, columns, values = _read_values(file, header)
    if not by_cells:
        rows, columns = columns, rows
    counts = sparse.csr_matrix((values, (rows, columns)), shape=(len(lists.cells), len(lists.genes)))
    genes = lists.gene_table()
    refuse_several_genomes(genes, file)
    with reading(file, "Matrix Market"):
        adata = AnnData(counts, obs=pd.DataFrame(index=lists.cell_names()), var=genes)
    for note in lists.notes:
        add_note(adata, note)
    if by_cells:
        add_note(adata, f"Rows of {file.name} were taken as cells and columns as genes, as its lists say.")
    return adata


def _read_header(file: Path) -> _Header:
    with open_text(file) as lines:
        banner = lines.readline().lower().split()
        n_lines = 2
        while (sizes := lines.readline()).startswith("%") or sizes.isspace():
            n_lines += 1
    is_known = banner[:2] == ["%%matrixmarket", "matrix"] and banner[4:] == ["general"]
    if not is_known or banner[2] not in _FORMATS or banner[3] not in _FIELDS:
        raise ScraeError(f"{file} begins with {' '.join(banner)[:80]!r}; expected {_EXPECTED}.")
    numbers = [int(size) for size in sizes.split()]
    layout = banner[2]
    if len(numbers) != (3 if layout == "coordinate" else 2):
        raise ScraeError(f"{file} states the sizes {sizes.strip()[:80]!r}; it is damaged.")
    n_values = numbers[2] if layout == "coordinate" else numbers[0] * numbers[1]
    return _Header(layout, banner[3], (numbers[0], numbers[1]), n_values, n_lines)


def _fitting(file: Path, shape: tuple[int, int], lists: Lists, transpose: bool) -> tuple[Lists, bool]:
    """Return the lists without headers, and whether the rows of the matrix are cells."""
    square_by_cells = transpose or lists.by_cells
    for without in ((False, False), (True, False), (False, True), (True, True)):
        n_genes, n_cells = len(lists.genes) - without[0], len(lists.cells) - without[1]
        if shape not in ((n_genes, n_cells), (n_cells, n_genes)):
            continue
        by_cells = shape == (n_cells, n_genes) and (n_genes != n_cells or square_by_cells)
        if transpose and not by_cells:
            raise ScraeError(
                f"{file} has {n_genes} genes in its rows and {n_cells} cells in its columns, as expected of such a "
                "file. Leave transpose out."
            )
        return lists.without_headers(*without), by_cells
    raise ScraeError(
        f"{file} is {shape[0]} x {shape[1]}, but {len(lists.genes)} genes x {len(lists.cells)} barcodes are listed "
        f"beside it ({lists.gene_file.name!r} and {lists.cell_file.name!r}); the three files do not belong together."
    )


def _read_values(
    file: Path, header: _Header
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return row, column and value of each entry; SciPy's reader can crash on damaged lines."""
    is_array = header.layout == "array"
    n_columns = 1 if is_array else 2 if header.field == "pattern" else 3
    types = [np.float64] if is_array else [np.int64, np.int64, np.float64][:n_columns]
    entries = pd.read_csv(
        file,
        sep=r"\s+",
        header=None,
        skiprows=header.n_lines,
        names=None if header.n_values else range(n_columns),
        dtype=dict(enumerate(types)),
        na_filter=False,
        compression="gzip" if is_gzip(file) else None,
        encoding="utf-8-sig",
    )
    if entries.shape != (header.n_values, n_columns):
        raise ScraeError(
            f"{file} states {header.n_values} values and holds {len(entries)}; it is cut short or damaged."
        )
    n_rows = header.shape[0]
    if is_array:  # one column after the other
        values = entries[0].to_numpy()
        at = np.flatnonzero(values)
        return at % n_rows, at // n_rows, values[at]
    rows, columns = entries[0].to_numpy() - 1, entries[1].to_numpy() - 1
    if not ((rows >= 0) & (rows < n_rows) & (columns >= 0) & (columns < header.shape[1])).all():
        raise ScraeError(
            f"{file} has a value outside its {n_rows} x {header.shape[1]} places; it is damaged."
        )
    values = np.ones(len(rows)) if header.field == "pattern" else entries[2].to_numpy()
    return rows, columns, values


def _only_matrix(folder: Path) -> Path:
    found = sorted(file for file in folder.iterdir() if file.name.lower().endswith(_ENDINGS))
    usual = [file for file in found if file.name.removesuffix(".gz").endswith("matrix.mtx")]
    found = usual or found
    if len(found) > 1:
        raise ScraeError(
            f"{folder} holds {len(found)} matrices ({some(file.name for file in found)}); give the files "
            "that you want, each as one sample."
        )
    return found[0]
