"""Converters of text tables, each in the form that its publisher chose."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from anndata import AnnData
from scipy import sparse

from scrae.datasets._made import labeled, made, stacked
from scrae.errors import ScraeError
from scrae.io.names import some
from scrae.io.read_errors import open_text, reading
from scrae.io.table import read_table

__all__ = ["annotated_cells", "one_label_a_table", "rpkms_and_counts", "strt", "table_and_clusters"]

_ROWS_AT_A_TIME = 2000
_GROUPS = {
    "1": "interneurons", "2": "S1 pyramidal", "3": "CA1 pyramidal", "4": "oligodendrocytes", "5": "microglia",
    "6": "endothelial", "7": "astrocytes", "8": "ependymal", "9": "mural",
}  # fmt: skip  # the numbers of "group #" in Zeisel's table


def one_label_a_table(paths: Sequence[Path], *, labels: Sequence[str]) -> AnnData:
    """Read csv tables without a header, a gene a row, its name first; all cells of a table have one label."""
    parts = []
    for path, label in zip(paths, labels, strict=True):
        with reading(path, "a csv without a header, a gene a row"):
            table = pd.read_csv(path, header=None, index_col=0)
            counts = sparse.csr_matrix(table.to_numpy().T)
        cells = [f"{label}_{number}" for number in range(1, table.shape[1] + 1)]
        parts.append(made(counts, pd.DataFrame({"cell_type": label}, index=cells), table.index.astype(str)))
    return stacked(parts, paths)


def strt(paths: Sequence[Path]) -> AnnData:
    """Read the STRT-seq table of Zeisel et al.: rows that annotate the cells, an empty row, then a gene a row.

    An annotation has an empty field, its name, and a value per cell; a gene has its name, a cluster that is not
    read, and a count per cell. ``obs`` gets the annotations; labels are those of ``group #``.
    """
    (path,) = paths
    with reading(path, "a table with annotation rows"):
        about, n_lines = _annotations(path)
        if not {"group #", "cell_id"} <= set(about):
            raise ScraeError(
                f"{path} has the annotation rows {some(about, 12) or 'none'}; expected 'group #' and 'cell_id'."
            )
        table = pd.read_csv(
            path, sep="\t", header=None, skiprows=n_lines, index_col=0, quoting=csv.QUOTE_NONE
        )
        obs = pd.DataFrame(about, index=pd.Index(about["cell_id"]))
        counts = sparse.csr_matrix(table.iloc[:, 1:].to_numpy().T)
        obs["cell_type"] = [_GROUPS.get(group, group) for group in about["group #"]]
        return made(counts, obs.drop(columns="cell_id"), table.index.astype(str))


def _annotations(path: Path) -> tuple[dict[str, list[str]], int]:
    """Return values per cell by their names, and how many lines they take."""
    about: dict[str, list[str]] = {}
    with open_text(path) as lines:
        for number, line in enumerate(lines):
            first, *rest = line.rstrip("\r\n").split("\t")
            if first:
                return about, number
            if len(rest) > 1 and rest[0]:
                about[rest[0]] = rest[1:]
    raise ScraeError(f"{path} ends before its first gene; it is cut short.")


def rpkms_and_counts(paths: Sequence[Path]) -> AnnData:
    """Read the table of E-MTAB-5061 (symbol, RefSeq names, an RPKM per cell, a count per cell) and its SDRF table.

    Of a symbol that occurs again the first row is kept; the marker gene eGFP is left out.
    """
    table, sdrf = paths
    with reading(table, "a table of RPKMs and counts"), open_text(table) as lines:
        first, *cells = next(lines, "").rstrip("\r\n").split("\t")
        if first != "#samples":
            raise ScraeError(
                f"{table} begins with {first[:40]!r}; expected '#samples' and the names of the cells."
            )
        wanted = [0, *range(2 + len(cells), 2 + 2 * len(cells))]
        blocks = pd.read_csv(
            table, sep="\t", header=None, skiprows=1, usecols=wanted, chunksize=_ROWS_AT_A_TIME,
            dtype={0: str}, keep_default_na=False, quoting=csv.QUOTE_NONE,
        )  # fmt: skip
        names: list[str] = []
        parts = []
        for block in blocks:
            names += block[0].tolist()
            parts.append(sparse.csr_matrix(block.drop(columns=0).to_numpy()))
        genes = pd.Index(names)
        keep = ~(genes.duplicated() | (genes == "eGFP"))
        adata = made(sparse.vstack(parts, format="csr")[keep].T, pd.DataFrame(index=cells), genes[keep])
    return labeled(adata, _cell_types(sdrf), sdrf)


def _cell_types(sdrf: Path) -> pd.Series:
    """Return the cell types of an SDRF table by its Source Name; the spelling of its header varies."""
    with reading(sdrf, "an SDRF table"):
        table = pd.read_csv(sdrf, sep="\t", dtype=str, keep_default_na=False)
    columns = {name.lower().replace(" ", ""): name for name in table.columns}
    types = next(
        (
            columns[c]
            for c in columns
            if c in ("characteristics[inferredcelltype]", "characteristics[celltype]")
        ),
        None,
    )
    if types is None or "sourcename" not in columns:
        raise ScraeError(
            f"{sdrf} has the columns {some(table.columns, 8)}; expected 'Source Name' and 'Characteristics[cell type]'."
        )
    return table.set_index(columns["sourcename"])[types]


def annotated_cells(paths: Sequence[Path]) -> AnnData:
    """Read csv tables of Baron et al., a cell a row: its name, barcode, assigned_cluster, then the genes.

    A cell's donor is what stands before the first underscore of its name.
    """
    parts = []
    for path in paths:
        with reading(path, "a csv, a cell a row"):
            table = pd.read_csv(path, index_col=0, low_memory=False)
            missing = {"barcode", "assigned_cluster"} - set(table.columns)
            if missing:
                raise ScraeError(
                    f"{path} has no column {some(sorted(missing))}; it begins with {some(table.columns)}."
                )
            cells = table.index.astype(str)
            about = {
                "cell_type": table.pop("assigned_cluster").to_numpy(),
                "barcode": table.pop("barcode").to_numpy(),
                "donor": [name.partition("_")[0] for name in cells],
            }
            obs = pd.DataFrame(about, index=pd.Index(cells, name=None))
            parts.append(made(sparse.csr_matrix(table.to_numpy()), obs, table.columns))
    return stacked(parts, paths)


def table_and_clusters(paths: Sequence[Path]) -> AnnData:
    """Read a table of counts, a gene a row, and a list without a header of cells and their clusters."""
    table, clusters = paths
    with reading(clusters, "a list of cells and clusters"):
        of_cells = pd.read_csv(clusters, sep=r"\s+", header=None, dtype=str)
        if of_cells.shape[1] != 2:
            raise ScraeError(f"{clusters} has {of_cells.shape[1]} columns; expected a cell and its cluster.")
    return labeled(read_table(table, transpose=True), of_cells.set_index(0)[1], clusters)
