"""Which matrices are counts, and what is said of those that are not."""

from __future__ import annotations

import re

import h5py
import numpy as np
import pytest
from helpers.count_files import CELLS, GENES, counts, log_table
from scipy import sparse

from scrae.core.data import CountData
from scrae.errors import ScraeError, ScraeWarning
from scrae.io import check_counts


def is_canonical(matrix: sparse.csr_matrix) -> bool:
    return (
        isinstance(matrix, sparse.csr_matrix)
        and matrix.has_canonical_format
        and bool((matrix.data != 0).all())
    )


FORMS = {
    "csr_matrix": sparse.csr_matrix,
    "csr_array": sparse.csr_array,
    "csc_matrix": sparse.csc_matrix,
    "csc_array": sparse.csc_array,
    "coo_matrix": sparse.coo_matrix,
    "lil_array": sparse.lil_array,
    "dense": np.asarray,
    "matrix": np.asmatrix,
    "fortran": np.asfortranarray,
}
DTYPES = ["int8", "uint16", "int64", "uint64", ">i4", "float16", "float32", ">f8", "float64", "longdouble"]


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")  # made here on purpose
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_matrix_gives_the_same_counts(form):
    result = check_counts(FORMS[form](counts().astype(np.float32)))
    assert is_canonical(result)
    assert result.dtype == np.int32
    np.testing.assert_array_equal(result.toarray(), counts())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("is_sparse", [True, False])
def test_every_number_type_gives_the_same_counts(dtype, is_sparse):
    matrix = counts().astype(dtype)
    if is_sparse:
        csr = sparse.csr_matrix(counts())
        csr.data = csr.data.astype(dtype)  # as files give it: also types that SciPy cannot convert to
        matrix = csr
    result = check_counts(matrix)
    assert result.dtype == np.int32
    assert result.dtype.isnative
    np.testing.assert_array_equal(result.toarray(), counts())


def test_bool_is_one_count_where_true():
    result = check_counts(counts() > 2)
    assert result.dtype == np.int32
    np.testing.assert_array_equal(result.toarray(), (counts() > 2).astype(int))


def test_indices_of_64_bits_and_of_foreign_byte_order():
    csr = sparse.csr_matrix(counts())
    csr.indices, csr.indptr = csr.indices.astype(">i8"), csr.indptr.astype(">i8")
    result = check_counts(csr)
    assert result.indices.dtype == np.int32
    np.testing.assert_array_equal(result.toarray(), counts())


@pytest.mark.parametrize("form", [sparse.csr_matrix, np.array])
def test_one_limit_for_counts(form):
    """What is read fits CountData and the scratch files: int32."""
    at_limit = np.array([[2**31 - 1, 0]], dtype=np.float64)
    assert check_counts(form(at_limit)).dtype == np.int32
    assert CountData(check_counts(form(at_limit)), ["a", "b"]).genes == ("a", "b")
    with pytest.raises(
        ScraeError, match=r"too large for a count \(2147483648, above 2147483647\) at cell 0, gene 0"
    ):
        check_counts(form(at_limit + 1))


def test_duplicates_are_summed_without_overflow_and_zeros_are_not_stored():
    data = np.array([2**30, 1, 0, 5], dtype=np.int32)
    matrix = sparse.csr_matrix((data, np.array([1, 1, 0, 2]), np.array([0, 3, 4])), shape=(2, 3))
    result = check_counts(matrix)
    assert is_canonical(result)
    np.testing.assert_array_equal(result.toarray(), [[0, 2**30 + 1, 0], [0, 0, 5]])
    matrix.data[0] = 2**31 - 1
    with pytest.raises(
        ScraeError, match=r"too large for a count \(2147483648, above 2147483647\) at cell 0, gene 1"
    ):
        check_counts(matrix)


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix, np.array])
def test_noise_of_float32_is_rounded_with_a_warning(form):
    noisy = counts().astype(np.float32) * np.float32(1.00001) - np.float32(1e-5)
    with pytest.warns(ScraeWarning, match=r"^X: values within 0\.001 of whole numbers were rounded\.$"):
        result = check_counts(form(noisy), "X")
    assert is_canonical(result)
    np.testing.assert_array_equal(result.toarray(), counts())


@pytest.mark.parametrize(
    ("value", "shown"), [(1.0021, "1.0021"), (np.float32(3.0021), "3.0021"), (0.9989, "0.9989")]
)
def test_fractions_are_shown_with_their_digits_and_a_remedy(value, shown):
    matrix = np.array([[value, 3.0]], dtype=np.asarray(value).dtype)
    with pytest.raises(ScraeError, match=rf"not a whole number \({re.escape(shown)}\) at cell 0") as caught:
        check_counts(matrix)
    assert str(caught.value).endswith(
        "Estimated counts (SoupX, CellBender, alevin, RSEM) are accepted with --round (round=True), which rounds them."
    )
    np.testing.assert_array_equal(check_counts(np.rint(matrix)).toarray(), [[np.rint(value), 3]])


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix, np.array])
def test_the_input_is_neither_changed_nor_shared(form):
    matrix = form(counts().astype(np.int32))
    result = check_counts(matrix)
    result.data[:] = 77
    result.indices[:] = 0
    kept = matrix.toarray() if sparse.issparse(matrix) else matrix
    np.testing.assert_array_equal(kept, counts())


