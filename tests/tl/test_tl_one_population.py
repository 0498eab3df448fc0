"""The number of clusters of one population is 1."""

from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse

from scrae import tl


def cells(difference: float) -> AnnData:
    """Cells in two groups of codes, whose counts differ by so much."""
    rng = np.random.default_rng(0)
    kind = np.repeat([0, 1], 60)
    log_rate = rng.normal(0.5, 1, 80) + np.outer(kind, rng.normal(0, difference, 80))
    counts = sparse.csr_matrix(rng.poisson(np.exp(log_rate) * rng.gamma(4, 0.25, log_rate.shape)))
    z = (np.outer(kind, [9, 0]) + rng.normal(size=(120, 2))).astype(np.float32)
    return AnnData(counts.astype(np.float32), layers={"counts": counts}, obsm={"X_scrae": z})


@pytest.mark.usefixtures("global_randomness_untouched")
def test_cells_whose_counts_do_not_differ_are_one_cluster():
    adata = cells(0)
    tl.cluster(adata)
    assert list(adata.obs["scrae"].cat.categories) == ["0"]
    assert adata.uns["scrae"]["clusters"]["n_clusters"] == 1
    assert any("One cluster was chosen" in note for note in adata.uns["scrae"]["notes"])
    tl.cluster(adata, n_clusters=2)
    assert len(adata.obs["scrae"].cat.categories) == 2
    assert not any("One cluster was chosen" in note for note in adata.uns["scrae"]["notes"])


def test_cells_that_differ_are_several_clusters_and_without_counts_nothing_is_tested():
    adata = cells(1.5)
    tl.cluster(adata)
    assert len(adata.obs["scrae"].cat.categories) >= 2
    alike = cells(0)
    del alike.layers["counts"]
    tl.cluster(alike)
    assert len(alike.obs["scrae"].cat.categories) >= 2
