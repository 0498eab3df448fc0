"""Disks that do not respond, and HDF5 files that crash or hang the library or state a false size, are known errors."""

from __future__ import annotations

import os
import shutil
from importlib.metadata import version

import anndata
import h5py
import numpy as np
import pytest
import zarr
from helpers.count_files import table

from scrae.errors import ScraeError, ScraeWarning
from scrae.io import probe, read, try_hdf5


def test_whole_files_and_others_pass(tmp_path):
    table().write_h5ad(tmp_path / "a.h5ad")
    (tmp_path / "b.csv").write_text("x")
    assert probe.walk(str(tmp_path / "a.h5ad")) == 0
    assert try_hdf5(tmp_path / "a.h5ad", tmp_path / "b.csv", tmp_path / "none", tmp_path) is None


@pytest.mark.parametrize("inside", [False, True])
def test_a_disk_that_does_not_respond(tmp_path, monkeypatch, inside):
    """A pipe that nobody writes to blocks its reader, as a lost network disk does."""
    monkeypatch.setattr(probe, "_SECONDS", 0.3)
    pipe = tmp_path / "matrix.mtx"
    os.mkfifo(pipe)
    if inside:
        monkeypatch.setattr(type(tmp_path), "is_file", lambda path: path.name == "matrix.mtx")
    try:
        path = tmp_path if inside else pipe
        with pytest.raises(
            ScraeError, match=f"^{path} could not be read: its disk did not respond in 0.3 sec"
        ):
            try_hdf5(path)
    finally:
        os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))  # ends the reader


def test_a_false_size_is_refused(tmp_path):
    path = tmp_path / "a.h5ad"
    table().write_h5ad(path)
    with h5py.File(path, "r+") as file:
        file.create_dataset("uns/huge", shape=(2**40,), chunks=(1024,), dtype="i1")
    assert probe.walk(str(path)) == 3
    with pytest.raises(ScraeError) as error:
        try_hdf5(path)
    assert (
        str(error.value)
        == f"{path} states a size that its {path.stat().st_size} bytes cannot hold; it is damaged."
    )


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import os\nos.abort()", "the HDF5 library cannot read this file (it crashes); it is damaged."),
        (
            "import time\ntime.sleep(60)",
            "the HDF5 library did not finish with this file in 0.5 seconds; it is damaged, or its disk does "
            "not respond.",
        ),
    ],
)
def test_a_crash_and_a_hang(tmp_path, monkeypatch, program, message):
    """A hang is ended by the clock: a blocked disk takes no processor time."""
    path = tmp_path / "a.h5ad"
    table().write_h5ad(path)
    (tmp_path / "walk.py").write_text(program)
    monkeypatch.setattr(probe, "__file__", str(tmp_path / "walk.py"))
    monkeypatch.setattr(probe, "_SECONDS", 0.5 if "sleep" in program else 60)
    with pytest.raises(ScraeError) as error:
        try_hdf5(path)
    assert str(error.value) == f"{path}: {message}"


def test_the_work_is_bounded_whatever_the_size(tmp_path, monkeypatch):
    read: list[int] = []
    path = tmp_path / "a.h5ad"
    with h5py.File(path, "w") as file:
        file["obs"] = np.array(["cell"] * 5000, dtype=object)
        file["X"] = file.create_dataset("data", data=np.zeros((40, 40)), chunks=(1, 1))
        for number in range(30):
            file.create_group(f"uns/{number}")
    getitem = h5py.Dataset.__getitem__

    def counted(self, key, **options):
        values = getitem(self, key, **options)
        read.append(values.size)
        return values

    monkeypatch.setattr(h5py.Dataset, "__getitem__", counted)
    assert probe.walk(str(path)) == 0
    assert read == [1000]
    opened = set()
    monkeypatch.setattr(probe, "_OBJECTS", 10)
    names = probe._names
    monkeypatch.setattr(probe, "_names", lambda mapping: opened.add(str(mapping)) or names(mapping))
    assert probe.walk(str(path)) == 0
    assert len(opened) <= 20


@pytest.mark.filterwarnings("ignore:Writing zarr v2 data:UserWarning")
def test_a_lost_chunk_of_a_dense_zarr_matrix_is_said(tmp_path):
    path = tmp_path / "a.zarr"
    adata = table()
    adata.X = np.asarray(adata.X.toarray())
    adata.write_zarr(path, chunks=(5, 7))
    assert read(path).shape == (10, 7)
    chunks = [file for file in (path / "X").rglob("*") if file.is_file() and file.name[0] in "01"]
    max(chunks).unlink()
    with pytest.warns(ScraeWarning, match=r"1 of 2 chunks of X are not in the store and count as zeros"):
        again = read(path)
    assert any("1 of 2 chunks of X are not in the store" in line for line in again.uns["scrae"]["notes"])
    assert again.X[:5].sum() > 0
    assert again.X[5:].nnz == 0


@pytest.mark.filterwarnings(
    "ignore:zarr v3 autosharding:UserWarning",
    "ignore:Consolidated metadata:UserWarning",
    "ignore:This setting will be removed in 0.14:DeprecationWarning",  # anndata 0.13: the choice of the version
)
@pytest.mark.skipif(version("anndata").startswith("0.11."), reason="anndata 0.11 writes zarr version 2 only")
def test_a_shard_that_reaches_beyond_the_matrix_is_complete(tmp_path):
    """Shards of 2 x 2 chunks over a matrix of 10 x 7: 2 x 2 of them, which zarr counts as 16 chunks of 12."""
    path = tmp_path / "a.zarr"
    adata = table()
    x = adata.X.toarray()
    with anndata.settings.override(zarr_write_format=3):
        adata.write_zarr(path)
    shutil.rmtree(path / "X")
    store = zarr.open_group(str(path), mode="r+", use_consolidated=False)
    array = store.create_array("X", shape=x.shape, dtype=x.dtype, chunks=(3, 3), shards=(6, 6))
    array.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    array[:] = x
    zarr.consolidate_metadata(str(path))
    np.testing.assert_array_equal(read(path).X.toarray(), x)  # and no warning
    max(file for file in (path / "X").rglob("*") if file.is_file() and file.name[0] in "01").unlink()
    with pytest.warns(ScraeWarning, match=r"1 of 4 chunks of X are not in the store and count as zeros"):
        assert read(path).X[6:, 6:].nnz == 0
