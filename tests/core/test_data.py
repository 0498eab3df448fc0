from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from scipy.special import gammaln

from scrae.core.data import CountData, Minibatch
from scrae.errors import ScraeError

# Four cells, one of them empty, and five genes, one of them never seen.
DENSE = np.array([[0, 3, 0, 0, 1], [0, 0, 0, 0, 0], [7, 0, 0, 300, 0], [0, 9, 0, 1, 2]])


def dense_of(batch: Minibatch) -> np.ndarray:
    return batch.dense(batch.nonzeros.value).numpy()


@pytest.mark.parametrize(
    "make",
    [
        np.asarray,
        sp.csr_matrix,
        sp.csr_array,
        sp.csc_matrix,
        sp.csc_array,
        sp.coo_matrix,
        sp.lil_matrix,
        pd.DataFrame,
    ],
    ids=lambda make: make.__name__,
)
@pytest.mark.parametrize("dtype", [np.int64, np.uint16, np.float32, np.float64])
def test_every_format_is_the_same_matrix(make: Any, dtype: Any):
    data = CountData(make(DENSE.astype(dtype)), list("abcde"))
    assert (len(data), data.n_genes, data.genes) == (4, 5, ("a", "b", "c", "d", "e"))
    batch = data.minibatch(torch.arange(4))
    np.testing.assert_array_equal(dense_of(batch), DENSE)
    np.testing.assert_array_equal(data.totals, DENSE.sum(axis=1))
    np.testing.assert_array_equal(batch.total, DENSE.sum(axis=1))


def test_duplicates_are_summed_stored_zeros_dropped_and_the_caller_s_matrix_stays():
    values, columns, rows = np.array([2, 4, 0, 1, 5]), np.array([3, 3, 1, 0, 2]), np.array([0, 3, 5])
    given = sp.csr_matrix((values.copy(), columns.copy(), rows.copy()), shape=(2, 4))
    data = CountData(given)
    batch = data.minibatch(torch.arange(2))
    np.testing.assert_array_equal(dense_of(batch), [[0, 0, 0, 6], [1, 0, 5, 0]])
    assert sorted(batch.nonzeros.value.tolist()) == [1, 5, 6]
    np.testing.assert_array_equal(data.totals, [6, 6])
    for now, before in ((given.data, values), (given.indices, columns), (given.indptr, rows)):
        np.testing.assert_array_equal(now, before)


@pytest.mark.parametrize(
    ("largest", "dtype"),
    [
        (255, torch.uint8),
        (256, torch.int16),
        (32_767, torch.int16),
        (32_768, torch.int32),
        (65_535, torch.int32),
        (70_000, torch.int32),
    ],
)
def test_counts_are_held_in_the_smallest_integers(largest: int, dtype: torch.dtype):
    data = CountData(np.array([[1, 0, largest], [0, 12, 3]]))
    assert data.values.dtype == dtype
    nonzeros = data.minibatch(torch.tensor([0, 1])).nonzeros
    assert nonzeros.value.tolist() == [1, largest, 12, 3]
    assert nonzeros.gene.tolist() == [0, 2, 1, 2]
    np.testing.assert_allclose(
        nonzeros.log_factorial, gammaln(np.array([1, largest, 12, 3]) + 1.0), rtol=1e-12
    )


def test_true_and_false_are_counts():
    np.testing.assert_array_equal(dense_of(CountData(DENSE > 0).minibatch(torch.arange(4))), DENSE > 0)


def test_a_batch_has_the_cells_in_the_asked_order_even_twice():
    batch = CountData(DENSE).minibatch(torch.tensor([3, 1, 0, 3]))
    np.testing.assert_array_equal(dense_of(batch), DENSE[[3, 1, 0, 3]])
    assert batch.nonzeros.cell.tolist() == [0, 0, 0, 2, 2, 3, 3, 3]
    assert batch.start.tolist() == [0, 3, 3, 5, 8]
    np.testing.assert_allclose(
        batch.log_library, np.log([12, 1, 4, 12]), rtol=1e-6
    )  # the empty cell as one count
    fractions = batch.dense(torch.full((8,), 0.5, dtype=torch.float64))
    np.testing.assert_array_equal(fractions, 0.5 * (DENSE[[3, 1, 0, 3]] > 0))


def cells_seen(data: CountData, **settings: Any) -> list[list[int]]:
    """The cells of each batch, known by their totals."""
    return [[int(total) for total in batch.total] for batch in data.minibatches(4, **settings)]


def test_batches_visit_each_cell_once():
    data = CountData(np.arange(10)[:, None] * [1, 0])
    assert cells_seen(data) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert cells_seen(data, rows=torch.tensor([7, 2, 9, 1, 4])) == [[7, 2, 9, 1], [4]]
    shuffled, again, other = (
        cells_seen(data, generator=torch.Generator().manual_seed(seed)) for seed in (5, 5, 6)
    )
    assert [len(cells) for cells in shuffled] == [4, 4, 2]
    assert sorted(chain(*shuffled)) == list(range(10))
    assert shuffled == again != other
    some = cells_seen(data, rows=torch.tensor([8, 3, 5]), generator=torch.Generator().manual_seed(1))
    assert sorted(chain(*some)) == [3, 5, 8]


