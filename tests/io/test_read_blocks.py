"""io.CountBlocks and io.open_backed: the same counts as in memory, and never more of them than asked for."""

from __future__ import annotations

from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from anndata import AnnData
from scipy import sparse

from scrae.errors import ScraeError
from scrae.gene_selection import RowBlocks, nbumi
from scrae.io import CountBlocks, open_backed

COUNTS = np.random.default_rng(3).poisson(np.random.default_rng(4).lognormal(-0.5, 1, 40), (57, 40))
KINDS = ["csr.h5ad", "dense.h5ad", "csr.zarr", "dense.zarr"]

pytestmark = pytest.mark.filterwarnings("ignore:Writing zarr v2 data:UserWarning")  # anndata's default today


def write(folder: Path, kind: str, x=COUNTS, **slots) -> Path:
    matrix = x if kind.startswith("dense") else sparse.csr_matrix(x, dtype=np.float32)
    if kind.startswith("csc"):
        matrix = sparse.csc_matrix(matrix)
    adata = AnnData(
        matrix,
        obs=pd.DataFrame(index=[f"cell{n}" for n in range(x.shape[0])]),
        var=pd.DataFrame(index=[f"gene{n}" for n in range(x.shape[1])]),
    )
    for name, value in slots.items():
        if name == "raw":
            adata.raw = value
        elif name == "var":
            adata.var = adata.var.assign(**value)
        else:
            adata.layers[name] = value
    path = folder / kind
    (adata.write_zarr if kind.endswith("zarr") else adata.write_h5ad)(path)
    return path


@pytest.fixture(params=KINDS)
def backed(request, tmp_path) -> AnnData:
    return open_backed(write(tmp_path, request.param))


@pytest.mark.parametrize("rows", [1, 10, 57, 1000])
def test_blocks_are_the_counts(backed, rows):
    blocks = CountBlocks(matrix=backed.X, rows=rows)
    assert isinstance(blocks, RowBlocks)
    assert blocks.shape == (57, 40)
    for _ in range(2):  # each iteration begins anew
        parts = list(blocks)
        assert [part.shape[0] for part in parts[:-1]] == [rows] * (len(parts) - 1)
        assert all(part.dtype == np.int32 for part in parts)
        np.testing.assert_array_equal(np.vstack([part.toarray() for part in parts]), COUNTS)


def test_parts_of_parts(backed):
    rng = np.random.default_rng(0)
    cells, genes, fewer = rng.random(57) < 0.6, rng.random(40) < 0.5, rng.random(57) < 0.5
    blocks = CountBlocks(matrix=backed.X, rows=9).only(cells=cells).only(genes=genes)
    blocks = blocks.only(cells=fewer[cells])
    expected = COUNTS[cells & fewer][:, genes]
    assert blocks.shape == expected.shape
    np.testing.assert_array_equal(np.vstack([part.toarray() for part in blocks]), expected)


def test_no_more_is_read_than_asked_for(backed, monkeypatch):
    largest = {"entries": 0, "rows": 0}

    def watch(kind: type) -> None:
        get = kind.__getitem__

        def watched(self, key):
            found = get(self, key)
            name = self.name.rsplit("/", 1)[-1]
            if name in ("data", "indices"):
                largest["entries"] = max(largest["entries"], np.size(found))
            elif name == "X":
                largest["rows"] = max(largest["rows"], np.shape(found)[0])
            return found

        monkeypatch.setattr(kind, "__getitem__", watched)

    watch(h5py.Dataset)
    watch(zarr.Array)
    n_entries = [(COUNTS[start : start + 6] > 0).sum() for start in range(0, 57, 6)]
    nbumi(CountBlocks(matrix=backed.X, rows=6), n_top_genes=5)
    dense = largest["rows"] > 0
    assert largest == ({"entries": 0, "rows": 6} if dense else {"entries": max(n_entries), "rows": 0})


