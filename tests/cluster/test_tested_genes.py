"""The genes of the test: by their variance, and without those that follow the mitochondrial ones."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from scrae.cluster.tested_genes import choose_genes, counts_to_test, follows


def test_genes_are_chosen_by_their_excess_over_poisson_variance():
    rng = np.random.default_rng(4)
    counts = rng.poisson(2.0, (300, 400))
    counts[:, 7] = rng.poisson(2 * rng.gamma(1, 1, 300))
    counts[:, 9] = 0
    depth, share = counts.sum(axis=1), counts.sum(axis=0) / counts.sum()
    expected = np.outer(depth, share)
    excess = ((counts - expected) ** 2).sum(axis=0) / np.maximum(expected.sum(axis=0), 1e-12) - 1
    chosen = choose_genes(sparse.csr_matrix(counts))
    assert set(chosen) == set(np.flatnonzero(excess > 0))
    assert {7} <= set(chosen)
    assert 9 not in chosen


def damaged(seed: int = 0) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Cells of two types; the share of genes 0 to 4 varies; 5 and 6 follow it, 7 marks the type where it is larger."""
    rng = np.random.default_rng(seed)
    kind = np.arange(600) < 300
    share = np.where(kind, 3, 1) * rng.lognormal(0, 0.5, 600)
    rate = rng.uniform(1, 5, 40) * rng.gamma(10, 0.1, (600, 40))
    rate[:, :7] = np.outer(share, rng.uniform(2, 5, 7))
    rate[:, 7] = 6.0 * kind
    leading = np.arange(40) < 5
    return sparse.csr_matrix(rng.poisson(rate)), leading


def test_genes_in_proportion_to_others_follow_them_and_a_marker_does_not():
    counts, leading = damaged()
    found = follows(counts, leading)
    assert set(np.flatnonzero(found & ~leading)) == {5, 6}


def test_mitochondrial_genes_and_their_followers_count_neither_as_genes_nor_for_the_depth():
    counts, leading = damaged()
    genes, depth = counts_to_test(counts, leading)
    kept = counts[:, 7:]
    np.testing.assert_array_equal(depth, np.asarray(kept.sum(axis=1)).ravel())
    np.testing.assert_array_equal(genes, kept[:, choose_genes(kept)].toarray())
    everything, depth = counts_to_test(counts)
    np.testing.assert_array_equal(depth, np.asarray(counts.sum(axis=1)).ravel())
    assert everything.shape[1] > genes.shape[1]
