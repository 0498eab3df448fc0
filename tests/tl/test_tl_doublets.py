from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from scrae import tl
from scrae.config import PreprocessConfig
from scrae.errors import ScraeError
from scrae.pipeline.run import preprocess

N, N_DOUBLETS, N_GENES = 120, 16, 90


@pytest.fixture(scope="module")
def adata() -> AnnData:
    """Types of 120, 120 and 30 cells with 30 genes each, and a fourth cluster of sums of cells of the first two."""
    rng = np.random.default_rng(0)
    kind = np.repeat(np.arange(3), [N, N, 30])
    rates = np.full((3, N_GENES), 0.1)
    for k in range(3):
        rates[k, 30 * k : 30 * k + 30] = 3.0
    cells = rng.poisson(rates[kind])
    sums = cells[rng.integers(0, N, N_DOUBLETS)] + cells[rng.integers(N, 2 * N, N_DOUBLETS)]
    counts = sparse.csr_matrix(np.concatenate([cells, sums]).astype(np.int32))
    made = AnnData(counts.astype(np.float32), layers={"counts": counts})
    made.var_names = [f"Gene{i}" for i in range(N_GENES)]
    made.obs["scrae"] = pd.Categorical([*kind.astype(str), *["3"] * N_DOUBLETS])
    made.obs["lane"] = ["a", "b"] * (made.n_obs // 2)
    tl.doublets(made)
    return made


def test_sums_of_two_types_are_called(adata: AnnData):
    called = adata.obs["scrae_doublet"].to_numpy()
    assert called[-N_DOUBLETS:].mean() > 0.7
    assert called[:-N_DOUBLETS].mean() < 0.02
    score = adata.obs["scrae_doublet_score"]
    assert score.between(0, 1).all()
    assert score[-N_DOUBLETS:].min() > score[:-N_DOUBLETS].median()
    assert adata.uns["scrae"]["notes"] == [
        f"Doublets: {called.sum()} of {adata.n_obs} cells look like doublets."
    ]


def test_samples_are_scored_apart_and_small_ones_not(adata: AnnData):
    both = adata.copy()
    tl.doublets(both, sample_key="lane")
    for lane in ("a", "b"):
        alone = adata[adata.obs["lane"] == lane].copy()
        tl.doublets(alone)
        expected = alone.obs["scrae_doublet_score"]
        pd.testing.assert_series_equal(both.obs["scrae_doublet_score"][expected.index], expected)
    few = adata[:50].copy()
    tl.doublets(few)
    assert few.obs["scrae_doublet_score"].isna().all()
    assert not few.obs["scrae_doublet"].any()
    with pytest.raises(ScraeError, match=r"no 'lan'; did you mean 'lane'\?"):
        tl.doublets(few, sample_key="lan")


def test_one_type_has_no_doublets_to_call():
    counts = sparse.csr_matrix(np.random.default_rng(1).poisson(2.0, (300, 60)).astype(np.int32))
    one = AnnData(counts.astype(np.float32), layers={"counts": counts})
    tl.doublets(one)
    assert one.obs["scrae_doublet"].mean() < 0.02


def test_the_cluster_of_sums_is_found_with_its_pair(adata: AnnData):
    found = adata.copy()
    for with_calls in (True, False):
        if not with_calls:
            del found.obs["scrae_doublet"]
        tl.doublet_clusters(found)
        table = found.uns["scrae"]["doublets"].set_index("cluster")
        assert table["doublets"].tolist() == [False, False, False, True]
        assert (table["first"]["3"], table["second"]["3"]) == ("0", "1")
        assert table["together"]["3"] == 1.0
        assert table["apart"]["3"] < 0.1
        genes = [int(gene.removeprefix("Gene")) for gene in table["genes"]["3"].split()]
        assert genes[0] < 30 <= genes[1] < 60


def test_a_cluster_that_mixes_cells_of_two_types_is_no_cluster_of_doublets(adata: AnnData):
    mixed = adata[:-N_DOUBLETS].copy()
    names = mixed.obs["scrae"].astype(str).to_numpy()
    names[[*range(20), *range(N, N + 20)]] = "mixed"
    mixed.obs["scrae"] = pd.Categorical(names)
    tl.doublet_clusters(mixed)
    assert not mixed.uns["scrae"]["doublets"]["doublets"].any()


def test_two_clusters_give_an_empty_table(adata: AnnData):
    two = adata[: 2 * N].copy()
    tl.doublet_clusters(two)
    assert len(two.uns["scrae"]["doublets"]) == 0


def test_only_the_option_drops_cells(adata: AnnData):
    for drop in (False, True):
        made = AnnData(adata.X.copy(), layers={"counts": adata.layers["counts"].copy()})
        preprocess(made, PreprocessConfig(n_top_genes=20, gene_selection="deviance", drop_doublets=drop))
        n_called = int(adata.obs["scrae_doublet"].sum())
        assert made.n_obs == adata.n_obs - drop * n_called
        assert (
            made.uns["scrae"]["notes"][2]
            == f"Doublets: {n_called} of {adata.n_obs} cells look like doublets."
        )
        assert ("Doublets: these cells were dropped." in made.uns["scrae"]["notes"]) == drop
