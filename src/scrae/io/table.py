"""Reader of csv and tsv tables: one row per cell, one column per gene, both with names."""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scrae.errors import ScraeError, ScraeWarning
from scrae.io.names import some
from scrae.io.notes import add_note
from scrae.io.orientation import mostly_cells, mostly_genes
from scrae.io.read_errors import is_gzip, open_text, reading

__all__ = ["read_table"]

_VALUES_AT_A_TIME = 1 << 23
# What stands over a column of names that are numbers; anything else may be a gene whose counts stand below.
_OVER_NAMES = re.compile(
    r"(cell|barcode|gene|sample|feature)s?([ _.-]?(ids?|names?|index|labels?|numbers?|barcodes?))?"
    r"|ids?|names?|index|unnamed: 0",
    re.I,
)
_OVER_GENES = re.compile(r"(gene|feature|symbol|ensembl)s?([ _.-]?(ids?|names?|symbols?))?", re.I)


class _Head(NamedTuple):
    columns: list[str]  # names over the value columns
    delimiter: str
    corner: str  # what stands over the row names
    n_lines: int  # up to the header


def read_table(path: Path, *, transpose: bool) -> AnnData:
    """Read a text table of counts; X is unchecked, NaN where a field is empty.

    `transpose` says that the rows are genes. A table that lies the other way round than stated is refused
    where its names show it: genes that are well known, identifiers or barcodes. Where they do not,
    there is a ScraeWarning.
    """
    with reading(path, "a text table"):
        head = _read_head(path)
        names, blocks = _read_rows(path, head)
        values = sparse.csr_matrix(sparse.vstack(blocks, format="csr"))
        ends_empty = len(head.columns) > 1 and not head.columns[-1] and _is_missing(values[:, -1])
        if ends_empty:  # a delimiter at the end of every line
            values, head = values[:, :-1], head._replace(columns=head.columns[:-1])
        of_rows, of_columns = pd.DataFrame(index=pd.Index(names)), pd.DataFrame(index=pd.Index(head.columns))
        if transpose:
            adata = AnnData(sparse.csr_matrix(values.T), obs=of_columns, var=of_rows)
        else:
            adata = AnnData(sparse.csr_matrix(values), obs=of_rows, var=of_columns)
    if ends_empty:
        add_note(adata, "The last column has neither a name nor values and was left out.")
    _check_direction(path, names, head, transpose)
    rows, columns = ("genes", "cells") if transpose else ("cells", "genes")
    add_note(
        adata, f"Rows were taken as {rows} ({some(names)}), columns as {columns} ({some(head.columns)})."
    )
    return adata


def _read_head(path: Path) -> _Head:
    """Return the names over the columns; over the row names R has no field, pandas an empty one."""
    with open_text(path) as file:
        n_comments, line = _comments(file)
        delimiter = _delimiter(line)
        file.seek(0)
        for _ in range(n_comments):
            file.readline()
        rows = csv.reader(file, delimiter=delimiter)
        header, first = next(rows, []), next((row for row in rows if row), [])
    n_lines = n_comments + 1
    if not first:
        raise ScraeError(f"{path} is empty: expected a header of gene names and one row per cell.")
    if len(first) == len(header) + 1:
        return _Head(header, delimiter, "", n_lines)
    if len(first) != len(header) or len(header) < 2:
        raise ScraeError(
            f"{path} has {len(header)} fields in its header and {len(first)} in the row below; expected as "
            "many, or one less in the header."
        )
    if header[0] and _is_number(header[0]):
        raise ScraeError(
            f"{path} begins with numbers; expected a header of gene names and a first column of cell names."
        )
    if header[0] and _is_number(first[0]) and not _OVER_NAMES.fullmatch(header[0].strip()):
        raise ScraeError(
            f"{path} seems to have no column of cell names: below {header[0]!r} stands {first[0]}. Put the "
            "names first, under an empty header field."
        )
    return _Head(header[1:], delimiter, header[0], n_lines)


def _is_missing(column: sparse.csr_matrix) -> bool:
    return column.nnz == column.shape[0] and bool(np.isnan(column.data).all())


