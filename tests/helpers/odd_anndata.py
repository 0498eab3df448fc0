"""AnnData objects as people have them: every type, slot, kind of index, sparse format, and odd names."""

from __future__ import annotations

import datetime
import warnings
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from hypothesis import strategies as st
from scipy import sparse

NAMES = [
    "x",
    "y",
    "y/z",
    "y/z/w",
    "/",
    "a/",
    "//",
    "",
    " ",
    ".",
    "..",
    "_index",
    "index",
    "é",
    "T cell",
    "n" * 300,
    0,
    1.5,
    None,
    "scrae",
    "scrae_confidence",
    "sample",
    "batch",
    "cell_type",
    "__categories",
    "categories",
    "a\0b",
    "line\nbreak",
    "\ud800",
    "True",
    "barcode",
    "scrae_n_counts",
    "feature_types ",
    "X",
    "counts",
]
CYCLES: list[list[Any]] = [
    ["a", "b"],
    ["a", None],
    ["a", np.nan, 3],
    [True, None, False],
    [True, False],
    [1, "x"],
    [1.5, None],
    [[1], [2, 3]],
    [{"k": 1}],
    [(1, 2), (3,)],
    [None],
    [np.nan],
    ["", " "],
    [b"bytes", "text"],
    [b"bytes"],
    [datetime.date(2024, 3, 1)],
    [pd.NA, 1],
    [pd.NaT, "a"],
    ["\ud800"],
    ["a\0b"],
    [PurePath("a/b")],
    [print],
    [object()],
    [2**70, 1],
    [1 + 2j],
    ["x" * 5000],
    ["nan", "NA", "None"],
    [np.float32(1), "1"],
    [{1, 2}],
    [frozenset({1})],
    [np.array([1, 2])],
]
DTYPES = [
    "i1",
    "u1",
    "i8",
    "u8",
    ">i4",
    "f2",
    "f4",
    "f8",
    ">f8",
    "g",
    "?",
    "c8",
    "c16",
    "U3",
    "S3",
    "M8[ns]",
    "M8[D]",
    "m8[s]",
    "Int8",
    "UInt64",
    "Int64",
    "boolean",
    "Float32",
    "Float64",
    "string",
    "category",
    "Sparse[int]",
    "period[M]",
    "datetime64[ns, UTC]",
    "interval",
    "ordered",
    "cat-of-int",
    "cat-of-float",
    "cat-of-bool",
    "cat-of-interval",
    "cat-mixed",
    "cat-empty",
    "cat-string",
]


def cycled(values: list[Any], n: int) -> np.ndarray:
    made = np.empty(n, dtype=object)
    for i in range(n):
        made[i] = values[i % len(values)]
    return made


def typed(kind: str, n: int) -> Any:
    """A column of n values of a type."""
    numbers = np.arange(n) % 3
    of_categories = {
        "category": ["a", "b"],
        "ordered": ["b", "a"],
        "cat-of-int": [3, 1],
        "cat-of-float": [0.5, np.pi],
        "cat-of-bool": [True, False],
        "cat-mixed": [1, "x"],
        "cat-empty": [],
        "cat-string": pd.array(["a", "b"], dtype="string"),
        "cat-of-interval": pd.interval_range(0, 2),
    }
    if kind in of_categories:
        categories = of_categories[kind]
        codes = np.where(numbers < len(categories), numbers, -1)
        return pd.Categorical.from_codes(codes, categories, ordered=kind == "ordered")
    if kind == "interval":
        return pd.arrays.IntervalArray.from_breaks(range(n + 1))
    if kind.startswith(("period", "datetime64")):
        return (
            pd.Series(pd.to_datetime(numbers, unit="D")).dt.tz_localize("UTC").array
            if "UTC" in kind
            else pd.period_range("2024-01", periods=n, freq="M")
        )
    if kind == "string":
        return pd.array(["a", None, "b"] * n, dtype="string")[:n]
    if kind[0] in "IUFb" and kind[1:2].isalpha():
        return pd.array([1, None, 0] * n, dtype=kind)[:n]
    if kind.startswith("Sparse"):
        return pd.arrays.SparseArray(numbers)
    return numbers.astype(kind)


def columns(n: int) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.sampled_from(DTYPES).map(lambda kind: typed(kind, n)),
        st.sampled_from(CYCLES).map(lambda values: cycled(values, n)),
    )


@st.composite
def frames(draw: Any, index: pd.Index, most: int = 4) -> pd.DataFrame:
    """A table with odd columns, also two of one name."""
    names = draw(st.lists(st.sampled_from(NAMES), max_size=most))
    made = pd.DataFrame({i: draw(columns(len(index))) for i in range(len(names))}, index=index)
    made.columns = pd.Index(names, dtype=object)
    return made