def test_one_generator_shuffles_every_pass_anew():
    data, rng = CountData(np.arange(10)[:, None] * [1, 0]), torch.Generator().manual_seed(0)
    assert cells_seen(data, generator=rng) != cells_seen(data, generator=rng)


def test_a_whole_set_of_empty_cells_is_legal():
    batch = CountData(sp.csr_matrix((3, 2), dtype=np.int32)).minibatch(torch.arange(3))
    np.testing.assert_array_equal(dense_of(batch), np.zeros((3, 2)))
    np.testing.assert_array_equal(batch.log_library, np.zeros(3))


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([[1, 2]], "expected a matrix of cells and genes, found list"),
        (
            np.array([1, 2]),
            "expected a matrix of cells and genes, found ndarray of shape (2,) and type int64",
        ),
        (np.array([["a"]]), "expected a matrix of numbers, found ndarray of shape (1, 1) and type <U1"),
        (np.array([[1j]]), "expected numbers, found values of type complex128"),
        (np.zeros((0, 3)), "expected cells and genes, found a matrix of shape (0, 3)"),
        (np.zeros((3, 0)), "expected cells and genes, found a matrix of shape (3, 0)"),
        (np.array([[1, -2]]), "expected counts >= 0, found -2; pass raw counts"),
        (
            np.array([[1.0, np.nan]]),
            "expected counts, found NaN or infinite values; remove or repair these cells",
        ),
        (
            np.array([[1.0, np.inf]]),
            "expected counts, found NaN or infinite values; remove or repair these cells",
        ),
        (
            np.array([[1.0, 0.693147]]),
            "expected whole numbers, found 0.693147; pass raw counts, not normalized values",
        ),
        (np.array([[2**31]]), "expected counts up to 2147483647, found 2147483648; pass raw counts"),
    ],
)
def test_what_is_no_count_matrix_is_refused(counts: Any, message: str):
    with pytest.raises(ScraeError) as error:
        CountData(counts)
    assert str(error.value) == f"CountData: {message}"


def test_gene_names_must_fit():
    with pytest.raises(ScraeError) as error:
        CountData(DENSE, ["a", "b"])
    assert str(error.value) == "CountData: expected 5 gene names, one per column, found 2"
    assert CountData(DENSE).genes == ("0", "1", "2", "3", "4")


def test_a_thinned_batch_keeps_each_molecule_with_probability_one_half():
    counts = np.tile(np.array([[1, 2, 7, 62, 63, 5000]]), (4000, 1))
    batch = CountData(counts).minibatch(torch.arange(4000))
    thinned = batch.thinned(torch.Generator().manual_seed(3))
    values = thinned.dense(thinned.nonzeros.value).numpy()
    expected = counts[0] / 2
    error = np.sqrt(counts[0] / 4 / 4000)
    assert (np.abs(values.mean(axis=0) - expected) < 4 * error).all()
    np.testing.assert_allclose(values.var(axis=0), counts[0] / 4, rtol=0.1)
    assert (values <= counts).all()
    assert np.array_equal(thinned.total.numpy(), values.sum(axis=1))
    assert np.array_equal(batch.nonzeros.value.numpy(), counts.ravel())
    pairs = np.bincount(values[:, 1].astype(int), minlength=3) / 4000
    np.testing.assert_allclose(pairs, [0.25, 0.5, 0.25], atol=0.03)
    again = batch.thinned(torch.Generator().manual_seed(3))
    assert torch.equal(again.nonzeros.value, thinned.nonzeros.value)


def test_the_batches_of_the_cells_come_along():
    data = CountData(DENSE, batch_names=("x", "y", "z"), batch_codes=np.array([2, 0, 0, 1], dtype=np.int8))
    assert data.batch_names == ("x", "y", "z")
    batch = data.minibatch(torch.tensor([3, 0, 0]))
    assert batch.batch_code.tolist() == [1, 2, 2]
    assert batch.thinned(torch.Generator().manual_seed(0)).batch_code.tolist() == [1, 2, 2]
    assert CountData(DENSE).minibatch(torch.tensor([3])).batch_code is None


@pytest.mark.parametrize(
    ("codes", "found"),
    [
        (None, "NoneType"),
        (np.array([0, 1, 2, 0]), r"ndarray of shape \(4,\)"),
        (np.array([0, -1, 0, 1]), "ndarray"),
        (np.array([0, 1, 1]), r"ndarray of shape \(3,\)"),
        (np.array([0.0, 1.0, 1.0, 0.0]), r"ndarray of shape \(4,\) and type float64"),
    ],
)
def test_batches_that_do_not_fit_are_refused(codes: Any, found: str):
    with pytest.raises(
        ScraeError, match=f"the batch of each of 4 cells as an index into 2 names, found {found}"
    ):
        CountData(DENSE, batch_names=("x", "y"), batch_codes=codes)
