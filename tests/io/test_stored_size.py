"""Sizes from the metadata of files."""

from __future__ import annotations

import h5py
import pytest
from helpers.count_files import counts, table

from scrae.io import stored_size
from scrae.io.stored_size import stored


def test_damaged_and_other_files_have_no_known_size(tmp_path):
    table().write_h5ad(tmp_path / "a.h5ad")
    assert stored(tmp_path / "a.h5ad")[:2] == counts().shape
    (tmp_path / "cut.h5ad").write_bytes((tmp_path / "a.h5ad").read_bytes()[:3000])
    (tmp_path / "b.csv").write_text("x")
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    for name in ("cut.h5ad", "b.csv", "empty.h5", "none", "."):
        assert stored(tmp_path / name) is None


def test_programming_errors_are_not_hidden(tmp_path, monkeypatch):
    table().write_h5ad(tmp_path / "a.h5ad")
    monkeypatch.setattr(stored_size, "_of_anndata", lambda *_: None.shape)
    with pytest.raises(AttributeError):
        stored(tmp_path / "a.h5ad")
