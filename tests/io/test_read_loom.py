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
    monkeypatch.setattr("scrae.io.hdf5._LOOM_CELLS_AT_A_TIME", 3)
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
    with pytest.raises(ScraeError, match=rf"names no {kind} \({group} has none of "):
        read(loom)


def test_fractions_name_the_place(loom):
    with h5py.File(loom, "r+") as file:
        file["matrix"][5, 8] = 1.25
    with pytest.raises(ScraeError, match=rf"not a whole number \(1.25\) at cell '{CELLS[8]}', gene 'LYZ'"):
        read(loom)


def test_no_groups_of_names(loom):
    with h5py.File(loom, "r+") as file:
        del file["col_attrs"]
    with pytest.raises(ScraeError, match=r"could not be read as loom; it is damaged.*KeyError.*col_attrs"):
        read(loom)
