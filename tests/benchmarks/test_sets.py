from __future__ import annotations

import hashlib

import anndata as ad
import h5py
import numpy as np
import pytest

from benchmarks.sets import find_sets, read_counts, read_labels
from scrae.errors import ScraeError


def test_sets_are_described_and_the_smallest_comes_first(sets):
    found = find_sets(sets)
    assert [(s.name, s.n_cells, s.n_genes, s.n_types) for s in found] == [
        ("small", 60, 40, 3),
        ("large", 90, 40, 3),
    ]
    assert found[0].sha256 == hashlib.sha256((sets / "small.h5ad").read_bytes()).hexdigest()
    assert [s.name for s in find_sets(sets, ["large"])] == ["large"]


def test_counts_come_without_anything_that_could_give_a_type_away(sets):
    whole = ad.read_h5ad(sets / "small.h5ad")
    counts = read_counts(sets / "small.h5ad")
    np.testing.assert_array_equal(counts.X.toarray(), whole.X.toarray())
    assert list(counts.var_names) == list(whole.var_names)
    assert list(counts.obs_names) == [str(i) for i in range(60)]
    assert counts.obs.shape[1] == counts.var.shape[1] == 0
    assert not counts.uns
    assert not counts.obsm
    assert not counts.layers


def test_dense_counts_are_read_too(sets):
    path = sets / "small.h5ad"
    whole = ad.read_h5ad(path)
    sparse_counts = whole.X.toarray()
    whole.X = sparse_counts
    whole.write_h5ad(path)
    assert find_sets(sets, ["small"])[0].n_genes == 40
    np.testing.assert_array_equal(read_counts(path).X.toarray(), sparse_counts)


def test_missing_labels_are_none_and_no_type(sets):
    path = sets / "small.h5ad"
    whole = ad.read_h5ad(path)
    whole.obs.loc[whole.obs_names[3:5], "cell_type"] = None
    whole.write_h5ad(path)
    labels = read_labels(path)
    assert [labels[i] for i in (2, 3, 4)] == ["gamma", None, None]
    assert find_sets(sets, ["small"])[0].n_types == 3


def test_errors_say_what_was_expected(sets, tmp_path):
    with pytest.raises(ScraeError, match=r"expected h5ad files in .*, found none; name another folder"):
        find_sets(tmp_path)
    with pytest.raises(ScraeError, match=r"expected sets among large, small, found huge; correct --sets"):
        find_sets(sets, ["small", "huge"])
    with h5py.File(sets / "small.h5ad", "r+") as file:
        file["X/data"][0] = 1.5
        del file["obs/cell_type"]
    with pytest.raises(ScraeError, match=r"expected raw counts in X of small.h5ad, found negative or broken"):
        read_counts(sets / "small.h5ad")
    with pytest.raises(ScraeError, match=r'expected obs\["cell_type"\] in small.h5ad, found none'):
        find_sets(sets)
