"""Random matrices and options: a result that keeps the promises, or a known error of one line.

``SCRAE_FUZZ`` is the number of cases of each test; without it there are few, always the same ones.
"""

from __future__ import annotations

import io as streams
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from anndata import AnnData
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import sparse

import scrae
from scrae import ScraeError, io, pp
from scrae.cli import main
from scrae.cluster.metrics import score
from scrae.core.data import CountData

CASES = int(os.environ.get("SCRAE_FUZZ", "0"))
METHODS = ["seurat_v3", "seurat", "cell_ranger", "pearson_residuals", "deviance", "m3drop", "nbumi",
           "nbumi_high_variance", "scmarker"]  # fmt: skip


def fuzz(cases: int) -> settings:
    return settings(
        max_examples=CASES or cases,
        derandomize=not CASES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@contextmanager
def known_errors() -> Iterator[None]:
    """Let known errors of one line pass; other libraries may warn of odd numbers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        message = "a known error of one line"
        try:
            yield
        except ScraeError as error:
            message = str(error)
    assert "\n" not in message
    assert len(message) > 20


SHAPES = st.tuples(st.integers(0, 12), st.integers(0, 9))
DTYPES = st.sampled_from(["i1", "u2", ">i4", "i8", "u8", "f2", "f4", ">f8", "f8", "?", "c8", "U3", "O"])
FORMS = st.sampled_from(
    [np.asarray, sparse.csr_matrix, sparse.csc_matrix, sparse.coo_array, sparse.lil_matrix]
)


@st.composite
def matrices(draw: Any) -> Any:
    """Any matrix that a user may hold: mostly counts, some not."""
    shape = draw(SHAPES)
    if draw(st.integers(0, 3)):
        values: Any = draw(
            arrays.arrays(np.int64, shape, elements=st.integers(0, draw(st.sampled_from([1, 3, 10**6]))))
        )
        values = values.astype(draw(st.sampled_from(["i4", "f4", ">f8", "u8"])))
    else:
        values = draw(arrays.arrays(draw(DTYPES), shape))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = draw(FORMS)(values)
            dense(made)
            return made
    except (TypeError, ValueError):  # SciPy has no such matrix
        return values


def dense(matrix: Any) -> np.ndarray:
    return matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)


@fuzz(60)
@given(matrices())
def test_count_data_holds_the_counts_or_refuses(matrix: Any):
    before = dense(matrix).copy()
    with known_errors():
        data = CountData(matrix)
        batch = data.minibatch(torch.arange(len(data)))
        np.testing.assert_array_equal(
            batch.dense(batch.nonzeros.value).numpy(), before.astype(np.float64).astype(np.float32)
        )
        np.testing.assert_array_equal(data.totals.numpy(), before.astype(np.float64).sum(axis=1))
        assert [len(b.total) for b in data.minibatches(5)] == [5] * (len(data) // 5) + [len(data) % 5] * (
            len(data) % 5 > 0
        )
    np.testing.assert_array_equal(dense(matrix), before)


@fuzz(40)
@given(
    matrices(), st.lists(st.text(max_size=3), min_size=9, max_size=9), st.integers(0, 4), st.integers(0, 4)
)
def test_preprocessing_keeps_its_promises_or_refuses(
    matrix: Any, names: list[str], min_cells: int, min_genes: int
):
    with known_errors():
        try:
            adata = AnnData(matrix)
        except (ValueError, TypeError, AttributeError):
            return  # no AnnData
        adata.var_names = names[: adata.n_vars]
        original = dense(matrix)
        io.use_counts(adata)
        assert adata.var_names.is_unique
        assert "" not in set(adata.var_names)
        adata.obs["row"], adata.var["column"] = np.arange(adata.n_obs), np.arange(adata.n_vars)
        pp.filter(adata, min_cells=min_cells, min_genes=min_genes)
        counts = adata.layers["counts"]
        kept = original[np.ix_(adata.obs["row"], adata.var["column"])].astype(np.int64)
        np.testing.assert_array_equal(counts.toarray(), kept)
        assert (adata.obs["scrae_n_genes"] >= min_genes).all()
        assert ((kept > 0).sum(axis=0) >= min_cells).all()
        pp.normalize(adata)
        np.testing.assert_array_equal(adata.layers["counts"].toarray(), kept)
        assert adata.X.dtype == np.float32
        assert np.isfinite(adata.X.data).all()
        assert (adata.X.toarray() > 0).sum() == (kept > 0).sum()
        assert (adata.obs["scrae_size_factor"] > 0).all() or (kept.sum(axis=1) == 0).any()


@pytest.mark.parametrize("method", METHODS)
@fuzz(6)
@given(seed=st.integers(0, 2**32 - 1), n_cells=st.integers(1, 40), n_genes=st.integers(2, 30),
       mean=st.sampled_from([0.05, 1.0, 50.0]), number=st.integers(1, 35))  # fmt: skip
def test_gene_selection_keeps_its_promises_or_refuses(
    method: str, seed: int, n_cells: int, n_genes: int, mean: float, number: int
):
    rng = np.random.default_rng(seed)
    adata = AnnData(sparse.csr_matrix(rng.poisson(rng.exponential(mean, n_genes), (n_cells, n_genes))))
    with known_errors():
        io.use_counts(adata)
        pp.filter(adata, min_cells=1)
        pp.normalize(adata)
        before = adata.layers["counts"].copy()
        pp.select_genes(adata, method=method, n_top_genes=number)
        rank, points = adata.var["scrae_rank"].to_numpy(), adata.var["scrae_score"].to_numpy()
        assert sorted(rank) == list(range(adata.n_vars))
        ordered = points[np.argsort(rank)]
        assert not np.isnan(points).any()
        assert (ordered[:-1] >= ordered[1:]).all()
        assert 1 <= adata.var["scrae_selected"].sum() <= number
        assert set(rank[adata.var["scrae_selected"]]) == set(range(adata.var["scrae_selected"].sum()))
        assert abs(adata.layers["counts"] - before).nnz == 0


LABELS = st.one_of(
    st.lists(st.integers(0, 4), max_size=30), st.lists(st.sampled_from(["a", "b", "", "ü"]), max_size=30)
)


@fuzz(60)
@given(LABELS, LABELS, st.booleans())
def test_scores_keep_their_promises_or_refuse(labels: list[Any], clusters: list[Any], cut: bool):
    if cut:
        length = min(len(labels), len(clusters))
        labels, clusters = labels[:length], clusters[:length]
    with known_errors():
        found, swapped = score(labels, clusters), score(clusters, labels)
        for name in ("nmi", "homogeneity", "completeness"):
            assert -1e-9 <= getattr(found, name) <= 1 + 1e-9
        assert -1 <= found.ari <= 1 + 1e-9
        assert found.homogeneity == pytest.approx(swapped.completeness, abs=1e-9)
        assert found.ari == pytest.approx(swapped.ari, abs=1e-9)
        assert found.nmi == pytest.approx(swapped.nmi, abs=1e-9)
        assert score(labels, labels).ari == 1


OPTIONS: dict[str, list[str]] = {
    "--n-top-genes": ["2", "20", "99999", "0", "-3", "x", "1e3"],
    "--gene-selection": [*METHODS, "best", ""],
    "--min-cells": ["0", "1", "3", "1000", "-1", "1.5"],
    "--min-genes": ["0", "1", "1000", "-1"],
    "--min-counts": ["0", "5", "100000", "-1"],
    "--max-mito": ["0", "0.5", "1", "2", "nan", "-0.1"],
    "--layer": ["X", "counts", "raw", "nothing"],
    "--transpose": [],
    "--preset": ["default", "paper", "papr"],
    "--fly": ["high"],
}
TRAINING: dict[str, list[str]] = {
    "--n-latent": ["1", "2", "0", "-1", "70000", "x"],
    "--max-epochs": ["1", "0", "-1", "x"],
    "--seed": ["0", "7", "4294967295", "4294967296", "-1"],
    "--device": ["cpu", "auto", "tpu", ""],
    "--preset": ["default", "papr"],
    "--resume": [],
}


def command(options: dict[str, list[str]]) -> st.SearchStrategy[list[list[str]]]:
    one = st.sampled_from(sorted(options)).flatmap(
        lambda name: (
            st.sampled_from(options[name]).map(lambda v: [name, v]) if options[name] else st.just([name])
        )
    )
    return st.lists(one, max_size=4)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    counts = np.random.default_rng(5).poisson(2.0, (30, 25)).astype(np.float32)
    made = AnnData(sparse.csr_matrix(counts))
    made.write_h5ad(folder / "raw.h5ad")
    made.to_df().to_csv(folder / "raw.csv")
    io.use_counts(made)
    made.var["scrae_selected"] = True
    io.write_h5ad(made, folder / "p.h5ad")
    return folder


def scrae_status(arguments: list[str]) -> int:
    """Run the command line here; whatever ends it other than by a known way is an error."""
    out, err = streams.StringIO(), streams.StringIO()
    before, sys.argv = sys.argv, ["scrae", *arguments]
    status = 0
    try:
        with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            main()
    except SystemExit as stop:
        status = int(stop.code or 0)
    finally:
        sys.argv = before
    if status == 1:
        assert err.getvalue().startswith("scrae: ")
        assert err.getvalue().count("\n") == 1
    assert status in (0, 1, 2)
    return status


@fuzz(15)
@given(command(OPTIONS), st.sampled_from(["raw.h5ad", "raw.csv", "none.h5ad"]))
def test_the_command_line_preprocesses_or_refuses(files: Path, options: list[list[str]], name: str):
    output = files / "out.h5ad"
    output.unlink(missing_ok=True)
    flat = [word for option in options for word in option]
    status = scrae_status(["preprocess", str(files / name), "-o", str(output), *flat])
    assert output.exists() == (status == 0)
    if status == 0:
        assert io.read_h5ad(output).var["scrae_selected"].any()


@fuzz(10)
@given(command(TRAINING))
def test_the_command_line_trains_or_refuses(files: Path, options: list[list[str]]):
    flat = [word for option in [["--max-epochs", "1"], *options] for word in option]
    status = scrae_status(["train", str(files / "p.h5ad"), "-o", str(files / "model"), *flat])
    if status == 0:
        scrae.load(files / "model")
    assert {path.name for path in files.iterdir()} <= {"raw.h5ad", "raw.csv", "p.h5ad", "out.h5ad", "model"}
