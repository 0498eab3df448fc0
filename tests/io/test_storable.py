"""What h5ad has no form for is found before any work: stored in another form or left out, with a note."""

from __future__ import annotations

import datetime
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from helpers.count_files import CELLS, GENES, counts, table
from scipy import sparse

import scrae
from scrae.errors import ScraeError
from scrae.io import read, read_h5ad, use_counts, write_h5ad
from scrae.io.storable import make_storable, storable_keys

pytestmark = pytest.mark.filterwarnings(
    "ignore:Forward slashes:FutureWarning"
)  # anndata, of columns that are kept


def cycled(*values):
    column = np.empty(len(CELLS), dtype=object)
    column[:] = [values[i % len(values)] for i in range(len(CELLS))]
    return column


def stored(adata, folder):
    """Make the object storable, and return it as it comes back from a file."""
    make_storable(adata)
    write_h5ad(adata, folder / "a.h5ad")
    return anndata.read_h5ad(folder / "a.h5ad")


def notes(adata):
    return list(adata.uns["scrae"]["notes"])


TEXT = "Stored as text, because an h5ad file cannot hold the values as they were: "


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (cycled(True, None, False), ["True", np.nan, "False"]),
        (cycled("a", np.nan, 3), ["a", np.nan, "3"]),
        (cycled(1, "a", 2.5), ["1", "a", "2.5"]),
        (pd.Categorical(cycled(1, "x", 2)), ["1", "x", "2"]),
        (cycled([1, 2], [3]), ["[1, 2]", "[3]", "[1, 2]"]),
        (cycled({"k": 1}), ["{'k': 1}"]),
        (pd.Timestamp("2024-03-01"), ["2024-03-01 00:00:00"]),
        (pd.to_timedelta(range(10), unit="D"), ["0 days 00:00:00", "1 days 00:00:00"]),
        (pd.period_range("2024-01", periods=10, freq="M"), ["2024-01", "2024-02"]),
        (pd.cut(np.arange(10), [-1, 4, 9]), ["(-1, 4]", "(-1, 4]"]),
        (pd.array(cycled(1.5, None), dtype="Float64"), [1.5, np.nan]),
        (cycled("a", "b\0c", "\ud800"), ["a", "b\ufffdc", "\ufffd"]),
        (np.array([b"a", b"b"] * 5), None),
        (np.arange(10) + 1j, None),
        (np.arange(10, dtype=np.float16), [0.0, 1.0, 2.0]),
        (pd.array(cycled(1, None, 3), dtype="Int64"), [1, pd.NA, 3]),
        (pd.array(cycled("x", None, "y"), dtype="string"), ["x", np.nan, "y"]),
        (pd.array([f"x{i}" if i else None for i in range(10)], dtype="string"), [np.nan, "x1", "x2"]),
        (pd.arrays.SparseArray([0, 1] * 5), [0, 1]),
    ],
)
@pytest.mark.parametrize("slot", ["obs", "obsm", "uns"])
def test_a_column_of_any_type_comes_back(tmp_path, values, expected, slot):
    adata = table()
    frame = pd.DataFrame({"column": values}, index=adata.obs_names)
    if slot == "obs":
        adata.obs["column"] = frame["column"]
    else:
        getattr(adata, slot)["frame"] = frame
    again = stored(adata, tmp_path)
    column = again.obs["column"] if slot == "obs" else getattr(again, slot)["frame"]["column"]
    assert len(column) == 10
    for value, right in zip(column, expected or [], strict=False):
        assert (pd.isna(value) and pd.isna(right)) or value == right


def test_the_order_of_categories_stays(tmp_path):
    adata = table()
    adata.obs["age"] = pd.cut(np.arange(10), [-1, 4, 7, 9])
    again = stored(adata, tmp_path).obs["age"]
    assert again.cat.ordered
    assert list(again.cat.categories) == ["(-1, 4]", "(4, 7]", "(7, 9]"]
    assert notes(adata) == [f"{TEXT}obs['age']."]


