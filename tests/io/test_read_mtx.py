"""Matrix Market in every form that programs of the field write, with the names of their lists."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from helpers.count_files import CELLS, GENES, counts
from scipy import sparse
from scipy.io import mmwrite

from scrae.errors import ScraeError
from scrae.io import read

IDS = [f"ENSG{n:011d}" for n in range(7)]
TWO = "".join(f"{i}\t{g}\n" for i, g in zip(IDS, GENES, strict=True))
BARCODES = "\n".join(CELLS) + "\n"


def write(folder, matrix, *, name="matrix.mtx", **texts):
    """Write a matrix and lists; __ in a key is a dot, except in front of tsv."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = folder / "plain.mtx"
    mmwrite(plain, matrix)
    text = plain.read_bytes()
    plain.unlink()
    (folder / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    for key, content in texts.items():
        (folder / key).write_text(content)
    return folder / name


def lists(genes="genes.tsv", barcodes="barcodes.tsv", of_genes=TWO, of_cells=BARCODES):
    return {genes: of_genes, barcodes: of_cells}


def assert_read(path, names=GENES, **options):
    adata = read(path, **options)
    np.testing.assert_array_equal(adata.X.toarray(), counts())
    assert list(adata.obs_names) == CELLS
    assert list(adata.var_names) == list(names)
    return adata


@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "uint32", "uint64", "int32", "int64", "float32", "float64"]
)
@pytest.mark.parametrize("form", [sparse.coo_matrix, np.asarray])
def test_every_field_and_layout(tmp_path, dtype, form):
    assert_read(write(tmp_path, form(counts().T.astype(dtype)), **lists()).parent)


def test_a_pattern_is_ones(tmp_path):
    (tmp_path / "genes.tsv").write_text(TWO)
    (tmp_path / "barcodes.tsv").write_text(BARCODES)
    (tmp_path / "matrix.mtx").write_text(
        "%%MatrixMarket matrix coordinate pattern general\n7 10 2\n1 1\n7 10\n"
    )
    found = read(tmp_path).X
    assert (found[0, 0], found[9, 6], found.sum()) == (1, 1, 2)


@pytest.mark.parametrize(
    ("banner", "rest"),
    [
        ("complex general", "1 1 1\n1 1 1 0"),
        ("integer symmetric", "7 7 1\n1 1 1"),
        ("integer general", "7 10\n1 1 1"),
    ],
)
def test_forms_without_counts_are_refused(tmp_path, banner, rest):
    (tmp_path / "genes.tsv").write_text(TWO)
    (tmp_path / "barcodes.tsv").write_text(BARCODES)
    (tmp_path / "matrix.mtx").write_text(f"%%MatrixMarket matrix coordinate {banner}\n{rest}\n")
    with pytest.raises(ScraeError, match=r"begins with|states the sizes"):
        read(tmp_path)


ONE = "".join(f"{g}\n" for g in GENES)


@pytest.mark.parametrize(
    ("name", "by_cells", "names"),
    [
        ("cells_x_genes.mtx", True, ("cells_x_genes.genes.txt", "cells_x_genes.barcodes.txt")),  # kb
        ("cells_x_genes.mature.mtx", True, ("cells_x_genes.genes.txt", "cells_x_genes.barcodes.txt")),
        ("genes.mtx", True, ("genes.genes.txt", "genes.barcodes.txt")),  # bustools
        ("quants_mat.mtx.gz", True, ("quants_mat_cols.txt", "quants_mat_rows.txt")),  # alevin
        ("DGE.mtx", True, ("all_genes.csv", "cell_metadata.csv")),
        ("UniqueAndMult-EM.mtx", False, ("features.tsv", "barcodes.tsv")),  # STARsolo
        ("GSM1_donor.counts.mtx.gz", False, ("GSM1_donor.genes.tsv", "GSM1_donor.barcodes.tsv")),
        ("GSM1_counts.mtx", False, ("GSM1_counts.rows.txt", "GSM1_counts.cols.txt")),
        ("E-1.counts.mtx", False, ("E-1.counts.mtx_rows", "E-1.counts.mtx_cols")),
        ("GSM1_matrix.mtx", False, ("GSM1_gene_names.txt", "GSM1_cell_names.txt")),
        ("count_matrix_sparse.mtx", False, ("count_matrix_genes.tsv", "count_matrix_barcodes.tsv")),
        ("MATRIX.MTX", False, ("Genes.TSV", "Barcodes.TSV")),
    ],
)
def test_names_of_other_programs(tmp_path, name, by_cells, names):
    matrix = sparse.coo_matrix(counts() if by_cells else counts().T)
    path = write(tmp_path, matrix, name=name, **lists(*names, of_genes=ONE))
    assert_read(path)
    assert_read(tmp_path)