def test_the_names_and_the_note(backed):
    assert list(backed.obs_names[[0, 56]]) == ["cell0", "cell56"]
    assert list(backed.var_names[[0, 39]]) == ["gene0", "gene39"]
    assert backed.uns["scrae"]["notes"] == ["Counts were found in X: 57 cells x 40 genes."]


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_where_the_counts_are_looked_for(tmp_path, suffix):
    logged = np.log1p(COUNTS)
    more = AnnData(np.hstack([COUNTS, COUNTS]))
    path = write(tmp_path, f"csr.{suffix}", logged, spliced=COUNTS, raw=more)
    found = open_backed(path)
    assert found.uns["scrae"]["notes"] == ["Counts were found in raw: 57 cells x 80 genes."]
    named = open_backed(path, layer="spliced")
    np.testing.assert_array_equal(next(iter(CountBlocks(matrix=named.X))).toarray(), COUNTS)
    assert named.uns["scrae"]["notes"] == ["Counts were found in layers['spliced']: 57 cells x 40 genes."]
    with pytest.raises(ScraeError, match="There is no layer 'counts'; there is 'X', 'raw', 'spliced'"):
        open_backed(path, layer="counts")
    with pytest.raises(
        ScraeError, match=r": X holds a value that is not a whole number \([\d.]+\) at cell 'cell0'"
    ):
        open_backed(path, layer="X")


def test_a_backed_anndata_of_anndatas_own(tmp_path):
    adata = anndata.read_h5ad(write(tmp_path, "csr.h5ad"), backed="r")
    np.testing.assert_array_equal(next(iter(CountBlocks(matrix=adata.X))).toarray(), COUNTS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_value_is_named_with_its_cell_and_gene(tmp_path, kind):
    x = COUNTS.astype(float)
    x[41, 7] = -2.0
    with pytest.raises(
        ScraeError, match=f"{kind}: X holds a negative value .-2. at cell 'cell41', gene 'gene7'"
    ):
        open_backed(write(tmp_path, kind, x))
    numbered = CountBlocks(matrix=anndata_of(tmp_path, kind, x), rows=10)
    with pytest.raises(ScraeError, match="at cell '41', gene 7;"):
        list(numbered)


def anndata_of(folder: Path, kind: str, x: np.ndarray):
    """The matrix in the file, as anndata gives it."""
    path = write(folder, kind, x)
    file = zarr.open_group(str(path), mode="r") if kind.endswith("zarr") else h5py.File(path)
    return file["X"] if kind.startswith("dense") else anndata.io.sparse_dataset(file["X"])


def test_what_is_refused(tmp_path):
    with pytest.raises(ScraeError, match=r"csc.h5ad: X is stored by columns \(csc\).*adata.X.tocsr"):
        open_backed(write(tmp_path, "csc.h5ad"))
    with pytest.raises(ScraeError, match="in an h5ad or zarr file, found a csr_matrix: a matrix in memory"):
        CountBlocks(matrix=sparse.csr_matrix(COUNTS))
    with pytest.raises(ScraeError, match="rows: expected at least 1 cell at a time, found 0"):
        CountBlocks(matrix=open_backed(write(tmp_path, "csr.h5ad")).X, rows=0)
    with pytest.raises(ScraeError, match=r"none.h5ad does not exist; expected an h5ad or zarr file"):
        open_backed(tmp_path / "none.h5ad")
    (tmp_path / "a.csv").write_text("gene,1\n")
    with pytest.raises(
        ScraeError, match=r"a.csv is neither h5ad nor zarr, and only these can be read in blocks"
    ):
        open_backed(tmp_path / "a.csv")
    types = {"feature_types": ["Gene Expression"] * 39 + ["Antibody Capture"]}
    with pytest.raises(ScraeError, match="features other than Gene Expression"):
        open_backed(write(tmp_path, "dense.h5ad", var=types))


@pytest.mark.parametrize(
    ("key", "place", "value", "message"),
    [
        ("X/indptr", 5, 10**6, "csr.h5ad: X is a broken sparse matrix. Write the file again"),
        ("X/indices", 9, 40, "csr.h5ad: X is a broken sparse matrix"),
        ("X/indices", 9, -3, "csr.h5ad: X is a broken sparse matrix"),
        ("X/data", 9, np.nan, r"csr.h5ad: X holds a missing value \(NaN\) at cell 'cell0', gene 'gene"),
    ],
)
def test_a_damaged_file(tmp_path, key, place, value, message):
    path = write(tmp_path, "csr.h5ad")
    with h5py.File(path, "r+") as file:
        file[key][place] = value
    with pytest.raises(ScraeError, match=message):
        open_backed(path)