def test_what_a_file_can_hold_is_not_touched():
    adata = table()
    adata.obs["number"] = np.arange(10.0)
    adata.obs["text"] = ["a", "b"] * 5
    adata.obsm["X_pca"] = np.ones((10, 2))
    adata.uns["log1p"] = {"base": None}
    obs, pca = adata.obs.copy(), adata.obsm["X_pca"]
    make_storable(adata)
    pd.testing.assert_frame_equal(adata.obs, obs)
    assert adata.obsm["X_pca"] is pca
    assert "scrae" not in adata.uns


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({0: "x"}, {"0": "x"}),
        ({"a", "b"}, ["a", "b"]),
        ([1, "a", None], ["1", "a", ""]),
        ({"deep": {"er": {1: (2, 3)}}}, {"deep": {"er": {"1": [2, 3]}}}),
        (datetime.date(2024, 3, 1), "2024-03-01"),
        (Path("a/b"), "a/b"),
        (pd.array(["a", None], dtype="string"), ["a", ""]),
        (np.array([["a", 1], [None, 2]], dtype=object), [["a", "1"], ["", "2"]]),
        (pd.Series([1, 2]), None),
        (sparse.coo_matrix(np.eye(2)), None),
        (AnnData(np.ones((2, 2))), None),
    ],
)
def test_a_value_of_uns(tmp_path, value, expected):
    adata = table()
    adata.uns["tool"] = value
    again = stored(adata, tmp_path).uns["tool"]
    if isinstance(expected, list):
        again = [
            "" if entry is pd.NA else entry for entry in again.tolist()
        ]  # which anndata >= 0.13 can store
    if isinstance(expected, dict) and "deep" in expected:
        again["deep"]["er"]["1"] = list(again["deep"]["er"]["1"])
    assert expected is None or again == expected


def test_what_has_no_form_is_left_out_and_named(tmp_path):
    adata = table()
    adata.uns["model"] = {"function": print, "steps": [1, 2]}
    circle: dict = {}
    circle["again"] = circle
    adata.uns["circle"] = circle
    adata.obsm["parts"] = np.array([[object()]] * 10)
    again = stored(adata, tmp_path)
    assert set(again.uns["model"]) == {"steps"}
    assert "parts" not in again.obsm
    assert (
        "Left out, because an h5ad file cannot hold them: obsm['parts'], uns['model']['function']"
        in notes(adata)[0]
    )


def test_records_with_missing_text(tmp_path):
    adata = table()
    names = [np.array(["a", np.nan], dtype=object), np.array(["b", "c"], dtype=object)]
    adata.uns["rank_genes_groups"] = {"names": np.rec.fromarrays(names, names=["0", "1"])}
    again = stored(adata, tmp_path).uns["rank_genes_groups"]["names"]
    assert again["0"].tolist() == ["a", ""]
    assert again["1"].tolist() == ["b", "c"]


def test_names_of_columns(tmp_path):
    adata = table()
    adata.obs = pd.DataFrame(
        np.arange(60).reshape(10, 6), columns=["x", "x", 0, "", ".", "_index"], index=adata.obs_names
    )
    again = stored(adata, tmp_path)
    assert sorted(again.obs) == sorted(["x", "x-1", "0", "_", "_-1", "_index_"])
    assert list(again.obs["x-1"]) == list(range(1, 60, 6))
    assert notes(adata)[0].startswith(
        "Renamed, because an h5ad file cannot hold such names: obs['x'] is now 'x-1'"
    )


def test_keys_with_a_slash(tmp_path):
    adata = table()
    for slot, value in (
        ("layers", adata.X.copy()),
        ("obsm", np.ones((10, 2))),
        ("varm", np.ones((7, 2))),
        ("obsp", sparse.eye(10, format="csr")),
        ("varp", sparse.eye(7, format="csr")),
    ):
        getattr(adata, slot)["G2/M"] = value
    adata.uns |= {"G2/M": 1, "G2": {"a/b": 2}}
    adata.obs["CD4/CD8"], adata.obs["CD4"], adata.obs["/"], adata.obs["a/b"] = 2.0, 1.0, 3.0, 4.0
    again = stored(adata, tmp_path)
    for slot in ("layers", "obsm", "varm", "obsp", "varp"):
        assert [key for key in getattr(again, slot) if key is not None] == ["G2_M"]
    assert (again.uns["G2_M"], again.uns["G2"]["a_b"]) == (1, 2)
    assert [again.obs[key].iloc[0] for key in ("CD4_CD8", "CD4", "_")] == [2.0, 1.0, 3.0]
    assert {"a/b", "a_b"} & set(again.obs)  # as the version of anndata allows