def test_the_lists_of_the_same_sample_are_taken(tmp_path):
    for sample, order in (("GSM1_a", 1), ("GSM2_b", -1)):
        write(
            tmp_path,
            sparse.coo_matrix(counts().T),
            name=f"{sample}_matrix.mtx",
            **lists(
                f"{sample}_genes.tsv", f"{sample}_barcodes.tsv", of_cells="\n".join(CELLS[::order]) + "\n"
            ),
        )
    assert_read(tmp_path / "GSM1_a_matrix.mtx")
    assert list(read(tmp_path / "GSM2_b_matrix.mtx").obs_names) == CELLS[::-1]


@pytest.mark.parametrize("by_cells", [False, True])
@pytest.mark.parametrize("above_genes", ["", "ENSEMBL\tSYMBOL\n"])
@pytest.mark.parametrize("above_cells", ["", "barcode\n", '"x"\n'])
def test_headers_and_orientation(tmp_path, by_cells, above_genes, above_cells):
    matrix = sparse.coo_matrix(counts() if by_cells else counts().T)
    write(tmp_path, matrix, **lists(of_genes=above_genes + TWO, of_cells=above_cells + BARCODES))
    adata = assert_read(tmp_path)
    headers = [note for note in adata.uns["scrae"]["notes"] if "was taken as a header" in note]
    assert len(headers) == bool(above_genes) + bool(above_cells)
    assert any("were taken as cells" in note for note in adata.uns["scrae"]["notes"]) == by_cells


def test_a_square_matrix_is_by_genes_unless_said_otherwise(tmp_path):
    square, cells = counts()[:7], "\n".join(CELLS[:7]) + "\n"
    write(tmp_path, sparse.coo_matrix(square.T), **lists(of_cells=cells))
    np.testing.assert_array_equal(read(tmp_path).X.toarray(), square)
    np.testing.assert_array_equal(read(tmp_path, transpose=True).X.toarray(), square.T)


def test_transpose_that_contradicts_the_lists(tmp_path):
    write(tmp_path / "a", sparse.coo_matrix(counts().T), **lists())
    with pytest.raises(
        ScraeError, match=r"has 7 genes in its rows and 10 cells in its columns, .* Leave transpose out"
    ):
        read(tmp_path / "a", transpose=True)
    write(tmp_path / "b", sparse.coo_matrix(counts()), **lists())
    assert_read(tmp_path / "b", transpose=True)


def test_lists_as_r_and_excel_write_them(tmp_path):
    genes = "".join(f'"{n + 1}","{i}","{g}"\n' for n, (i, g) in enumerate(zip(IDS, GENES, strict=True)))
    cells = "\ufeff" + "".join(f' "{cell}"\t\r\n' for cell in CELLS)
    write(tmp_path, sparse.coo_matrix(counts().T), **lists("genes.csv", of_genes=genes, of_cells=cells))
    assert list(assert_read(tmp_path).var["gene_ids"]) == IDS


def test_a_quote_inside_a_name_stays(tmp_path):
    odd = [*GENES[:6], "5'-nucleotidase"]
    write(tmp_path, sparse.coo_matrix(counts().T), **lists(of_genes="\n".join(odd)))
    assert_read(tmp_path, odd)


def test_what_is_beside_is_named_where_a_list_is_missing(tmp_path):
    path = write(tmp_path, sparse.coo_matrix(counts().T), name="a.mtx", **{"notes.md": "x"})
    with pytest.raises(
        ScraeError,
        match=r"a.mtx has no a_features.tsv or a_genes.tsv \(or .gz\) beside it; there is 'notes.md'. Rename the list",
    ):
        read(path)


def test_the_sizes_and_the_files_are_named(tmp_path):
    write(tmp_path, sparse.coo_matrix(counts().T), **lists(of_cells="a\nb\n"))
    with pytest.raises(
        ScraeError,
        match=r"is 7 x 10, but 7 genes x 2 barcodes are listed beside it \('genes.tsv' and 'barcodes.tsv'\)",
    ):
        read(tmp_path)


def test_a_matrix_is_known_by_its_content(tmp_path):
    write(tmp_path, sparse.coo_matrix(counts().T), name="counts.txt", **lists())
    assert_read(tmp_path / "counts.txt")
