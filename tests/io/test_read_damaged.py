"""Files that are missing, unreadable, cut short or foreign: one line that names the file, never a traceback."""

from __future__ import annotations

import os

import h5py
import numpy as np
import pytest
from helpers.count_files import CELLS, GENES, counts, table, write_10x_v2, write_10x_v3, write_mtx, write_text

from scrae.errors import ScraeError
from scrae.io import read

pytestmark = pytest.mark.filterwarnings("ignore:Writing zarr v2 data:UserWarning")


def make(folder, kind):
    if kind == "h5ad":
        table().write_h5ad(folder / "a.h5ad")
        return folder / "a.h5ad"
    if kind == "10x v3":
        return write_10x_v3(
            folder / "a.h5", counts(), features=[(n, "Gene Expression") for n in GENES], cells=CELLS
        )
    return write_10x_v2(folder / "a.h5", counts())


@pytest.mark.parametrize("name", ["a.h5ad", "folder/", "a.csv", "a.mtx"])
def test_a_missing_file(tmp_path, name):
    with pytest.raises(
        ScraeError, match=rf"^{tmp_path}/.* does not exist; expected h5ad, 10x h5, a 10x mtx folder"
    ):
        read(tmp_path / name)


@pytest.mark.parametrize("kind", ["h5ad", "10x v3", "10x v2"])
def test_hdf5_cut_short(tmp_path, kind):
    path = make(tmp_path, kind)
    whole = path.read_bytes()
    for length in (10, len(whole) // 3, len(whole) - 50):
        path.write_bytes(whole[:length])
        with pytest.raises(
            ScraeError, match=rf"^{path} could not be read as HDF5; it is damaged, cut short|kind, damaged"
        ):
            read(path)


def test_an_empty_file(tmp_path):
    for name in ("a.h5ad", "a.loom", "b.rds"):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(
            ScraeError, match="is of no known kind, damaged or cut short; expected h5ad, 10x h5"
        ):
            read(tmp_path / name)


@pytest.mark.parametrize("part", ["data", "indices", "indptr", "shape", "barcodes", "features"])
def test_10x_without_a_part(tmp_path, part):
    path = make(tmp_path, "10x v3")
    with h5py.File(path, "r+") as file:
        del file["matrix"][part]
    with pytest.raises(
        ScraeError, match="could not be read as 10x h5; it is damaged, cut short or of another kind"
    ):
        read(path)


def test_10x_with_parts_that_do_not_fit(tmp_path):
    for part, value in (("shape", [3, 10]), ("indptr", [0, 1]), ("indices", [-5] * 3), ("barcodes", [b"x"])):
        path = make(tmp_path, "10x v3")
        with h5py.File(path, "r+") as file:
            del file["matrix"][part]
            file["matrix"][part] = np.array(value)
        with pytest.raises(ScraeError, match=f"^{path}"):
            read(path)


def test_10x_with_an_index_beyond_the_genes(tmp_path):
    path = make(tmp_path, "10x v3")
    with h5py.File(path, "r+") as file:
        file["matrix/indices"][4] = 10**6
    with pytest.raises(ScraeError, match=r"could not be read as 10x h5|X is a broken sparse matrix"):
        read(path)


def test_h5ad_with_an_index_beyond_the_genes(tmp_path):
    path = make(tmp_path, "h5ad")
    with h5py.File(path, "r+") as file:
        file["X/indices"][4] = 10**6
    with pytest.raises(ScraeError, match=f"^{path}: X is a broken sparse matrix"):
        read(path)


def test_h5ad_with_tables_that_do_not_fit(tmp_path):
    path = make(tmp_path, "h5ad")
    with h5py.File(path, "r+") as file:
        del file["obs/_index"]
        file["obs/_index"] = np.array([b"a", b"b"])
    with pytest.raises(ScraeError, match=f"^{path} could not be read as h5ad; it is damaged"):
        read(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda text: text[: len(text) // 2],
            r"states \d+ values and holds \d+; it is cut short|could not be read",
        ),
        (lambda text: text + "1 1 1\n", r"states \d+ values and holds \d+; it is cut short or damaged"),
        (
            lambda text: "hello\n" + text,
            r"begins with 'hello'; expected '%%MatrixMarket matrix coordinate integer",
        ),
        (lambda text: text.replace("general", "symmetric"), r"begins with .* integer symmetric'; expected"),
        (
            lambda text: text.replace("\n1 ", "\n99 ", 1),
            r"has a value outside its 7 x 10 places; it is damaged",
        ),
        (
            lambda text: text.replace("\n1 ", "\n0 ", 1),
            r"has a value outside its 7 x 10 places; it is damaged",
        ),
        (lambda text: text.replace("\n1 ", "\nx ", 1), r"could not be read as Matrix Market; it is damaged"),
        (
            lambda text: text.replace("\n1 ", "\n1 1 ", 1),
            r"could not be read as Matrix Market|it is cut short",
        ),
        (lambda text: text.replace("7 10 ", "7 x "), r"could not be read as Matrix Market"),
        (lambda text: "", r"begins with ''; expected"),
        (
            lambda text: text.replace("7 10 ", "7000000000 10 "),
            r"is 7000000000 x 10, but 7 genes x 10 barcodes",
        ),
    ],
)
@pytest.mark.parametrize("gz", [True, False])
def test_mtx_that_is_damaged(tmp_path, change, reason, gz):
    write_mtx(tmp_path, version=3, gz=False)
    text = change((tmp_path / "matrix.mtx").read_text())
    write_mtx(tmp_path / "b", version=3, gz=gz)
    file = tmp_path / "b" / f"matrix.mtx{'.gz' if gz else ''}"
    write_text(file, text)
    with pytest.raises(ScraeError, match=reason):
        read(tmp_path / "b")


def test_mtx_lists_that_are_empty_or_foreign(tmp_path):
    write_mtx(tmp_path, version=3, gz=True)
    for content in (b"", b"\x1f\x8b broken", bytes(range(128, 256))):
        (tmp_path / "features.tsv.gz").write_bytes(content)
        with pytest.raises(
            ScraeError, match=r"features.tsv.gz could not be read as a list in tab-separated columns"
        ):
            read(tmp_path)


def test_a_folder_of_something_else(tmp_path):
    (tmp_path / "readme.md").write_text("hello")
    with pytest.raises(
        ScraeError, match=r"is a folder without a matrix.mtx or zarr store; it holds 'readme.md'"
    ):
        read(tmp_path)


def test_zarr_with_broken_parts(tmp_path):
    table().write_zarr(tmp_path / "a.zarr")
    of_version = {
        2: ((".zattrs", "{"), ("obs/.zattrs", "[]"), ("X/data/0", "short")),
        3: (("zarr.json", "{"), ("X/data/c/0", "short")),  # one zarr.json of all groups
    }
    for victim, content in of_version[3 if (tmp_path / "a.zarr" / "zarr.json").exists() else 2]:
        path = tmp_path / f"{victim.replace('/', '_')}.zarr"
        table().write_zarr(path)
        target = path / victim
        assert target.exists() or victim.startswith("X")
        target.write_text(content)
        for cached in path.glob(".zmetadata"):
            cached.unlink()
        with pytest.raises(ScraeError, match=rf"^{path} could not be read as zarr; it is damaged"):
            read(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_without_permission(tmp_path):
    path = make(tmp_path, "h5ad")
    path.chmod(0)
    with pytest.raises(ScraeError, match=r"cannot be opened|no permission"):
        read(path)