@pytest.mark.parametrize("name", ["", ".", "..", "/", "a/", "//", "_index", 0, None, "a\0b", "\ud800"])
@pytest.mark.parametrize("where", ["obs index", "var index", "obs", "uns", "obsm"])
def test_odd_names_anywhere(tmp_path, name, where):
    adata = table()
    try:
        if "index" in where:
            getattr(adata, where[:3]).index.name = name
        else:
            getattr(adata, where)[name] = np.ones((10, 2)) if where == "obsm" else 1
    except (TypeError, ValueError, KeyError):
        pytest.skip("AnnData refuses it")
    use_counts(adata)
    again = stored(adata, tmp_path)
    assert list(again.obs_names) == CELLS
    if where == "obs":
        assert len(again.obs.columns) == 2


def test_big_endian_numbers_become_native(tmp_path):
    adata = table()
    adata.obs["number"] = np.arange(10, dtype=">i4")
    make_storable(adata)
    assert adata.obs["number"].nunique() == 10
    assert "scrae" not in adata.uns


def test_keys_are_told_apart():
    assert storable_keys(["a/b", "a_b", "a_b"]) == ["a_b", "a_b-1", "a_b-2"]
    assert storable_keys(["CD4/CD8", "CD8"], slashes=True) == ["CD4/CD8", "CD8"]
    assert storable_keys(["a/b/c", "a/b"], slashes=True) == ["a_b_c", "a/b"]


def test_missing_names_of_genes_in_raw(tmp_path):
    adata, full = table(), table()
    adata.raw = full
    adata.raw.var.index = pd.Index([None, np.nan, *GENES[2:]], dtype=object)
    again = stored(adata, tmp_path)
    assert list(again.raw.var_names) == ["", "", *GENES[2:]]
    assert (
        "Stored as text, because an h5ad file cannot hold the values as they were: the index of raw.var."
        in (notes(adata))
    )


def test_raw_of_the_seurat_converters(tmp_path):
    adata = table()
    full = AnnData(adata.X.copy(), obs=adata.obs, var=adata.var.copy())
    full.var["_index"] = GENES
    adata.raw = full
    again = stored(adata, tmp_path)
    assert list(again.raw.var["_index_"]) == GENES
    np.testing.assert_array_equal(again.raw.X.toarray(), counts())


def test_names_of_indices_are_kept_through_reading(tmp_path):
    adata = table()
    adata.obs.index.name, adata.var.index.name = "barcode", "symbol"
    adata.write_h5ad(tmp_path / "a.h5ad")
    result = read(tmp_path / "a.h5ad")
    assert (result.obs.index.name, result.var.index.name) == ("barcode", "symbol")
    write_h5ad(result, tmp_path / "b.h5ad")
    adata.obs_names = [f"other{i}" for i in range(10)]
    adata.obs.index.name = "barcode"
    adata.write_h5ad(tmp_path / "c.h5ad")
    joined = read([tmp_path / "a.h5ad", tmp_path / "c.h5ad"])
    assert (joined.obs.index.name, joined.var.index.name) == ("barcode", "symbol")


def test_a_column_with_the_name_of_the_index(tmp_path):
    adata = table()
    adata.obs["barcode"] = np.arange(10)
    adata.obs.index.name = "barcode"
    assert list(stored(adata, tmp_path).obs["barcode"]) == list(range(10))
    assert "the name 'barcode' of the index of obs" in notes(adata)[0]


def test_samples_whose_columns_have_different_types(tmp_path):
    for number, column in enumerate((["T", "B"] * 5, [0, 1] * 5)):
        adata = table()
        adata.obs["cluster"] = column
        adata.obs_names = [f"{number}_{name}" for name in CELLS]
        adata.write_h5ad(tmp_path / f"{number}.h5ad")
    joined = read([tmp_path / "0.h5ad", tmp_path / "1.h5ad"])
    assert list(joined.obs["cluster"]) == ["T", "B"] * 5 + ["0", "1"] * 5
    assert f"{TEXT}obs['cluster']." in notes(joined)
    write_h5ad(joined, tmp_path / "joined.h5ad")


