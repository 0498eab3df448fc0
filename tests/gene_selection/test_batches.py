from __future__ import annotations

import anndata
import numpy as np
import pytest
import scanpy
from helpers.selection_data import draw_counts
from scipy import sparse

from scrae.errors import ScraeError
from scrae.gene_selection import GeneScores, combine_batches, deviance
from scrae.gene_selection._result import rank_genes


def ranked(score, kept=None) -> GeneScores:
    score = np.array(score, dtype=float)
    kept = np.ones(score.size, dtype=bool) if kept is None else np.array(kept)
    return rank_genes(score[kept], kept=kept, choice=1, fit=None, notes=[f"{score[0]:g} first"])


def test_by_hand():
    batches = [  # ranks 0 1 2 3 4, 4 0 1 2 3, 4 3 0 1 2
        ranked([9, 8, 7, 6, 5]),
        ranked([1, 9, 8, 7, 6]),
        ranked([1, 6, 9, 8, 7]),
    ]
    ours = combine_batches(batches, n_top_genes=3)
    # among the best three of a batch: ranks {0}, {1, 0}, {2, 1, 0}, {2, 1}, {2}; ties go to the more frequent
    assert ours.score.tolist() == [0, -0.5, -1, -1.5, -2]
    assert ours.rank.tolist() == [0, 1, 2, 3, 4]
    assert ours.selected.tolist() == [True, True, True, False, False]
    assert ours.p_value is None
    assert ours.fit is None
    assert ours.notes == ("batch 1: 9 first", "batch 2: 1 first", "batch 3: 1 first")
    two = combine_batches(batches, n_top_genes=2)
    # {0}, {1, 0}, {1, 0}, {1}, none: median rank 3 of all its batches
    assert two.score.tolist() == [0, -0.5, -0.5, -1, -3]


def test_ties_go_to_the_gene_of_more_batches():
    batches = [ranked([5, 9, 8, 1]), ranked([9, 5, 8, 1]), ranked([5, 1, 8, 9])]
    # best two: gene 0 {0}, gene 1 {0}, gene 2 {1, 1, 1}, gene 3 {0}
    ours = combine_batches([*batches, ranked([9, 5, 8, 1])], n_top_genes=2)
    assert ours.rank.tolist() == [0, 1, 3, 2]
    assert ours.selected.tolist() == [True, True, False, False]


def test_a_gene_dropped_in_a_batch_does_not_count_there():
    batches = [ranked([5, 9, 0], [True, True, False]), ranked([1, 2, 3], [False, True, True])]
    ours = combine_batches(batches, n_top_genes=3)
    # gene 0: rank 1 once; gene 1: ranks 0 and 1; gene 2: rank 0 once
    assert ours.score.tolist() == [-1, -0.5, 0]
    nowhere = combine_batches([ranked([5, 0], [True, False])] * 2, n_top_genes=2)
    assert nowhere.selected.tolist() == [True, False]
    assert nowhere.score[1] == -np.inf
    assert nowhere.notes[-1] == "2 genes requested, 1 available: all of them are selected"


@pytest.mark.parametrize("n_top_genes", [5, 40])
def test_equals_the_rule_of_scanpy(n_top_genes):
    parts = [draw_counts(seed, n_cells=60 + 30 * seed, n_genes=150) for seed in range(3)]
    parts = [np.delete(part, 3, axis=1) for part in parts]
    x = sparse.csr_matrix(np.vstack(parts))
    name = np.repeat(["a", "b", "c"], [len(part) for part in parts])
    data = anndata.AnnData(x.astype(np.float32))
    data.obs["batch"] = name
    theirs = scanpy.pp.highly_variable_genes(
        data, flavor="seurat_v3", n_top_genes=n_top_genes, batch_key="batch", inplace=False
    )
    alone = [  # with the key, so that scanpy >= 1.12 adds up the moments in the same way, to the last bit
        scanpy.pp.highly_variable_genes(
            data[name == b].copy(),
            flavor="seurat_v3",
            n_top_genes=n_top_genes,
            batch_key="batch",
            inplace=False,
        )["variances_norm"].to_numpy()
        for b in "abc"
    ]
    ours = combine_batches([ranked(score) for score in alone], n_top_genes=n_top_genes)
    np.testing.assert_array_equal(ours.selected, theirs["highly_variable"])
    chosen = theirs["highly_variable_nbatches"].to_numpy() > 0
    np.testing.assert_allclose(-ours.score[chosen], theirs["highly_variable_rank"][chosen])


def test_what_it_refuses():
    with pytest.raises(ScraeError, match=r"batches over the same genes, found \[2, 3\] genes"):
        combine_batches([ranked([1, 2]), ranked([1, 2, 3])], n_top_genes=1)
    with pytest.raises(ScraeError, match=r"found \[\] genes"):
        combine_batches([], n_top_genes=1)
    with pytest.raises(ScraeError, match="n_top_genes of at least 1, found 0"):
        combine_batches([deviance(draw_counts(0), n_top_genes=2)], n_top_genes=0)
