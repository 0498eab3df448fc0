"""The lists of genes and cells beside a Matrix Market file: found by their names, whoever wrote them."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from scrae.errors import ScraeError
from scrae.io.names import some, unwrap
from scrae.io.read_errors import open_text, reading

__all__ = ["Lists", "find_lists"]

_ENDING = re.compile(r"\.(tsv|txt|csv|tab|mtx)?(\.gz)?$", re.IGNORECASE)
_ROLES = {
    "genes": r"(features?|genes?|var)([._-]?(names?|ids?|symbols?|list|metadata|info|annot\w*))?",
    "cells": r"(barcodes?|cells?|obs)([._-]?(names?|ids?|barcodes?|list|metadata|info|annot\w*))?",
    "rows": r"(mtx_)?(rows?|row_?names?)",
    "columns": r"(mtx_)?(col|cols|columns?|col_?names?)",
}
_NAMED = {role: re.compile(rf"(?:(.*)[._-])?{words}", re.IGNORECASE) for role, words in _ROLES.items()}


@dataclass(frozen=True, kw_only=True)
class Lists:
    """Tables of genes and cells without a header, one line each.

    Attributes
    ----------
    genes, cells : pandas.DataFrame
        All columns as text, without names.
    gene_file, cell_file : pathlib.Path
        Where they are from.
    by_cells : bool
        Whether the name of the matrix or of the lists says that its rows are cells.
    notes : tuple of str
        What was skipped.
    """

    genes: pd.DataFrame
    cells: pd.DataFrame
    gene_file: Path
    cell_file: Path
    by_cells: bool
    notes: tuple[str, ...] = ()

    def without_headers(self, genes: bool, cells: bool) -> Lists:
        """Return the lists without the first line of genes, of cells or of both."""
        skipped = tuple(
            f"The first line of {file.name} was taken as a header: {some(table.iloc[0])}."
            for is_header, file, table in (
                (genes, self.gene_file, self.genes),
                (cells, self.cell_file, self.cells),
            )
            if is_header
        )
        return replace(
            self,
            genes=self.genes.iloc[int(genes) :],
            cells=self.cells.iloc[int(cells) :],
            notes=self.notes + skipped,
        )

    def cell_names(self) -> pd.Index:
        """Names of the cells: the first column that does not number the lines."""
        names: pd.Index = pd.Index(_names_in(self.cells)[0].to_numpy())
        return names

    def gene_table(self) -> pd.DataFrame:
        """Genes by symbol, the second column, with the first as ``gene_ids`` and the third as ``feature_types``."""
        columns = _names_in(self.genes)
        names = columns[min(1, len(columns) - 1)]
        table = pd.DataFrame({"gene_ids": columns[0].to_numpy()}, index=pd.Index(names.to_numpy()))
        if len(columns) > 2 and columns[2].str.fullmatch("[A-Z][A-Za-z]+( [A-Z][A-Za-z]+)*").all():
            table["feature_types"] = columns[2].to_numpy()
        return table


def find_lists(matrix: Path) -> Lists:
    """Return the lists of genes and cells that lie beside a matrix.

    Their names are those of the matrix, or begin like it, and end with what they list: ``genes.tsv``,
    ``GSM1_features.tsv.gz``, ``cells_x_genes.barcodes.txt``, ``quants_mat_cols.txt``, ``a.mtx_rows``. Of several the
    one with the most in common is taken.

    Raises
    ------
    ScraeError
        There is no such list, or it cannot be read.
    """
    beside = sorted(file for file in matrix.parent.iterdir() if file.is_file() and file != matrix)
    found = {role: _best(matrix, beside, role) for role in _ROLES}
    stem = _ENDING.sub("", matrix.name).lower()
    by_cells = stem.startswith(("cells_x_", "cell_by_", "dge")) or bool(
        found["rows"] and found["columns"] and stem.startswith("quants_mat")
    )
    rows, columns = ("cells", "genes") if by_cells else ("genes", "cells")
    gene_file = found["genes"] or found["rows" if rows == "genes" else "columns"]
    cell_file = found["cells"] or found["columns" if columns == "cells" else "rows"]
    prefix = re.sub("matrix$", "", _ENDING.sub("", matrix.name))
    for file, usual in (
        (gene_file, "features.tsv or {}genes.tsv"),
        (cell_file, "barcodes.tsv"),
    ):
        if file is None:
            start = prefix if not prefix or prefix[-1] in "._-" else f"{prefix}_"
            others = [other.name for other in beside]
            raise ScraeError(
                f"{matrix} has no {start}{usual.format(start)} (or .gz) beside it; there is "
                f"{some(others, 5) or 'nothing'}. Rename the list, one line each, to such a name."
            )
    assert gene_file is not None  # else it was refused
    assert cell_file is not None
    genes, cells = _read_list(gene_file), _read_list(cell_file)
    return Lists(genes=genes, cells=cells, gene_file=gene_file, cell_file=cell_file, by_cells=by_cells)


def _best(matrix: Path, files: list[Path], role: str) -> Path | None:
    """Return the list of that role whose name has the longest beginning in common with that of the matrix."""
    found: list[tuple[int, int, Path]] = []
    unrelated: list[Path] = []
    for file in files:
        match = _NAMED[role].fullmatch(_ENDING.sub("", file.name))
        if match is None or file.name.lower().endswith((".mtx", ".mtx.gz")):
            continue
        start = match[1] or ""
        if matrix.name.startswith(start):
            is_older = file.name.startswith("genes")  # of two Cell Rangers in one folder the newer
            found.append((len(start), -is_older, file))
        else:
            unrelated.append(file)
    if found:
        return max(found)[2]
    return unrelated[0] if len(unrelated) == 1 else None


def _read_list(file: Path) -> pd.DataFrame:
    with reading(file, "a list in tab-separated columns"):
        with open_text(file) as lines:
            first = lines.readline()
        by_commas = "\t" not in first and ("," in first) and ".csv" in file.name.lower()
        options: dict[str, Any] = {} if by_commas else {"sep": "\t", "quoting": csv.QUOTE_NONE}
        with open_text(file) as lines:
            table = pd.read_csv(
                lines, header=None, dtype=str, keep_default_na=False, skip_blank_lines=False, **options
            )
    return pd.DataFrame(
        {name: [unwrap(text) for text in column] for name, column in table.items()}, dtype=object
    )


def _names_in(table: pd.DataFrame) -> list[pd.Series]:
    """Columns of a list, without one that numbers the lines in front of others."""
    columns = [column for _, column in table.items()]
    number = columns[0].to_numpy()
    n = len(number)
    is_number = n and (number[0], number[-1]) in (("0", str(n - 1)), ("1", str(n)))
    return columns[1:] if len(columns) > 1 and is_number else columns
