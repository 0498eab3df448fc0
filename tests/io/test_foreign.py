"""For files and folders of unsupported formats, the error names the format and says what to give instead."""

from __future__ import annotations

import gzip
import zipfile

import pytest
from helpers.count_files import CELLS, GENES, counts, table

from scrae.errors import ScraeError
from scrae.io import read

pytestmark = pytest.mark.filterwarnings("ignore:Writing zarr v2 data:UserWarning")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.rds", b"X\n\0\0", "an R data file; write the counts from R"),
        ("a.rds", gzip.compress(b"X\n\0\0\0\3", mtime=0), "an R data file"),
        (
            "a.h5ad.gz",
            gzip.compress(b"\x89HDF\r\n\x1a\n", mtime=0),
            r"a gzipped HDF5 file; unpack it \(gunzip\)",
        ),
        (
            "a.tar.gz",
            gzip.compress(b"x".ljust(257, b"\0") + b"ustar\0", mtime=0),
            "a packed tar archive; unpack it",
        ),
        ("a.tar", b"x".ljust(257, b"\0") + b"ustar\0", "a tar archive"),
        ("a.parquet", b"PAR1\0\0", "a parquet table; write it as csv"),
        ("a.npy", b"\x93NUMPY\1\0", "a NumPy array without names"),
        ("a.pkl", b"\x80\x04\x95\0", "a pickle, which can run code"),
        ("a.csv", b"\x80\x04\x95\0", "a pickle, which can run code"),
        ("a.h5ad", b"BZh91AY", "a bzip2 file"),
    ],
)
def test_files(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ScraeError, match=rf"{name} is {words}"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["a.zarr.zip", "a.h5ad", "a.xlsx"])
def test_zip(tmp_path, name):
    with zipfile.ZipFile(tmp_path / name, "w") as packed:
        packed.writestr("zarr.json", "{}")
    words = (
        "an Excel file; write it as csv"
        if name == "a.xlsx"
        else r"a zip file; unpack it and give the file or folder in it \(a zarr store is the folder\)"
    )
    with pytest.raises(ScraeError, match=words):
        read(tmp_path / name)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (
            ["tables/rna", "images/he", "zarr.json/"],
            r"a SpatialData store with the tables 'rna'; give .*/tables/NAME",
        ),
        (
            ["mod/rna", "mod/atac", "zarr.json/"],
            r"a MuData store with the modalities 'atac', 'rna'; give .*/mod/NAME",
        ),
        (["tables/rna", "zarr.json/"], r"a SpatialData store with the tables 'rna'"),
        (
            ["quants_mat.mtx.bz2/"],
            "a folder with a packed matrix; unpack quants_mat.mtx.bz2, or pack it with gzip",
        ),
        (
            ["alevin/", "Gene/filtered/matrix.mtx/", "Gene/raw/matrix.mtx.gz/", "Velocyto/Features.stats/"],
            r"a folder with matrices in the folders 'Gene/filtered', 'Gene/raw'; give one of these",
        ),
        (["logs/run.txt/"], "a folder without a matrix.mtx or zarr store; it holds 'logs'"),
        ([], "a folder without a matrix.mtx or zarr store; it holds nothing"),
        (["__tiledb_group.tdb", "ms"], "a TileDB-SOMA experiment; write it as h5ad"),
        (["outs/x"], r"a folder of Cell Ranger; give .*outs/filtered_feature_bc_matrix.h5"),
        (
            ["filtered_feature_bc_matrix", "web"],
            "a folder of Cell Ranger; give .*/filtered_feature_bc_matrix",
        ),
    ],
)
def test_folders(tmp_path, entries, words):
    for entry in entries:
        if entry.endswith("/"):
            (tmp_path / entry[:-1]).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / entry[:-1]).write_text("{}")
        else:
            (tmp_path / entry).mkdir(parents=True)
    with pytest.raises(ScraeError, match=words):
        read(tmp_path)


@pytest.mark.parametrize("name", ["counts", "counts.dge", "counts.tab.gz", "counts.h5ad"])
def test_a_table_is_known_by_its_content(tmp_path, name):
    text = table().to_df().astype(int).to_csv(sep="\t").encode()
    (tmp_path / name).write_bytes(gzip.compress(text, mtime=0) if name.endswith(".gz") else text)
    result = read(tmp_path / name)
    assert (list(result.obs_names), list(result.var_names)) == (CELLS, GENES)
    assert (result.X.toarray() == counts()).all()


def test_an_h5ad_of_another_name(tmp_path):
    table().write_h5ad(tmp_path / "a.h5ad")
    (tmp_path / "a.h5ad").rename(tmp_path / "a.csv")
    assert list(read(tmp_path / "a.csv").obs_names) == CELLS