def _delimiter(line: str) -> str:
    return max("\t,;", key=line.count) if re.search("[\t,;]", line) else " "


def _comments(file: TextIOWrapper) -> tuple[int, str]:
    """Return the number of lines above the header that are empty or comments, and the header.

    A last comment with as many fields as the line below it is the header, as in ``#barcode,ACTB,GAPDH``.
    """
    before = ""
    for number, line in enumerate(file):
        if line.strip("\ufeff \t,;\r\n") and not line.startswith("#"):
            delimiter = _delimiter(line)
            is_header = before.startswith("#") and before.count(delimiter) >= line.count(delimiter) > 0
            return (number - 1, before) if is_header else (number, line)
        before = line
    return 0, before


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_rows(path: Path, head: _Head) -> tuple[list[str], list[sparse.csr_matrix]]:
    names: list[str] = []
    blocks: list[sparse.csr_matrix] = []
    with pd.read_csv(
        path,
        sep=head.delimiter,
        header=None,
        skiprows=head.n_lines,
        chunksize=max(1, _VALUES_AT_A_TIME // len(head.columns)),
        converters={0: str.encode},  # a gene may be called nan or NA: text that pandas 3 takes for missing
        low_memory=False,
        compression="gzip" if is_gzip(path) else None,
        encoding="utf-8-sig",
    ) as chunks:
        for chunk in chunks:
            if chunk.shape[1] != len(head.columns) + 1:
                raise ScraeError(
                    f"{path} has rows of {chunk.shape[1]} fields under {len(head.columns)} column names."
                )
            names += [name.decode() for name in chunk[0]]
            values = chunk.drop(columns=0)
            for column, dtype in values.dtypes.items():
                if dtype.kind not in "biuf":
                    gene = head.columns[int(cast("Any", column)) - 1]
                    raise ScraeError(_text_found(path, names, gene, values[column]))
            blocks.append(sparse.csr_matrix(values.to_numpy()))
    return names, blocks


def _text_found(path: Path, names: Sequence[str], column: str, values: pd.Series) -> str:
    position = int(np.argmax(pd.to_numeric(values, errors="coerce").isna() & values.notna()))
    row = names[len(names) - len(values) + position]
    return (
        f"{path} holds the text {str(values.iloc[position])!r} in row {row!r}, column {column!r}; expected "
        "counts only. Take columns of text out."
    )


def _check_direction(path: Path, rows: Sequence[str], head: _Head, transpose: bool) -> None:
    """Refuse a table that lies the other way round than stated, and warn where the names do not show it."""
    columns = head.columns
    genes_in_rows = mostly_genes(rows) and not mostly_genes(columns)
    cells_in_columns = mostly_cells(columns, sure=True) and not mostly_cells(rows)
    genes_in_columns = mostly_genes(columns) and not mostly_genes(rows)
    cells_in_rows = mostly_cells(rows, sure=True) and not mostly_cells(columns)
    if not transpose and (genes_in_rows or cells_in_columns):
        raise ScraeError(
            f"{path} has genes in its rows ({some(rows)}) and cells in its columns ({some(columns)}); "
            "expected one row per cell. Say transpose=True (--transpose)."
        )
    if transpose and (genes_in_columns or cells_in_rows):
        raise ScraeError(
            f"{path} has cells in its rows ({some(rows)}) and genes in its columns ({some(columns)}) "
            "already. Leave transpose out."
        )
    if genes_in_rows or genes_in_columns or cells_in_rows or cells_in_columns:
        return
    as_rows, as_columns = ("genes", "cells") if transpose else ("cells", "genes")
    of_cells, of_genes = (columns, rows) if transpose else (rows, columns)
    corner_fits = _OVER_GENES.fullmatch(head.corner.strip()) is None or transpose
    if mostly_cells(of_genes) or not (mostly_cells(of_cells) and corner_fits):
        other = "leave transpose out" if transpose else "say transpose=True (--transpose)"
        warnings.warn(
            f"{path}: the names do not show whether rows are cells or genes. Rows were taken as {as_rows} "
            f"({some(rows)}), columns as {as_columns} ({some(columns)}); if it is the other way round, {other}.",
            ScraeWarning,
            stacklevel=5,
        )
