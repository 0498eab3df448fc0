"""The data set of the demo: counts that are counts."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

from scrae import datasets
from scrae.errors import ScraeError


@pytest.fixture(scope="module")
def shipped():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scanpy's file is of an old form
        return sc.datasets.pbmc68k_reduced()


def test_pbmc_gives_back_the_values_of_scanpy(shipped):
    adata = datasets.pbmc()
    assert adata.shape == (700, 765)
    for matrix in (adata.X, adata.layers["counts"]):
        assert type(matrix) is sparse.csr_matrix
        assert matrix.dtype == np.int32
    assert adata.X.data.min() == 1
    totals = shipped.obs["n_counts"].to_numpy(dtype=float)
    again = np.log1p(adata.X.toarray() / totals[:, None] * 1e4)
    np.testing.assert_allclose(
        again, shipped.raw.X.toarray(), rtol=2e-3
    )  # the shipped logarithms are rounded
    assert (totals >= adata.X.sum(axis=1).A1).all()
    assert list(adata.obs_names) == list(shipped.obs_names)
    assert list(adata.var_names) == list(shipped.raw.var_names)


def test_pbmc_has_the_ten_published_types(shipped):
    labels = datasets.pbmc().obs["bulk_labels"]
    assert labels.dtype == "category"
    assert len(labels.cat.categories) == 10
    assert list(labels) == list(shipped.obs["bulk_labels"])
    assert (labels == "Dendritic").sum() == 240


def test_pbmc_is_fresh_each_time():
    first = datasets.pbmc()
    first.layers["counts"].data[:] = 0
    first.obs["bulk_labels"] = "x"
    assert datasets.pbmc().layers["counts"].data.min() == 1
    assert datasets.pbmc().uns["scrae"]["notes"] == [
        "Counts were recovered from the log-normalized values of the PBMC set that scanpy ships.",
        "Counts were found in X: 700 cells x 765 genes.",
    ]


def test_another_file_is_refused(shipped, monkeypatch):
    changed = shipped.copy()
    changed.obs["n_counts"] = changed.obs["n_counts"] * 1.3
    monkeypatch.setattr(sc.datasets, "pbmc68k_reduced", lambda: changed)
    with pytest.raises(
        ScraeError, match=r"is another than expected: its values are up to 0\.\d+ away from whole counts"
    ):
        datasets.pbmc()
