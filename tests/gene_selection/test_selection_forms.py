"""What holds for every method: forms of the input, permutations, what is dropped and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from inspect import unwrap

import numpy as np
import pytest
from helpers.selection_data import Blocks, draw_counts
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.stats import false_discovery_control

from scrae.errors import ScraeError
from scrae.gene_selection import GeneScores, RowBlocks, _blocks, deviance, dispersion, m3drop, nbumi, scmarker
from scrae.gene_selection._result import adjust

STREAMED: dict[str, Callable[..., GeneScores]] = {
    "m3drop": lambda x: m3drop(x, n_top_genes=12),
    "nbumi": lambda x: nbumi(x, n_top_genes=12),
    "nbumi high variance": lambda x: nbumi(x, variant="high_variance", n_top_genes=12),
    "deviance": lambda x: deviance(x, n_top_genes=12),
    "dispersion": lambda x: dispersion(x, n_top_genes=12),
    "dispersion of cell_ranger": lambda x: dispersion(x, flavor="cell_ranger", n_top_genes=12),
}
ALL = STREAMED | {"scmarker": lambda x: scmarker(x * 0.5, n_top_genes=12, cutoff=1.0, k=8, n=4)}


def dirty(x: np.ndarray) -> sparse.csr_matrix:
    """The same counts with unsorted columns, stored zeros and entries in two parts."""
    indices, data, indptr = [], [], [0]
    for row in x:
        genes = np.flatnonzero(row)[::-1]
        indices += [*genes, *genes, 3]
        data += [*row[genes], *([0] * len(genes)), 0]
        if len(genes) and row[genes[0]] > 1:
            data[-2 * len(genes) - 1] -= 1
            data[-len(genes) - 1] += 1
        indptr.append(len(indices))
    return sparse.csr_matrix((np.array(data), np.array(indices), np.array(indptr)), shape=x.shape)


FORMS: dict[str, Callable[[np.ndarray], object]] = {
    "csr_array": sparse.csr_array,
    "csc": sparse.csc_matrix,
    "dense": lambda x: x,
    "dense, other order": np.asfortranarray,
    "float32": lambda x: sparse.csr_matrix(x.astype(np.float32)),
    "uint16": lambda x: sparse.csr_matrix(x.astype(np.uint16)),
    "dirty": dirty,
}


def assert_same(ours: GeneScores, other: GeneScores) -> None:
    np.testing.assert_allclose(ours.score, other.score, rtol=1e-9, atol=1e-11)
    np.testing.assert_array_equal(ours.rank, other.rank)
    np.testing.assert_array_equal(ours.selected, other.selected)
    assert (ours.p_value is None) == (other.p_value is None)
    if ours.p_value is not None:
        np.testing.assert_allclose(ours.p_value, other.p_value, rtol=1e-9)
    for part in ("mean", "statistic", "expected"):
        if getattr(ours.fit, part) is not None:
            np.testing.assert_allclose(
                getattr(ours.fit, part), getattr(other.fit, part), rtol=1e-9, atol=1e-11
            )
    assert ours.notes == other.notes


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", ALL)
def test_every_form_of_a_matrix_gives_the_same(counts, method, form):
    assert_same(ALL[method](FORMS[form](counts)), ALL[method](sparse.csr_matrix(counts)))


@pytest.mark.parametrize("method", STREAMED)
@pytest.mark.parametrize("cuts", [(), (1, 2, 40), (6,), (0, 89)])
def test_row_blocks_give_the_same(counts, method, cuts):
    blocks = Blocks(sparse.csr_matrix(counts), cuts)
    assert isinstance(blocks, RowBlocks)
    assert_same(STREAMED[method](blocks), STREAMED[method](counts))
    assert_same(STREAMED[method](blocks), STREAMED[method](counts))  # read again


@pytest.mark.parametrize("method", STREAMED)
def test_small_pieces_give_the_same(counts, method, monkeypatch):
    at_once = STREAMED[method](counts)
    monkeypatch.setattr(_blocks, "_BLOCK_ENTRIES", 70)
    assert_same(STREAMED[method](counts), at_once)
    assert_same(STREAMED[method](sparse.csr_matrix(counts)), at_once)


@pytest.mark.parametrize("method", ALL)
def test_the_input_is_not_changed(counts, method):
    matrix = dirty(counts)
    before = matrix.data.copy(), matrix.indices.copy(), matrix.indptr.copy()
    ALL[method](matrix)
    for now, then in zip((matrix.data, matrix.indices, matrix.indptr), before, strict=True):
        np.testing.assert_array_equal(now, then)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), method=st.sampled_from(sorted(ALL)))
def test_permuting_cells_changes_nothing_and_genes_permute(seed, method):
    x = draw_counts(seed)
    rng = np.random.default_rng(seed)
    genes = rng.permutation(x.shape[1])
    ours = ALL[method](x)
    other = ALL[method](x[rng.permutation(x.shape[0])][:, genes])
    np.testing.assert_allclose(other.score, ours.score[genes], rtol=1e-8, atol=1e-10)
    if ours.p_value is not None:
        np.testing.assert_allclose(other.p_value, ours.p_value[genes], rtol=1e-8)
    score = ours.score[np.argsort(ours.rank)]
    if score[11] - score[12] > 1e-8:  # no tie at the last place
        np.testing.assert_array_equal(other.selected, ours.selected[genes])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), method=st.sampled_from(sorted(ALL)))
def test_ranks_follow_scores(seed, method):
    ours = ALL[method](draw_counts(seed))
    np.testing.assert_array_equal(np.sort(ours.rank), np.arange(60))
    score = ours.score[np.argsort(ours.rank)]
    assert not (score[1:] > score[:-1]).any()
    np.testing.assert_array_equal(ours.selected, ours.rank < 12)
    assert (ours.score.dtype, ours.rank.dtype, ours.selected.dtype) == (np.float64, np.int64, np.bool_)


@pytest.mark.parametrize("method", ALL)
def test_empty_genes_come_last_and_empty_cells_are_left_out(counts, method):
    ours = ALL[method](counts)
    clean = ALL[method](np.delete(np.delete(counts, 5, axis=0), 3, axis=1))
    kept = np.arange(60) != 3
    if method != "dispersion":  # scanpy's bins begin at 0 where a gene is empty
        np.testing.assert_allclose(ours.score[kept], clean.score, rtol=1e-9)
        np.testing.assert_array_equal(ours.rank[kept], clean.rank)
    assert ours.rank[3] == 59
    assert ours.score[3] == -np.inf
    assert not ours.selected[3]
    assert ours.fit.mean[3] == 0
    assert np.isnan(ours.fit.statistic[3])
    if ours.p_value is not None:
        assert ours.p_value[3] == 1
    cells = "with at most 10 genes" if method == "scmarker" else "without counts"
    assert ours.notes == (f"1 cell {cells} dropped", "1 gene without counts dropped")
    assert clean.notes == ()


def test_fewer_genes_than_asked_are_all_taken_and_said(counts):
    ours = deviance(counts, n_top_genes=100)
    assert ours.selected.sum() == 59
    assert ours.notes[-1] == "100 genes requested, 59 available: all of them are selected"
    with pytest.raises(ScraeError, match="n_top_genes of at least 1, found 0"):
        deviance(counts, n_top_genes=0)


@pytest.mark.parametrize("method", STREAMED)
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1.0, "expected values of at least 0, found -1: pass counts"),
        (np.nan, "expected finite values, found NaN or infinity"),
        (np.inf, "expected finite values, found NaN or infinity"),
        (0.25, r"expected raw counts \(whole numbers\), found 0.25: pass counts, not log or scaled values"),
    ],
)
def test_wrong_values_are_refused(counts, method, value, message):
    x = counts.astype(float)
    x[70, 9] = value
    for matrix in (x, sparse.csr_matrix(x)):
        with pytest.raises(ScraeError, match=f"^{method.split()[0]} {message}"):
            STREAMED[method](matrix)


def test_wrong_shapes_are_refused(counts):
    matrix = sparse.csr_matrix(counts)
    with pytest.raises(ScraeError, match=r"cells x genes, found ndarray of shape \(60,\)"):
        deviance(counts[0], n_top_genes=1)
    with pytest.raises(ScraeError, match=r"row blocks, cells x genes, found list of shape \(\)"):
        unwrap(_blocks.shape_of)([[1, 2]], "deviance")
    with pytest.raises(ScraeError, match="found only zeros: 4 cells x 3 genes"):
        deviance(np.zeros((4, 3)), n_top_genes=1)

    class Short(Blocks):
        shape = (91, 60)

    class Long(Blocks):
        shape = (80, 60)

    class Dense(Blocks):
        def __iter__(self):
            yield self.matrix.toarray()

    with pytest.raises(ScraeError, match="expected 91 cells in the row blocks, found 90"):
        deviance(Short(matrix, (30,)), n_top_genes=1)
    with pytest.raises(ScraeError, match="80 cells x 60 genes in all, found 60 genes and 90 cells so far"):
        deviance(Long(matrix, (30,)), n_top_genes=1)
    with pytest.raises(ScraeError, match="expected sparse row blocks, found ndarray"):
        deviance(Dense(matrix, ()), n_top_genes=1)


def test_adjusted_p_values():
    p = np.random.default_rng(0).random(40) ** 3
    np.testing.assert_allclose(adjust(p, "fdr"), false_discovery_control(p), rtol=1e-12)
    np.testing.assert_allclose(adjust(p, "bonferroni"), np.minimum(1, 40 * p), rtol=1e-12)
    with pytest.raises(
        ScraeError, match=r'correction="bonferroni" or "fdr", found \'bh\': use one of the two'
    ):
        unwrap(adjust)(p, "bh")
