"""Reading loom, written by loompy itself and by hand."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from helpers.count_files import CELLS, GENES, as_text, counts
from scipy import sparse

from scrae.errors import ScraeError
from scrae.io import read


def assert_counts(adata):
    assert type(adata.X) is sparse.csr_matrix
    assert adata.X.dtype == np.int32
    np.testing.assert_array_equal(adata.X.toarray(), counts())
    assert list(adata.obs_names) == CELLS
    assert list(adata.var_names) == GENES


# loompy is imported here only, and its import and file creation use what newer libraries deprecate
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_file_that_loompy_wrote(tmp_path, monkeypatch):
    loompy = pytest.importorskip("loompy")
    monkeypatch.setattr("scrae.io.loom._CELLS_AT_A_TIME", 3)
    path = tmp_path / "a.loom"
    rows = {"Gene": np.array(GENES), "Accession": np.array([f"ENSG{n}" for n in range(7)])}
    columns = {"CellID": np.array(CELLS), "age": np.arange(10), "coordinates": np.ones((10, 2))}
    loompy.create(str(path), counts().T, rows, columns)
    result = read(path)
    assert_counts(result)
    assert list(result.var["Accession"]) == [f"ENSG{n}" for n in range(7)]
    assert list(result.obs["age"]) == list(range(10))
    assert "coordinates" not in result.obs


@pytest.fixture
def loom(tmp_path):
    with h5py.File(tmp_path / "a.loom", "w") as file:
        file["matrix"] = counts().T.astype(np.float64)
        file["row_attrs/Gene"] = as_text(GENES)
        file["col_attrs/CellID"] = as_text(CELLS)
    return tmp_path / "a.loom"


def test_a_minimal_file_with_other_names(loom):
    assert_counts(read(loom))
    with h5py.File(loom, "r+") as file:
        file.move("row_attrs/Gene", "row_attrs/var_names")
        file.move("col_attrs/CellID", "col_attrs/obs_names")
    assert_counts(read(loom))


@pytest.mark.parametrize(("group", "kind"), [("row_attrs", "genes"), ("col_attrs", "cells")])
def test_no_names(loom, group, kind):
    with h5py.File(loom, "r+") as file:
        for key in list(file[group]):
            del file[group][key]
    with pytest.raises(ScraeError, match=rf"names no {kind}: {group} has none of .*; it has no attribute"):
        read(loom)


def test_fractions_name_the_place(loom):
    with h5py.File(loom, "r+") as file:
        file["matrix"][5, 8] = 1.25
    with pytest.raises(ScraeError, match=rf"not a whole number \(1.25\) at cell '{CELLS[8]}', gene 'LYZ'"):
        read(loom)


@pytest.mark.parametrize(("group", "kind"), [("col_attrs", "cells"), ("row_attrs", "genes")])
def test_no_groups_of_names(loom, group, kind):
    with h5py.File(loom, "r+") as file:
        del file[group]
    with pytest.raises(ScraeError, match=rf"names no {kind}: {group} has none of .*; it has no attribute"):
        read(loom)


@pytest.mark.parametrize(
    ("cells", "genes"),
    [("obs_names", "var_names"), ("cell_names", "gene_names"), ("barcode", "gene_short_name"), ("CELLID", "GENE"),
     ("my_cells", "my_genes")],
)  # fmt: skip
def test_names_of_other_programs(loom, cells, genes):
    with h5py.File(loom, "r+") as file:
        file.move("row_attrs/Gene", f"row_attrs/{genes}")
        file.move("col_attrs/CellID", f"col_attrs/{cells}")
        file["row_attrs/length"] = np.arange(7)
    result = read(loom)
    assert_counts(result)
    assert list(result.var["length"]) == list(range(7))


def test_what_there_is_stands_in_the_error(loom):
    with h5py.File(loom, "r+") as file:
        del file["col_attrs/CellID"]
        file["col_attrs/kind"] = as_text(["B", "T"] * 5)
        file["col_attrs/age"] = np.arange(10)
    with pytest.raises(
        ScraeError, match=r"col_attrs has none of CellID, .*; it has 'age', 'kind'. Rename the attr"
    ):
        read(loom)


def test_attributes_of_any_type(loom):
    with h5py.File(loom, "r+") as file:
        columns = file["col_attrs"]
        columns["text"] = np.array(["a", "ü"] * 5, dtype=h5py.string_dtype())
        columns["column"] = np.arange(10).reshape(10, 1)
        columns["flag"] = np.array([True, False] * 5)
        columns["latin"] = np.array([b"\xe9"] * 10)
        columns["umap"] = np.ones((10, 2))
        columns["record"] = np.zeros(10, dtype=[("x", "f4"), ("y", "f4")])
        columns["reference"] = np.array([columns["flag"].ref] * 10, dtype=h5py.ref_dtype)
        columns.create_group("group")
    result = read(loom)
    assert_counts(result)
    assert list(result.obs["text"])[:2] == ["a", "ü"]
    assert list(result.obs["column"]) == list(range(10))
    assert list(result.obs["flag"])[:2] == [True, False]
    assert result.obs["latin"].iloc[0] == "\ufffd"
    note = next(n for n in result.uns["scrae"]["notes"] if n.startswith("Parts of the loom"))
    assert all(f"col_attrs/{name}" in note for name in ("umap", "record", "reference", "group"))


def test_layers_are_read(loom):
    with h5py.File(loom, "r+") as file:
        file["layers/spliced"] = counts().T // 2
        file["layers/odd"] = np.ones((2, 2))
        file["matrix"][...] = np.log1p(counts().T)
    np.testing.assert_array_equal(read(loom, layer="spliced").X.toarray(), counts() // 2)
    with pytest.raises(
        ScraeError, match=r"layers\['spliced'\] holds counts: say layer='spliced' \(--layer spliced\)"
    ):
        read(loom)
