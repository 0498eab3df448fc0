"""Estimated counts, rounded on request."""

from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData
from helpers.count_files import counts
from scipy import sparse

import scrae
from scrae.errors import ScraeError, ScraeWarning
from scrae.io import check_counts, read, use_counts


def estimated() -> np.ndarray:
    """As SoupX leaves them: 10 cells, 7 genes, a tenth of each count taken away."""
    return (counts() * 9).astype(np.float32) * np.float32(0.9)


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix, np.array])
def test_estimated_counts_are_rounded_and_the_change_is_said(form):
    given = form(estimated())
    expected = np.rint(estimated())
    change = 100 * (expected.sum(dtype=np.float64) / estimated().sum(dtype=np.float64) - 1)
    with pytest.warns(ScraeWarning, match="estimated counts were rounded") as caught:
        found = check_counts(given, "X", round=True)
    assert str(caught[0].message).endswith(f"their sum changed by {change:+.2f} %.")
    np.testing.assert_array_equal(found.toarray(), expected)
    np.testing.assert_array_equal(
        np.asarray(given.todense() if sparse.issparse(given) else given), estimated()
    )


def test_whole_numbers_pass_without_a_word():
    np.testing.assert_array_equal(check_counts(counts(), round=True).toarray(), counts())


def test_normalized_values_are_refused_also_with_round():
    logs = np.log1p(counts() / counts().sum(axis=1, keepdims=True) * 1e4)
    with pytest.raises(
        ScraeError, match=r"expected estimated counts to round\. It looks like log-normalized values"
    ):
        check_counts(logs, round=True)
    per_million = counts() / counts().sum(axis=1, keepdims=True) * 1e6
    with pytest.raises(
        ScraeError, match=r"expected estimated counts to round\. It looks like normalized values"
    ):
        check_counts(per_million, round=True)
    with pytest.raises(ScraeError, match=r"a negative value"):
        check_counts(estimated() - 1, round=True)
    with pytest.raises(ScraeError, match="missing value"):
        check_counts(np.where(np.eye(10, 7) > 0, np.nan, estimated()), round=True)


def test_files_and_anndata_are_rounded_on_request(tmp_path):
    AnnData(estimated()).write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(ScraeError, match="accepted with --round"):
        read(tmp_path / "a.h5ad")
    with pytest.warns(ScraeWarning, match="estimated counts were rounded"):
        adata = read(tmp_path / "a.h5ad", round=True)
    np.testing.assert_array_equal(adata.layers["counts"].toarray(), np.rint(estimated()))
    assert any("estimated counts were rounded" in line for line in adata.uns["scrae"]["notes"])


def test_whole_numbers_in_another_place_come_first():
    adata = AnnData(estimated(), layers={"counts": counts().astype(np.float32)})
    use_counts(adata, round=True)
    np.testing.assert_array_equal(adata.X.toarray(), counts())


def test_rounding_is_for_counts_in_memory(tmp_path):
    AnnData(estimated()).write_h5ad(tmp_path / "a.h5ad")
    settings = scrae.Settings(round=True, backed=True)
    with pytest.raises(ScraeError, match="round: expected counts that fit in memory"):
        scrae.run(tmp_path / "a.h5ad", tmp_path / "out", settings)