@st.composite
def indices(draw: Any, n: int, kind: str) -> pd.Index:
    texts = [f"{kind}{i}" for i in range(n)]
    made = {
        "text": lambda: pd.Index(texts),
        "numbers": lambda: pd.Index([str(i) for i in range(n)]),
        "doubled": lambda: pd.Index(["a", "a", *texts[2:]]),
        "quoted": lambda: pd.Index([f' "{t}"' for t in texts]),
        "words": lambda: pd.Index(["nan", "NA", "", "None", "5'", *texts][:n]),
        "string": lambda: pd.Index(texts, dtype="string"),
        "categories": lambda: pd.CategoricalIndex(texts),
        "broken": lambda: pd.Index(["a\nb", "c\0d", "/", *texts[3:]]),
        "bytes": lambda: pd.Index([t.encode() for t in texts]),
        "missing": lambda: pd.Index([None, np.nan, *texts[2:]], dtype=object),
    }[
        draw(
            st.sampled_from(
                ["text"] * 8
                + [
                    "numbers",
                    "doubled",
                    "quoted",
                    "words",
                    "string",
                    "categories",
                    "broken",
                    "bytes",
                    "missing",
                ]
            )
        )
    ]()
    made.name = draw(st.sampled_from([None, None, "barcode", "index", "x", "y/z", "_index", "", "."]))
    return made


def matrices(counts: np.ndarray) -> st.SearchStrategy[Any]:
    """The same counts in every form that AnnData takes."""
    forms: list[Any] = [
        sparse.csr_matrix,
        sparse.csc_matrix,
        sparse.csr_array,
        sparse.csc_array,
        np.asfortranarray,
        np.asarray,
        lambda m: sparse.csr_matrix(m.astype("f8")),
        lambda m: m.astype("f4"),
        lambda m: m.astype("u2"),
        lambda m: m.astype(">i4"),
        lambda m: m.astype("f2"),
        lambda m: sparse.csr_matrix(m.astype("i1")),
        lambda m: m.astype(bool),
        lambda m: np.ma.masked_array(m),
        sparse.coo_matrix,
    ]
    return st.sampled_from(forms).map(lambda form: form(counts))


def values() -> st.SearchStrategy[Any]:
    """Values of uns."""
    leaves = st.one_of(
        st.sampled_from(
            [
                None,
                1,
                2.5,
                True,
                "text",
                "",
                b"bytes",
                "\ud800",
                1 + 1j,
                2**70,
                print,
                object(),
                np.int64(3),
                np.datetime64("2024-03-01"),
                datetime.datetime(2024, 3, 1),
                PurePath("a"),
                pd.NA,
                range(3),
                np.ma.masked_array([1, 2]),
                pd.Timestamp("2024"),
                float("nan"),
                np.str_("a"),
                np.array("scalar"),
                pd.Series([1, 2]),
                pd.Index(["a", "b"]),
                sparse.coo_matrix(np.eye(2)),
                sparse.csr_array(np.eye(2)),
                {1, "a"},
                np.array([], dtype=object),
                np.zeros((0, 3)),
                np.zeros(2, dtype=[("a", "f4"), ("b", "O")]),
                np.zeros(2, dtype=[("a", "f4"), ("b", "U3")]),
                [],
                (),
                {},
                [{"a": 1}],
                [[1], [2, 3]],
                np.rec.fromarrays([cycled(["a", None], 2)], names=["0"]),
                "x" * 70_000,
            ]
        ),
        st.sampled_from(CYCLES).map(lambda made: cycled(made, 3)),
        st.sampled_from(DTYPES).map(lambda kind: typed(kind, 3)),
        frames(pd.RangeIndex(3), most=2),
    )
    return st.recursive(
        leaves, lambda inner: st.dictionaries(st.sampled_from(NAMES), inner, max_size=3), max_leaves=4
    )


@st.composite
def odd_anndatas(draw: Any) -> AnnData:
    """Counts of few cells and genes, and around them what people carry along."""
    n, m = draw(st.integers(6, 12)), draw(st.integers(5, 8))
    rng = np.random.default_rng(draw(st.integers(0, 5)))
    counts = rng.poisson(2.0, (n, m)) + np.eye(n, m, dtype=int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        obs, var = draw(frames(draw(indices(n, "c")))), draw(frames(draw(indices(m, "g"))))
        try:
            adata = AnnData(draw(matrices(counts)), obs=obs, var=var)
        except Exception:  # no such AnnData
            adata = AnnData(counts.astype("f4"))
        parts = draw(
            st.lists(st.sampled_from(["layers", "obsm", "varm", "obsp", "varp", "uns", "raw"]), max_size=4)
        )
        for slot in parts:
            key = draw(st.sampled_from(NAMES))
            value = draw(_for_slot(slot, adata, counts))
            try:
                if slot == "raw":
                    adata.raw = AnnData(
                        counts.astype("f4"), obs=adata.obs[[]], var=draw(frames(adata.var_names))
                    )
                else:
                    getattr(adata, slot)[key] = value
            except Exception:  # which AnnData refuses itself
                continue
        if draw(st.integers(0, 9)) == 0 and adata.obs.columns.is_unique and adata.var.columns.is_unique:
            adata = adata[:, ::-1]
    return adata


def _for_slot(slot: str, adata: AnnData, counts: np.ndarray) -> st.SearchStrategy[Any]:
    n, m = counts.shape
    rows = m if slot.startswith("var") else n
    if slot == "layers":
        return matrices(counts)
    if slot in ("obsp", "varp"):
        return matrices(np.eye(rows))
    if slot == "uns":
        return values()
    index = adata.var_names if rows == m else adata.obs_names
    return st.one_of(
        frames(index),
        matrices(np.ones((rows, 2))),
        st.sampled_from(CYCLES).map(lambda c: cycled(c, 2 * rows).reshape(rows, 2)),
    )
