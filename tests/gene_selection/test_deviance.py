from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from scrae.errors import ScraeError
from scrae.gene_selection import deviance


def test_by_hand():
    # Two cells of 4, each all of one gene; the third gene is the fourth count of both: half of nothing new.
    x = np.array([[4, 0, 4], [0, 4, 4]])
    ours = deviance(x, n_top_genes=1)
    # genes 0, 1: share 1/4 where a cell has 1/2 or 0: 2 [4 ln 2 + 4 ln(2/3) + 8 ln(4/3)]
    expected = 2 * (4 * np.log(2) + 4 * np.log(2 / 3) + 8 * np.log(4 / 3))
    np.testing.assert_allclose(ours.score, [expected, expected, 0], atol=1e-12)
    assert ours.selected.tolist() == [True, False, False]


def test_against_binomial_likelihoods(counts):
    x = np.delete(counts, 5, axis=0)
    totals, share = x.sum(axis=1), x.sum(axis=0) / x.sum()
    ours = deviance(counts, n_top_genes=10)
    for gene in range(60):
        if gene == 3:
            continue
        own = binom.logpmf(x[:, gene], totals, x[:, gene] / totals)
        common = binom.logpmf(x[:, gene], totals, share[gene])
        assert ours.score[gene] == pytest.approx(2 * (own - common).sum(), rel=1e-9)
    np.testing.assert_allclose(ours.fit.mean, x.mean(axis=0), rtol=1e-12)
    assert ours.selected.sum() == 10
    assert ours.score[ours.selected].min() > ours.score[~ours.selected].max()


def test_a_gene_that_is_all_of_a_cell():
    x = np.array([[5, 0], [0, 3], [2, 2]])  # T - x is 0 in places
    own = 2 * (5 * np.log(5 / 5 * 12 / 7) + 3 * np.log(12 / 5) + 2 * np.log(6 / 7) + 2 * np.log(6 / 5))
    np.testing.assert_allclose(deviance(x, n_top_genes=1).score, [own, own], rtol=1e-12)


def test_log_values_are_refused(counts):
    with pytest.raises(ScraeError, match=r"^deviance expected raw counts"):
        deviance(np.log1p(counts), n_top_genes=3)
