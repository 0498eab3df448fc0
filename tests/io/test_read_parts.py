"""An element that cannot be read is left out, named in a warning and a note; without counts it is an error."""

from __future__ import annotations

import anndata
import h5py
import numpy as np
import pytest
import zarr
from helpers.count_files import CELLS, counts, table
from scipy import sparse

from scrae.errors import ScraeError, ScraeWarning
from scrae.io import open_backed, read

pytestmark = [
    pytest.mark.filterwarnings("ignore:Writing zarr v2 data:UserWarning"),
    pytest.mark.filterwarnings(
        "ignore:Consolidated metadata is currently not part:UserWarning"
    ),  # of version 3
]


def adata_with_everything():
    adata = table()
    adata.obs["age"] = np.arange(10)
    adata.obsm["X_pca"], adata.varm["PCs"] = np.ones((10, 2)), np.ones((7, 2))
    adata.obsp["connectivities"] = sparse.eye(10, format="csr")
    adata.layers["other"] = adata.X.copy()
    adata.uns["tool"] = {"deep": {"a": 1, "b": np.arange(3)}}
    adata.raw = table()
    return adata


PLACES = [
    ("obs/age", "obs['age']"),
    ("obs/cell_type", "obs['cell_type']"),
    ("var/chromosome", "var['chromosome']"),
    ("obsm/X_pca", "obsm['X_pca']"),
    ("obsp/connectivities", "obsp['connectivities']"),
    ("layers/other", "layers['other']"),
    ("uns/tool/deep/b", "uns['tool']['deep']['b']"),
    ("raw/X", "raw"),
]


@pytest.mark.parametrize(("place", "words"), PLACES)
@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_an_element_of_an_unknown_encoding(tmp_path, place, words, kind):
    adata, path = adata_with_everything(), tmp_path / f"a.{kind}"
    if kind == "h5ad":
        adata.write_h5ad(path)
        with h5py.File(path, "r+") as file:
            file[place].attrs["encoding-type"] = "of the future"
    else:
        adata.write_zarr(path)
        options = {} if zarr.__version__.startswith("2.") else {"use_consolidated": False}
        zarr.open_group(str(path), mode="r+", **options)[place].attrs["encoding-type"] = "of the future"
        zarr.consolidate_metadata(str(path))
    with pytest.warns(ScraeWarning, match="Elements that could not be read were left out: "):
        result = read(path)
    np.testing.assert_array_equal(result.X.toarray(), counts())
    assert list(result.obs_names) == CELLS
    assert f"Elements that could not be read were left out: {words}." in result.uns["scrae"]["notes"]
    if place != "uns/tool/deep/b":
        assert result.uns["tool"]["deep"]["b"].tolist() == [0, 1, 2]
    assert result.uns["tool"]["deep"]["a"] == 1


def broken_link(file):
    file["uns/tool/gone"] = h5py.ExternalLink("gone.h5", "/x")


def other_column(file, values):
    del file["obs/age"]
    file["obs/age"] = values
    file["obs/age"].attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (broken_link, r"uns['tool']['gone']"),
        (lambda file: other_column(file, np.arange(3)), "obs['age']"),
        (lambda file: other_column(file, np.ones((10, 2))), "obs['age']"),
    ],
)
def test_an_element_of_another_shape_or_elsewhere(tmp_path, damage, words):
    adata_with_everything().write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "r+") as file:
        damage(file)
    with pytest.warns(ScraeWarning, match="Elements that could not be read were left out: "):
        result = read(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(result.X.toarray(), counts())
    assert f"Elements that could not be read were left out: {words}." in result.uns["scrae"]["notes"]
    assert result.uns["tool"]["deep"]["a"] == 1


def test_a_column_of_a_backed_file(tmp_path):
    adata_with_everything().write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "r+") as file:
        file["obs/age"].attrs["encoding-type"] = "of the future"
    with pytest.warns(ScraeWarning, match=r"left out: obs\['age'\]"):
        result = open_backed(tmp_path / "a.h5ad")
    assert list(result.obs) == ["cell_type"]


def test_counts_elsewhere_where_x_cannot_be_read(tmp_path):
    adata_with_everything().write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "r+") as file:
        file["X"].attrs["encoding-type"] = "of the future"
    with pytest.warns(ScraeWarning, match="left out: X"):
        assert "Counts were found in raw" in " ".join(read(tmp_path / "a.h5ad").uns["scrae"]["notes"])


@pytest.mark.parametrize("place", ["X", "obs/_index", "var/_index"])
def test_what_nothing_can_replace(tmp_path, place):
    table().write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "r+") as file:
        file[place].attrs["encoding-type"] = "of the future"
    with pytest.raises(ScraeError, match="could not be read as h5ad"):
        read(tmp_path / "a.h5ad")


@pytest.mark.parametrize(
    ("key", "words"),
    [("assays", "an h5Seurat file; convert it"), ("barcode_idx", "a molecule_info file of Cell Ranger")],
)
def test_other_hdf5_files(tmp_path, key, words):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file[key] = [1]
    with pytest.raises(ScraeError, match=words):
        read(tmp_path / "a.h5")


@pytest.mark.parametrize("place", ["obs/age", "uns/tool", "layers/other"])
def test_too_little_memory_for_an_element_is_no_damage(tmp_path, monkeypatch, place):
    adata_with_everything().write_h5ad(tmp_path / "cells.h5ad")
    with h5py.File(tmp_path / "cells.h5ad", "a") as file:
        del file["obsm/X_pca"].attrs["encoding-type"]
        file["obsm/X_pca"].attrs["encoding-type"] = "unknown"
    read_elem = anndata.io.read_elem

    def scarce(element):
        if element.name in {f"/{place}", f"/{place.split('/')[0]}"}:
            raise MemoryError
        return read_elem(element)

    monkeypatch.setattr(anndata.io, "read_elem", scarce)
    with pytest.raises(ScraeError, match="does not fit in memory"):
        read(tmp_path / "cells.h5ad")