def test_a_matrix_in_a_file_is_read_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("scrae.io.check._VALUES_AT_A_TIME", 3 * len(GENES))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = counts().astype(np.float32)
        np.testing.assert_array_equal(check_counts(file["x"]).toarray(), counts())
        file["x"][8, 5] = -2.0
        with pytest.raises(ScraeError, match=r"negative value \(-2\) at cell 8, gene 5;"):
            check_counts(file["x"])


BAD = {
    -1.0: "a negative value (-1)",
    0.5: "a value that is not a whole number (0.5)",
    np.nan: "a missing value (NaN)",
    np.inf: "an infinite value (inf)",
    -np.inf: "an infinite value (-inf)",
    1e300: "a value too large for a count (1e+300, above 2147483647)",
}


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_array, np.array])
@pytest.mark.parametrize("value", BAD)
def test_one_bad_value_among_all_is_named(form, value, monkeypatch):
    monkeypatch.setattr("scrae.io.check._VALUES_AT_A_TIME", 16)
    matrix = counts().astype(np.float64)
    matrix[9, 4] = value
    with pytest.raises(ScraeError) as caught:
        check_counts(form(matrix), "X", cell_names=CELLS, gene_names=GENES)
    text = str(caught.value)
    assert text.startswith(
        f"X holds {BAD[value]} at cell {CELLS[9]!r}, gene 'NKG7'; counts are whole numbers from 0 up."
    )
    assert "Give the matrix of raw counts, from before normalization." in text
    assert "\n" not in text


def test_the_first_bad_value_in_reading_order_is_named():
    matrix = counts().astype(float)
    matrix[6, 1] = matrix[2, 5] = -4
    for form in (sparse.csr_matrix, sparse.csc_matrix, np.array):
        with pytest.raises(ScraeError, match="at cell 2, gene 5"):
            check_counts(form(matrix))


def test_negative_integers_are_found():
    matrix = counts()
    matrix[1, 2] = -3
    with pytest.raises(ScraeError, match=r"negative value \(-3\) at cell 1, gene 2"):
        check_counts(matrix)


def test_log_normalised_scaled_and_normalised_values_are_recognised():
    log = log_table().X
    with pytest.raises(
        ScraeError, match=r"It looks like log-normalized values. Give the matrix of raw counts"
    ):
        check_counts(log)
    with pytest.raises(ScraeError, match=r"It looks like normalized values."):
        check_counts(np.expm1(log.toarray().astype(np.float64)) * 1.0000001)
    dense = log.toarray()
    with pytest.raises(ScraeError, match=r"It looks like scaled \(centered\) values."):
        check_counts((dense - dense.mean(axis=0)) / dense.std(axis=0))


@pytest.mark.parametrize("shape", [(0, 5), (5, 0)])
def test_an_empty_matrix_is_refused(shape):
    with pytest.raises(ScraeError, match=rf"X is empty: {shape[0]} cells x {shape[1]} genes"):
        check_counts(sparse.csr_matrix(shape), "X")
    with pytest.raises(ScraeError, match="is empty"):
        check_counts(np.zeros(shape))


def test_a_matrix_of_zeros_is_refused():
    with pytest.raises(ScraeError, match="holds no count: all of its 3 x 2 values are 0"):
        check_counts(np.zeros((3, 2)))


@pytest.mark.parametrize(
    ("matrix", "found"),
    [
        (np.array([["1", "2"]], dtype=object), "values of type object; expected numbers"),
        (np.array([["1", "2"]]), "values of type <U1; expected numbers"),
        (np.array([[1 + 2j]]), "values of type complex128; expected numbers"),
        (sparse.csr_matrix(np.array([[1 + 2j]])), "values of type complex128; expected numbers"),
        (np.arange(3), "is a ndarray; expected a matrix of cells x genes"),
        ([[1, 2]], "is a list; expected a matrix of cells x genes"),
        (None, "is a NoneType; expected a matrix of cells x genes"),
    ],
)
def test_what_is_no_matrix_of_numbers_is_refused(matrix, found):
    with pytest.raises(ScraeError, match=found):
        check_counts(matrix)


def test_a_broken_sparse_index_is_refused_before_scipy_reads_it():
    for form in (sparse.csr_matrix, sparse.csc_matrix):
        for part, position, value in (("indices", 2, 10**6), ("indices", 2, -1), ("indptr", 1, 10**6)):
            matrix = form(counts())
            getattr(matrix, part)[position] = value
            with pytest.raises(ScraeError, match="X is a broken sparse matrix"):
                check_counts(matrix, "X")


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix])
def test_pointers_whose_differences_wrap_around(form):
    """The difference of these int32 is positive, and SciPy's own check sees nothing."""
    matrix = form(np.arange(1, 13, dtype=np.int32).reshape(3, 4))
    matrix.indptr[1] = -(2**31) + 2
    with pytest.raises(
        ScraeError, match=r"X is a broken sparse matrix \(its row or column pointers go back\)"
    ):
        check_counts(matrix, "X")
