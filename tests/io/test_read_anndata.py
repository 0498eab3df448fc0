"""Reading what AnnData writes, h5ad and zarr, of today and of long ago."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from helpers.count_files import CELLS, GENES, as_text, counts, log_table, table
from scipy import sparse

from scrae.errors import ScraeError
from scrae.io import read, read_h5ad, write_h5ad

# anndata 0.12 warns whenever it writes version 2, which these tests do on purpose
pytestmark = pytest.mark.filterwarnings("ignore:Writing zarr v2 data:UserWarning")


def notes(adata):
    return adata.uns["scrae"]["notes"]


def assert_counts(adata, expected=None):
    for matrix in (adata.X, adata.layers["counts"]):
        assert type(matrix) is sparse.csr_matrix
        assert matrix.dtype == np.int32
        np.testing.assert_array_equal(matrix.toarray(), counts() if expected is None else expected)


WRITERS = {"a.h5ad": "write_h5ad", "a.zarr": "write_zarr"}


@pytest.fixture(params=WRITERS)
def write(request, tmp_path):
    def write_to(adata):
        getattr(adata, WRITERS[request.param])(tmp_path / request.param)
        return tmp_path / request.param

    return write_to


@pytest.mark.parametrize(
    "form", [sparse.csr_matrix, sparse.csr_array, sparse.csc_matrix, sparse.csc_array, np.asarray]
)
def test_a_round_trip_keeps_the_counts_and_the_rest(write, form):
    adata = table()
    adata.X = form(counts().astype(np.float32))
    adata.obsm["X_pca"] = np.arange(20.0).reshape(10, 2)
    adata.obsp["near"] = sparse.eye_array(10, format="csr")
    adata.layers["spliced"] = counts() // 2
    adata.uns["tissue"] = {"organ": "blood", "donors": np.array([1, 2])}
    result = read(write(adata))
    assert_counts(result)
    assert list(result.obs_names) == CELLS
    assert list(result.var_names) == GENES
    pd.testing.assert_series_equal(result.obs["cell_type"], adata.obs["cell_type"])
    assert list(result.var["chromosome"]) == list("abcdefg")
    np.testing.assert_array_equal(result.obsm["X_pca"], adata.obsm["X_pca"])
    np.testing.assert_array_equal(result.layers["spliced"], counts() // 2)
    assert result.obsp["near"].shape == (10, 10)
    assert result.uns["tissue"]["organ"] == "blood"
    assert notes(result) == ["Counts were found in X: 10 cells x 7 genes."]


def test_a_prepared_file_can_be_read_as_it_stands(tmp_path):
    adata = log_table()
    adata.layers["counts"] = sparse.csr_matrix(counts())
    path = _h5ad(tmp_path, adata)
    result = read_h5ad(path)
    np.testing.assert_array_equal(result.X.toarray(), adata.X.toarray())
    assert "scrae" not in result.uns
    with pytest.raises(ScraeError, match=r"b.h5ad does not exist; expected an h5ad"):
        read_h5ad(tmp_path / "b.h5ad")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ScraeError, match="could not be read as h5ad; it is damaged, cut short"):
        read_h5ad(path)


def test_what_is_written_is_read_again(tmp_path):
    first = read(_h5ad(tmp_path, table()))
    first.X = first.X.astype(np.float32) / 3
    write_h5ad(first, tmp_path / "again.h5ad")
    again = read(tmp_path / "again.h5ad")
    assert_counts(again)
    assert notes(again)[0] == "Counts were found in X: 10 cells x 7 genes."
    assert notes(again)[1].startswith(
        "Counts were found in layers['counts']: 10 cells x 7 genes; they took the place"
    )


def _h5ad(folder, adata):
    adata.write_h5ad(folder / "in.h5ad")
    return folder / "in.h5ad"


def test_counts_in_raw_bring_all_their_genes(write):
    adata = log_table()[:, ["LYZ", "ACTB"]].copy()
    adata.raw = table()
    adata.obsm["X_pca"] = np.ones((10, 2))
    adata.varm["PCs"] = np.ones((2, 2))
    adata.layers["scaled"] = np.ones((10, 2)) / 3
    result = read(write(adata))
    assert_counts(result)
    assert list(result.var_names) == GENES
    assert list(result.var["chromosome"]) == list("abcdefg")
    assert list(result.obs["cell_type"]) == ["B", "T"] * 5
    assert result.raw is None
    assert "X_pca" in result.obsm
    assert notes(result) == [
        "raw has genes of its own, so what belongs to those of X was left out: layers['scaled'], varm['PCs'].",
        "Counts were found in raw: 10 cells x 7 genes.",
    ]


def test_raw_is_left_out_when_the_counts_are_elsewhere(write):
    adata = table()
    adata.raw = log_table()
    result = read(write(adata))
    assert result.raw is None
    assert notes(result)[0] == "raw (7 genes) was left out: the counts were elsewhere."
    assert_counts(result)


def test_a_layer_can_be_named_and_a_missing_one_is_said(write):
    adata = log_table()
    adata.layers["umis"] = sparse.csr_matrix(counts())
    path = write(adata)
    assert_counts(read(path, layer="umis"))
    with pytest.raises(
        ScraeError, match=rf"^{path}: X holds a value .* layers\['umis'\] holds counts: say layer='umis'"
    ):
        read(path)
    with pytest.raises(ScraeError, match=f"^{path}: There is no layer 'umi'; there is 'X', 'umis'"):
        read(path, layer="umi")


def test_the_ending_does_not_matter(tmp_path):
    path = _h5ad(tmp_path, table()).rename(tmp_path / "download")
    assert_counts(read(str(path)))


def test_features_other_than_genes_are_dropped(write):
    adata = table()
    adata.var["feature_types"] = ["Gene Expression"] * 5 + ["Antibody Capture", "Gene Expression"]
    result = read(write(adata))
    assert_counts(result, np.delete(counts(), 5, axis=1))
    assert notes(result)[-1] == "Features other than Gene Expression were dropped: 1 Antibody Capture."


def test_feature_types_of_another_kind_are_kept(write):
    adata = table()
    adata.var["feature_types"] = ["coding", "lncRNA"] * 3 + ["coding"]
    assert_counts(read(write(adata)))


def test_no_gene_among_the_features(write):
    adata = table()
    adata.var["feature_types"] = "Antibody Capture"
    with pytest.raises(
        ScraeError, match="no feature is of the type Gene Expression; found 'Antibody Capture'"
    ):
        read(write(adata))


def test_names_are_cleaned(write):
    adata = table()
    adata.var_names = ["A", "A", "", "D", "E", "F", "α"]
    result = read(write(adata))
    assert list(result.var_names) == ["A", "A-1", "gene_2", "D", "E", "F", "α"]


def test_names_that_occur_twice_in_raw(tmp_path):
    adata = log_table()
    raw = table()
    raw.var_names = ["A", "A", "C", "D", "E", "F", "G"]
    adata.raw = raw
    adata.obs_names = ["x", "x", *CELLS[2:]]
    result = read(_h5ad(tmp_path, adata))
    assert_counts(result)
    assert list(result.var_names[:3]) == ["A", "A-1", "C"]
    assert list(result.obs_names[:3]) == ["x", "x-1", CELLS[2]]


def test_wrong_values_name_file_cell_and_gene(write):
    adata = table()
    matrix = counts().astype(float)
    matrix[3, 2] = np.nan
    adata.X = matrix
    path = write(adata)
    with pytest.raises(
        ScraeError, match=rf"^{path}: X holds a missing value \(NaN\) at cell '{CELLS[3]}', gene 'CD3D';"
    ):
        read(path)


def test_an_empty_matrix(write):
    path = write(table()[:0].copy())
    with pytest.raises(ScraeError, match="X is empty: 0 cells x 7 genes"):
        read(path)


def test_values_that_are_text_are_refused(tmp_path):
    path = _h5ad(tmp_path, table())
    with h5py.File(path, "r+") as file:
        del file["X"]
        file.create_dataset("X", data=np.full((10, 7), "3", dtype=object), dtype=h5py.string_dtype())
        file["X"].attrs["encoding-type"] = "string-array"
        file["X"].attrs["encoding-version"] = "0.2.0"
    with pytest.raises(ScraeError, match=r"X holds values of type (object|str\w*|<U1)"):
        read(path)


def test_a_file_of_anndata_0_6(tmp_path):
    """Tables as compound datasets, categories in uns, the sparse matrix as h5sparse wrote it."""
    path = tmp_path / "old.h5ad"
    csr = table().X
    with h5py.File(path, "w") as file:
        group = file.create_group("X")
        group.attrs["h5sparse_format"] = "csr"
        group.attrs["h5sparse_shape"] = np.array(csr.shape)
        for part in ("data", "indices", "indptr"):
            group[part] = getattr(csr, part)
        obs = np.array(
            [(name.encode(), n % 2) for n, name in enumerate(CELLS)], dtype=[("index", "S14"), ("kind", "i1")]
        )
        file["obs"] = obs
        file["var"] = np.array(
            [(name.encode(), 1.5) for name in GENES], dtype=[("index", "S10"), ("mean", "f4")]
        )
        file.create_group("uns")["kind_categories"] = as_text(["B", "T"])
    result = read(path)
    assert_counts(result)
    assert list(result.obs_names) == CELLS
    assert list(result.obs["kind"]) == ["B", "T"] * 5
    assert list(result.var["mean"]) == [1.5] * 7


def test_a_mudata_file_names_its_modalities(tmp_path):
    with h5py.File(tmp_path / "a.h5mu", "w") as file:
        for group in ("obs", "var", "mod/rna", "mod/prot"):
            file.create_group(group)
    with pytest.raises(
        ScraeError, match="is a MuData file with the modalities 'prot', 'rna'; write the RNA one as h5ad"
    ):
        read(tmp_path / "a.h5mu")


def test_another_hdf5_file_says_what_it_holds(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["weights"] = [1.0]
    with pytest.raises(
        ScraeError, match="is an HDF5 file but neither h5ad, 10x h5 nor loom; it holds 'weights'"
    ):
        read(tmp_path / "a.h5")


def test_a_zarr_store_that_asks_for_unpickling_is_refused(tmp_path):
    path = tmp_path / "a.zarr"
    table().write_zarr(path)
    victim = sorted(path.rglob("zarr.json" if (path / "zarr.json").exists() else ".zarray"))[-1]
    meta = json.loads(victim.read_text())
    meta["filters"] = [{"id": "pickle"}]
    victim.write_text(json.dumps(meta))
    with pytest.raises(ScraeError, match="asks for unpickling, which can run code; it is not read"):
        read(path)


def test_a_zarr_store_with_a_lost_chunk_is_refused(tmp_path):
    path = tmp_path / "a.zarr"
    table().write_zarr(path)
    for part in ("data", "indices"):
        copy = tmp_path / f"{part}.zarr"
        shutil.copytree(path, copy)
        for chunk in (copy / "X" / part).rglob("*"):
            if chunk.is_file() and chunk.name not in ("zarr.json", ".zarray", ".zattrs"):
                chunk.unlink()
        with pytest.raises(ScraeError, match=f"is incomplete: chunks of X/{part} are missing. Copy it again"):
            read(copy)


# said on every write of version 3
@pytest.mark.filterwarnings(
    "ignore:zarr v3 autosharding:UserWarning",
    "ignore:Consolidated metadata:UserWarning",
    # anndata 0.13: the choice of the version, and version 2 itself
    "ignore:This setting will be removed in 0.14:DeprecationWarning",
    "ignore:zarr v3 will become the only option:DeprecationWarning",
)
@pytest.mark.skipif(version("anndata").startswith("0.11."), reason="anndata 0.11 writes zarr version 2 only")
def test_formats_of_zarr_2_and_3(tmp_path):
    for zarr_format in (2, 3):
        with anndata.settings.override(zarr_write_format=zarr_format):
            table().write_zarr(tmp_path / f"{zarr_format}.zarr")
        assert_counts(read(tmp_path / f"{zarr_format}.zarr"))
