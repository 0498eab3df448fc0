"""Several files are several samples."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData
from helpers.count_files import CELLS, GENES, counts, log_table, table, write_10x_v2, write_mtx
from scipy import sparse

from scrae.errors import ScraeError, ScraeWarning
from scrae.io import read
from scrae.io.samples import sample_names


def notes(adata):
    return adata.uns["scrae"]["notes"]


def write(path, adata):
    path.parent.mkdir(parents=True, exist_ok=True)
    adata.write_h5ad(path)
    return path


def other():
    """Six cells over five of the genes, in another order, and one gene of its own."""
    order = [5, 0, 3, 6, 2]
    matrix = np.column_stack([counts()[:6, order] + 1, np.arange(6)])
    adata = AnnData(sparse.csr_matrix(matrix))
    adata.obs_names = [f"other{n}" for n in range(6)]
    adata.var_names = [*(GENES[k] for k in order), "XIST"]
    adata.obs["cell_type"] = "NK"
    adata.obs["age"] = 3
    return adata


def test_cells_are_stacked_over_the_genes_of_all(tmp_path):
    files = [write(tmp_path / "a.h5ad", table()), write(tmp_path / "b.h5ad", other())]
    result = read(files)
    shared = ["ACTB", "CD3D", "MT-CO1", "LYZ", "MS4A1"]  # in the order of the first file
    assert list(result.var_names) == shared
    assert list(result.obs_names) == [*CELLS, *(f"other{n}" for n in range(6))]
    columns = [GENES.index(gene) for gene in shared]
    expected = np.vstack([counts()[:, columns], counts()[:6, columns] + 1])
    for matrix in (result.X, result.layers["counts"]):
        assert type(matrix) is sparse.csr_matrix
        assert matrix.dtype == np.int32
        np.testing.assert_array_equal(matrix.toarray(), expected)
    assert list(result.obs["sample"]) == ["a"] * 10 + ["b"] * 6
    assert list(result.obs["sample"].cat.categories) == ["a", "b"]
    assert list(result.obs["cell_type"]) == ["B", "T"] * 5 + ["NK"] * 6
    assert notes(result) == [
        "a: Counts were found in X: 10 cells x 7 genes.",
        "a: 2 of 7 genes are not in all samples and were left out.",
        "b: Counts were found in X: 6 cells x 6 genes.",
        "b: 1 of 6 genes are not in all samples and were left out.",
        "b: columns that not all samples have were left out of obs: 'age'.",
    ]


def test_formats_may_differ(tmp_path):
    files = [
        write(tmp_path / "a.h5ad", table()),
        write_10x_v2(tmp_path / "b.h5", counts()),
        write_mtx(tmp_path / "c", version=3, gz=True),
    ]
    result = read(files)
    assert list(result.obs["sample"].cat.categories) == ["a", "b", "c"]
    np.testing.assert_array_equal(result.X.toarray(), np.vstack([counts()] * 3))


def test_cells_of_the_same_name_get_their_sample(tmp_path):
    files = [write(tmp_path / f"{name}.h5ad", table()) for name in ("x", "y")]
    result = read(files)
    assert list(result.obs_names) == [f"{cell}-x" for cell in CELLS] + [f"{cell}-y" for cell in CELLS]
    assert notes(result)[-1] == "Cell names occurred in several samples, so the sample was appended to each."


def test_a_column_called_sample_is_kept_under_another_name(tmp_path):
    files = []
    for name in ("x", "y"):
        adata = table()
        adata.obs["sample"] = f"donor {name}"
        files.append(write(tmp_path / f"{name}.h5ad", adata))
    result = read(files)
    assert list(result.obs["sample"]) == ["x"] * 10 + ["y"] * 10
    assert list(result.obs["sample_in_file"]) == ["donor x"] * 10 + ["donor y"] * 10


def test_a_fault_in_one_file_names_it(tmp_path):
    files = [write(tmp_path / "a.h5ad", table()), write(tmp_path / "b.h5ad", log_table())]
    with pytest.raises(ScraeError, match=f"^{files[1]}: X holds a value that is not a whole number"):
        read(files)


def test_a_threshold_holds_for_each_file(tmp_path):
    files = [write(tmp_path / "a.h5ad", table()), write(tmp_path / "b.h5ad", other())]
    totals = np.concatenate([counts().sum(axis=1), other().X.toarray().sum(axis=1)])
    limit = int(np.median(totals))
    assert read(files, min_counts=limit).n_obs == (totals >= limit).sum()


def test_files_that_share_no_gene(tmp_path):
    foreign = other()
    foreign.var_names = [f"ENSG{n:011d}" for n in range(6)]
    files = [write(tmp_path / "a.h5ad", table()), write(tmp_path / "b.h5ad", foreign)]
    with pytest.raises(
        ScraeError, match=r"share no gene; name the genes of all in one way \(a: 'ACTB'.*; b: 'ENSG000"
    ):
        read(files)


def test_files_that_share_few_genes_are_warned_of(tmp_path):
    foreign = other()
    foreign.var_names = [f"g{n}" for n in range(4)] + ["CD3D", "LYZ"]
    files = [write(tmp_path / "a.h5ad", table()), write(tmp_path / "b.h5ad", foreign)]
    with pytest.warns(
        ScraeWarning, match="The files share only 2 genes, the smallest has 6; are the genes named in one"
    ):
        result = read(files)
    assert list(result.var_names) == ["CD3D", "LYZ"]


def test_one_path_in_a_list_is_one_file(tmp_path):
    path = write(tmp_path / "a.h5ad", table())
    assert "sample" not in read([path]).obs
    assert "sample" not in read(path).obs


def test_no_file_and_a_file_twice(tmp_path):
    with pytest.raises(ScraeError, match="No file was given to read; give at least one path"):
        read([])
    path = write(tmp_path / "a.h5ad", table())
    with pytest.raises(ScraeError, match="The same file was given twice; each file is one sample"):
        read([path, tmp_path / "." / "a.h5ad"])


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["a.h5ad", "b.loom"], ["a", "b"]),
        (["x/counts.csv.gz", "x/other.csv"], ["counts", "other"]),
        (["p/outs/filtered/", "q/outs/filtered/"], ["p", "q"]),
        (["p/1/m.h5", "p/2/m.h5", "p/2/n.h5"], ["m", "m-1", "n"]),
    ],
)
def test_names_of_samples(files, names):
    assert sample_names([Path("/data") / file for file in files]) == names


def test_no_warnings_escape(tmp_path):
    files = [write(tmp_path / f"{name}.h5ad", table()) for name in ("x", "y")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(files)
