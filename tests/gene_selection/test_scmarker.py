from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import gaussian_kde, rankdata

from scrae.errors import ScraeError, ScraeWarning
from scrae.gene_selection import _scmarker, scmarker
from scrae.gene_selection._modes import _densities, count_modes
from scrae.gene_selection._scmarker import _neighbors, _partners


def logged(seed: int, n_cells: int = 120, n_genes: int = 70) -> np.ndarray:
    """Continuous values of four kinds of cells, many zeros; gene 2 is empty, cell 4 nearly."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 4, n_cells)
    level = rng.choice([0.05, 0.5, 0.9], (4, n_genes))
    y = (rng.random((n_cells, n_genes)) < level[kind]) * rng.choice([0.9, 2.2, 3.1], (n_cells, n_genes))
    y = y * rng.uniform(0.9, 1.1, y.shape)
    y[:, 2] = 0
    y[4, 10:] = 0
    return y


def slow_partners(on: np.ndarray, k: int, n: int) -> tuple[list[set[int]], list[set[int]]]:
    """Partners of both kinds and neighbors of every gene, by loops over genes and their ranks."""
    size = on.shape[1]
    partners, neighbors = [set() for _ in range(size)], [set() for _ in range(size)]
    for kind, first in enumerate((on, ~on)):
        counts = first.astype(int).T @ on.astype(int)
        np.fill_diagonal(counts, 0)
        near = []
        for row in counts:
            rank = rankdata(-row, method="average")
            near.append({j for j in range(size) if rank[j] <= k and row[j] > n})
        for i in range(size):
            neighbors[i] |= {(kind, j) for j in near[i]}
            partners[i] |= {j for j in near[i] if i in near[j]}
    return partners, neighbors


@pytest.mark.parametrize(("k", "n"), [(1, 0), (4, 3), (9, 0), (12, 20), (35, 5), (1000, 10)])
@pytest.mark.parametrize("frequent", [0.0, 0.3, 1.0])
def test_partners_against_loops(k, n, frequent, monkeypatch):
    """Dense products, sparse ones and both; blocks of genes that do not come out even."""
    monkeypatch.setattr(_scmarker, "_FREQUENT", frequent)
    monkeypatch.setattr(_scmarker, "_ROWS_AT_A_TIME", 7)
    on = np.random.default_rng(k).random((50, 36)) < np.linspace(0.05, 0.8, 36)
    partners, neighbors = slow_partners(on, k, n)
    ours, nearby = _partners(sparse.csr_matrix(on), k, n)
    assert ours.tolist() == [len(found) for found in partners]
    assert nearby.tolist() == [len(found) for found in neighbors]


def test_ties_at_the_kth_place_share_their_mean_rank():
    counts = np.array([[9, 5, 5, 5, 1, 0]], dtype=np.float32)
    # ranks 1, 3, 3, 3, 5, 6: at k = 2 the three fives are out, at k = 3 all of them are in
    assert _neighbors(counts, 2, 0).toarray().tolist() == [[True, False, False, False, False, False]]
    assert _neighbors(counts, 3, 0).toarray().tolist() == [[True, True, True, True, False, False]]
    assert _neighbors(counts, 6, 1).toarray().tolist() == [[True, True, True, True, False, False]]


def slow_scmarker(y, *, width, cutoff, min_genes, min_cells, k, n):
    y = y[(y != 0).sum(axis=1) > min_genes]
    on = y >= cutoff
    candidates = []
    for j in range(y.shape[1]):
        values = y[:, j][y[:, j] != 0]
        if not min_cells < on[:, j].sum() < 0.8 * len(y) or len(values) < 2:
            continue
        bandwidth = width / 4
        grid = np.linspace(values.min() - 3 * bandwidth, values.max() + 3 * bandwidth, 512)
        density = np.exp(-(((grid[:, None] - values) / bandwidth) ** 2) / 2).sum(axis=1)
        if ((density[1:-1] >= density[:-2]) & (density[1:-1] > density[2:])).sum() >= 2:
            candidates.append(j)
    partners, _ = slow_partners(on[:, candidates], k, n)
    return {j: len(found) for j, found in zip(candidates, partners, strict=True)}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_whole_against_loops(seed):
    y = logged(seed)
    setting = {"width": 1.0, "cutoff": 1.5, "min_genes": 8, "min_cells": 20, "k": 6, "n": 10}
    slow = slow_scmarker(y, **setting)
    assert 3 < sum(found > 0 for found in slow.values()) < len(slow) < 69
    ours = scmarker(sparse.csr_matrix(y), **setting)
    assert np.flatnonzero(ours.selected).tolist() == [j for j, found in slow.items() if found]
    kept = np.arange(70) != 2
    np.testing.assert_array_equal(ours.score[kept], [slow.get(j, 0) for j in np.flatnonzero(kept)])
    assert ours.score[2] == -np.inf
    assert ours.rank[2] == 69
    assert ours.p_value is None
    assert ours.notes == ("1 cell with at most 8 genes dropped", "1 gene without counts dropped")


def test_a_number_of_genes_takes_markers_first_and_says_what_it_fills():
    y = sparse.csr_matrix(logged(0))
    setting = {"cutoff": 1.5, "min_genes": 8, "min_cells": 20, "k": 6, "n": 10}
    own = scmarker(y, **setting)
    markers = int(own.selected.sum())
    fewer, more = (scmarker(y, n_top_genes=markers + step, **setting) for step in (-2, 5))
    assert fewer.selected.sum() == markers - 2
    assert not (fewer.selected & ~own.selected).any()
    assert (own.selected & ~more.selected).sum() == 0
    assert more.selected.sum() == markers + 5
    assert (
        more.notes[-1]
        == f"{markers + 5} genes requested, {markers} are markers: filled with the next genes by rank"
    )


def test_excluded_genes_mark_nothing_and_are_no_partners():
    y = logged(1)
    setting = {"cutoff": 1.5, "min_genes": 8, "min_cells": 20, "k": 6, "n": 10}
    best = int(np.argmin(scmarker(y, **setting).rank))
    exclude = np.arange(70) == best
    without = y.copy()
    without[:, best] = np.minimum(without[:, best], 1.4)  # never on, but still a nonzero gene of its cells
    ours, other = scmarker(y, exclude=exclude, **setting), scmarker(without, **setting)
    assert not ours.selected[best]
    np.testing.assert_array_equal(ours.selected, other.selected)
    np.testing.assert_array_equal(ours.score, other.score)


def test_density_and_modes_of_known_values():
    rng = np.random.default_rng(5)
    values = [
        rng.normal(4, 0.6, 80),
        np.r_[rng.normal(3, 0.3, 50), rng.normal(6, 0.4, 30)],
        [1.0, 1.3],
        [2.0],
    ]
    matrix = np.zeros((100, 5))
    for j, x in enumerate(values):
        matrix[: len(x), j] = x
    bandwidth = 0.5
    density = _densities(sparse.csc_matrix(matrix[:, :2]), bandwidth)
    for j in range(2):
        grid = np.linspace(min(values[j]) - 3 * bandwidth, max(values[j]) + 3 * bandwidth, 512)
        exact = gaussian_kde(values[j], bandwidth / np.std(values[j], ddof=1))(grid)
        np.testing.assert_allclose(density[j] / density[j].max(), exact / exact.max(), atol=1e-3)
    # one hump; two humps; two values nearer than the kernel is wide; one value; none
    assert count_modes(sparse.csc_matrix(matrix), bandwidth).tolist() == [1, 2, 1, 0, 0]


def test_whole_numbers_at_a_narrow_width_are_warned_of():
    x = np.random.default_rng(0).poisson(3, (30, 20))
    with pytest.warns(ScraeWarning, match=r"at width 1 every number is a mode.*or a width of 2 or more"):
        scmarker(x, min_cells=2, n=2)
    scmarker(x, min_cells=2, n=2, width=2)  # no warning, which would be an error
    scmarker(x * 1.01, min_cells=2, n=2)


def test_no_candidates_select_nothing():
    y = np.random.default_rng(0).uniform(0.1, 0.9, (30, 20))
    ours = scmarker(y)  # nothing reaches the cutoff
    assert ours.selected.sum() == 0
    assert sorted(ours.rank) == list(range(20))


def test_what_it_refuses():
    y = logged(0)
    with pytest.raises(ScraeError, match="cells with more than 70 genes, found none: lower min_genes"):
        scmarker(y, min_genes=70)
    with pytest.raises(ScraeError, match="scmarker expected values of at least 0, found -1: "):
        scmarker(y - (y == 0))
    with pytest.raises(ScraeError, match="scmarker expected finite values, found NaN"):
        scmarker(np.where(y == 0, np.nan, y))
    with pytest.raises(ScraeError, match=r"width and cutoff above 0.*cutoff=0\b"):
        scmarker(y, cutoff=0)
    with pytest.raises(ScraeError, match=r"exclude as 70 booleans, one a gene, found bool of shape \(3,\)"):
        scmarker(y, exclude=np.zeros(3, dtype=bool))
    with pytest.raises(ScraeError, match="sparse or dense matrix, cells x genes, found ndarray"):
        scmarker(y[0])
