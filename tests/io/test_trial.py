"""HDF5 files that crash or hang the library, or state a false size, are known errors."""

from __future__ import annotations

import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest
from helpers.count_files import table

from scrae.errors import ScraeError, ScraeWarning
from scrae.io import _walk, probe, read, try_hdf5


def test_whole_files_and_others_pass(tmp_path):
    table().write_h5ad(tmp_path / "a.h5ad")
    (tmp_path / "b.csv").write_text("x")
    assert _walk.walk(str(tmp_path / "a.h5ad")) == 0
    assert try_hdf5(tmp_path / "a.h5ad", tmp_path / "b.csv", tmp_path / "none", tmp_path) is None


def test_a_false_size_is_refused(tmp_path):
    path = tmp_path / "a.h5ad"
    table().write_h5ad(path)
    with h5py.File(path, "r+") as file:
        file.create_dataset("uns/huge", shape=(2**40,), chunks=(1024,), dtype="i1")
    assert _walk.walk(str(path)) == 3
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
            "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (1, 2))\nwhile True: pass",
            "the HDF5 library does not come to an end with this file in 1 seconds; it is damaged.",
        ),
    ],
)  # fmt: skip
def test_a_crash_and_a_hang(tmp_path, monkeypatch, program, message):
    path = tmp_path / "a.h5ad"
    table().write_h5ad(path)
    (tmp_path / "walk.py").write_text(program)
    monkeypatch.setattr(probe, "_WALK", tmp_path / "walk.py")
    monkeypatch.setattr(probe, "_SECONDS", 1)
    with pytest.raises(ScraeError) as error:
        try_hdf5(path)
    assert str(error.value) == f"{path}: {message}"


def test_the_program_ends_itself_after_its_time(tmp_path):
    table().write_h5ad(tmp_path / "a.h5ad")
    program = (
        "import runpy, sys, h5py\n"
        "h5py.File = lambda *_: [None for _ in iter(int, 1) if _]\n"
        f"sys.argv = ['walk', {str(tmp_path / 'a.h5ad')!r}, '1']\n"
        f"runpy.run_path({_walk.__file__!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == -signal.SIGXCPU


@pytest.mark.filterwarnings("ignore:Writing zarr v2 data:UserWarning")
def test_a_lost_chunk_of_a_dense_zarr_matrix_is_said(tmp_path):
    path = tmp_path / "a.zarr"
    adata = table()
    adata.X = np.asarray(adata.X.toarray())
    adata.write_zarr(path, chunks=(5, 7))
    assert read(path).shape == (10, 7)
    next(file for file in sorted((path / "X").rglob("1*0")) if file.is_file()).unlink()
    with pytest.warns(ScraeWarning, match=r"1 of 2 chunks of X are not in the store and count as zeros"):
        again = read(path)
    assert any("1 of 2 chunks of X are not in the store" in line for line in again.uns["scrae"]["notes"])
    assert again.X[:5].sum() > 0
    assert again.X[5:].nnz == 0
