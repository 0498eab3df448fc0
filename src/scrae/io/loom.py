"""Reader of loom files, which loompy, velocyto, scVelo, SCENIC and others write; loompy is not needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scrae.errors import ScraeError
from scrae.io.names import some
from scrae.io.notes import add_note

__all__ = ["read_loom", "text_of"]

_CELLS = (
    "CellID",
    "obs_names",
    "cell_id",
    "cell_names",
    "cell",
    "barcode",
    "barcodes",
    "cellid",
    "Cell",
    "id",
    "index",
)
_GENES = (
    "Gene", "var_names", "gene_name", "gene_names", "gene_symbol", "Symbol", "gene", "genes", "gene_short_name",
    "featurename", "Accession", "gene_id", "gene_ids", "ensembl_id", "ensembl_ids", "feature_id", "id", "index",
)  # fmt: skip
_CELLS_AT_A_TIME = 512


def read_loom(file: h5py.File, path: Path) -> AnnData:
    """Read the matrix, its layers and the attributes with one value per cell or gene; X is unchecked."""
    matrix = file["matrix"]
    n_genes, n_cells = matrix.shape
    left_out: list[str] = []
    obs = _table(file, "col_attrs", n_cells, _CELLS, path, left_out)
    var = _table(file, "row_attrs", n_genes, _GENES, path, left_out)
    layers = {}
    for name, layer in file.get("layers", {}).items():
        if isinstance(layer, h5py.Dataset) and layer.shape == matrix.shape and layer.dtype.kind in "biuf":
            layers[name] = _transposed(layer)
        else:
            left_out.append(f"layers/{name}")
    adata = AnnData(_transposed(matrix), obs=obs, var=var, layers=layers)
    if left_out:
        add_note(
            adata, f"Parts of the loom file with another shape or type were left out: {some(left_out, 8)}."
        )
    return adata


def _transposed(matrix: h5py.Dataset) -> sparse.csr_matrix:
    """The matrix [genes, cells] of a file as csr_matrix [cells, genes]."""
    n_cells = matrix.shape[1]
    blocks = [
        sparse.csr_matrix(matrix[:, start : start + _CELLS_AT_A_TIME].T)
        for start in range(0, n_cells, _CELLS_AT_A_TIME)
    ]
    return sparse.csr_matrix(sparse.vstack(blocks, format="csr"))


def _table(
    file: h5py.File, key: str, length: int, names: tuple[str, ...], path: Path, left_out: list[str]
) -> pd.DataFrame:
    """Return the attributes with one value per row as a table, the first of `names` that exists as its index."""
    columns: dict[str, Any] = {}
    for name, values in file.get(key, {}).items():
        is_column = isinstance(values, h5py.Dataset) and values.shape in ((length,), (length, 1), (1, length))
        if is_column and (h5py.check_string_dtype(values.dtype) or values.dtype.kind in "biufSU"):
            flat = values[()].reshape(-1)
            columns[name] = flat if flat.dtype.kind in "biuf" else text_of(flat)
        else:
            left_out.append(f"{key}/{name}")
    lower = {name.lower(): name for name in reversed(columns)}
    found = next((lower[name.lower()] for name in names if name.lower() in lower), None)
    if found is None:
        kind = "genes" if key == "row_attrs" else "cells"
        texts = {n: v for n, v in columns.items() if v.dtype.kind == "O" and len(set(v)) == length}
        if len(texts) != 1:
            raise ScraeError(
                f"{path} names no {kind}: {key} has none of {', '.join(names[:6])}; it has "
                f"{some(columns, 8) or 'no attribute of one value each'}. Rename the attribute with the names."
            )
        found = next(iter(texts))  # the one attribute of text that tells all apart
    index = pd.Index([str(name) for name in columns.pop(found)])
    return pd.DataFrame(columns, index=index)


def text_of(values: Any) -> np.ndarray[Any, np.dtype[np.object_]]:
    """Return bytes and texts of an array or data set [n] as an array of text."""
    return np.array(
        [v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in values[()]], dtype=object
    )