def test_a_file_of_ours_with_new_columns_can_be_written_again(tmp_path):
    with anndata.settings.override(allow_write_nullable_strings=True):
        adata = table()
        adata.var["ids"] = pd.array([f"id{i}" for i in range(7)], dtype="string")
        adata.uns["steps"] = pd.array(["a", None], dtype="string")
        adata.write_h5ad(tmp_path / "a.h5ad")
    for reader in (read, read_h5ad):
        write_h5ad(reader(tmp_path / "a.h5ad"), tmp_path / "b.h5ad")
        assert list(anndata.read_h5ad(tmp_path / "b.h5ad").var["ids"])[:2] == ["id0", "id1"]


@pytest.mark.parametrize("slot", ["layers", "obsm", "varm", "obsp", "varp"])
def test_writing_refuses_what_nobody_could_read(tmp_path, slot):
    adata = table()
    shape = {"layers": (10, 7), "obsm": (10, 2), "varm": (7, 2), "obsp": (10, 10), "varp": (7, 7)}[slot]
    getattr(adata, slot)["a/b"] = np.ones(shape)
    with pytest.raises(ScraeError, match=rf"expected keys without a slash, found {slot}\['a/b'\]; rename it"):
        write_h5ad(adata, tmp_path / "a.h5ad")
    assert not list(tmp_path.iterdir())


def test_writing_names_the_slot_and_the_column(tmp_path):
    adata = table()
    adata.obs["odd"] = cycled(1, "a", None)
    with pytest.raises(ScraeError, match=r"could not be written: obs/odd: "):
        write_h5ad(adata, tmp_path / "a.h5ad")
    adata = table()
    adata.uns["tool"] = {"function": print}
    with pytest.raises(ScraeError, match=r"could not be written: uns/tool/function: IORegistryError"):
        write_h5ad(adata, tmp_path / "a.h5ad")


def test_a_file_that_cannot_be_read_again_does_not_take_the_name(tmp_path, monkeypatch):
    path = tmp_path / "a.h5ad"
    write_h5ad(table(), path)
    before, write = path.read_bytes(), anndata.io.write_elem

    def write_half(file, *arguments, **options):
        write(file, *arguments, **options)
        if file.name == "/":
            del file["obs"]

    monkeypatch.setattr(anndata.io, "write_elem", write_half)
    with pytest.raises(
        ScraeError, match=r"a.h5ad was not written, because the file could not be read again: KeyError"
    ):
        write_h5ad(table(), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5ad"]


def test_a_run_leaves_out_foreign_content_before_the_training(tmp_path):
    adata = table()
    use_counts(adata)
    adata.obs["odd"] = cycled(1, "a", None)
    adata.obsp["x/y"] = sparse.eye(10, format="csr")
    adata.uns["tools"] = {"f": print, "s": {1, 2}}
    settings = scrae.Settings(
        preprocess=scrae.PreprocessConfig(min_cells=0, gene_selection="deviance", n_top_genes=5),
        model=scrae.ModelConfig(n_latent=2, encoder_layers=(4,), decoder_layers=(4,)),
        train=scrae.TrainConfig(max_epochs=1, batch_size=8),
        cluster=scrae.ClusterConfig(n_clusters=2),
    )
    scrae.run(adata, tmp_path / "out", settings)
    again = anndata.read_h5ad(tmp_path / "out" / "result.h5ad")
    assert list(again.obs["odd"].astype(object))[:2] == ["1", "a"]
    assert sorted(again.obsp) == ["connectivities", "distances", "x_y"]
    assert again.uns["tools"]["s"].tolist() == [1, 2]
    assert h5py.is_hdf5(tmp_path / "out" / "result.h5ad")
    labels = table()
    use_counts(labels)
    labels.obs["none"] = np.nan
    with pytest.raises(
        ScraeError, match=r"expected labels in obs\['none'\], found none: all of its 10 values are missing"
    ):
        scrae.run(labels, tmp_path / "b", settings, label_key="none")
    dense = AnnData(counts().astype(np.float32), layers={"counts": counts().astype(np.float32)})
    with pytest.raises(
        ScraeError, match=r"as a csr_matrix of integers, found a ndarray of float32; use scrae.io.use"
    ):
        scrae.run(dense, tmp_path / "b", settings)
    assert not (tmp_path / "b").exists()
