"""Reading csv, tsv and txt: which way round, where the names are, what is no number."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest
from helpers.count_files import CELLS, GENES, counts, write_text
from scipy import sparse

from scrae.errors import ScraeError, ScraeWarning
from scrae.io import read


def frame():
    return pd.DataFrame(counts(), index=CELLS, columns=GENES)


def assert_counts(adata):
    for matrix in (adata.X, adata.layers["counts"]):
        assert type(matrix) is sparse.csr_matrix
        assert matrix.dtype == np.int32
        np.testing.assert_array_equal(matrix.toarray(), counts())
    assert list(adata.obs_names) == CELLS
    assert list(adata.var_names) == GENES


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".TSV.gz"])
@pytest.mark.parametrize("delimiter", [",", "\t", ";", " "])
def test_every_ending_and_delimiter(tmp_path, ending, delimiter):
    path = tmp_path / f"a{ending}"
    write_text(path, frame().to_csv(sep=delimiter))
    assert_counts(read(path))


def test_a_header_without_the_field_over_the_names(tmp_path):
    """What R's write.table writes: quoted names, one field less in the header."""
    text = frame().to_csv(sep="\t", quoting=2).removeprefix('""\t')
    write_text(tmp_path / "a.txt", text)
    assert text.startswith('"ACTB"\t"GAPDH"')
    assert_counts(read(tmp_path / "a.txt"))


def test_numbers_written_as_floats_and_a_byte_order_mark(tmp_path):
    text = "\ufeff" + frame().astype(float).to_csv(lineterminator="\r\n")
    write_text(tmp_path / "a.csv", text)
    assert "3.0" in text
    assert_counts(read(tmp_path / "a.csv"))


def test_a_table_is_read_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("scrae.io.table._VALUES_AT_A_TIME", 3 * len(GENES))
    frame().to_csv(tmp_path / "a.csv")
    assert_counts(read(tmp_path / "a.csv"))
    wrong = frame().astype(object)
    wrong.iloc[8, 2] = "many"
    wrong.to_csv(tmp_path / "b.csv")
    with pytest.raises(ScraeError, match=rf"holds the text 'many' in row '{CELLS[8]}', column 'CD3D'"):
        read(tmp_path / "b.csv")


def test_genes_in_rows_are_read_with_transpose(tmp_path):
    frame().T.to_csv(tmp_path / "a.csv")
    assert_counts(read(tmp_path / "a.csv", transpose=True))


def test_genes_in_rows_are_refused_without_transpose(tmp_path):
    frame().T.to_csv(tmp_path / "a.csv")
    with pytest.raises(ScraeError) as caught:
        read(tmp_path / "a.csv")
    text = str(caught.value)
    assert "has genes in its rows ('ACTB', 'GAPDH', 'CD3D' and 4 more) and cells in its columns" in text
    assert text.endswith("expected one row per cell. Say transpose=True (--transpose).")


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        ([f"ENSG{n:011d}" for n in range(7)], [f"s{n}" for n in range(10)]),
        ([f"ENSMUSG{n:011d}.3" for n in range(7)], [f"s{n}" for n in range(10)]),
        (["Rpl13", "Rps4x", "Xkr4", "Sox17", "Mrpl15", "Lypla1", "mt-Co1"], [f"s{n}" for n in range(10)]),
        ([f"g{n}" for n in range(7)], [f"donor1_{cell}" for cell in CELLS]),
        ([f"g{n}" for n in range(7)], [cell.removesuffix("-1") for cell in CELLS]),
    ],
)
def test_a_table_the_wrong_way_round_is_known_by_genes_or_barcodes(tmp_path, rows, columns):
    wrong = pd.DataFrame(counts().T, index=rows, columns=columns)
    wrong.to_csv(tmp_path / "wrong.csv")
    with pytest.raises(ScraeError, match=r"Say transpose=True"):
        read(tmp_path / "wrong.csv")
    wrong.T.to_csv(tmp_path / "right.csv")
    assert list(read(tmp_path / "right.csv").var_names) == rows
    with pytest.raises(
        ScraeError, match=r"has cells in its rows .* and genes in its columns .* already. Leave transpose"
    ):
        read(tmp_path / "right.csv", transpose=True)


def test_names_that_say_nothing_are_taken_as_they_stand_with_a_warning(tmp_path):
    plain = pd.DataFrame(counts(), index=[f"s{n}" for n in range(10)], columns=[f"g{n}" for n in range(7)])
    plain.to_csv(tmp_path / "a.csv")
    with pytest.warns(
        ScraeWarning,
        match=r"Rows were taken as cells \('s0', .* columns as genes \('g0', .*; if it is the other way round, say",
    ):
        np.testing.assert_array_equal(read(tmp_path / "a.csv").X.toarray(), counts())
    with pytest.warns(
        ScraeWarning, match="Rows were taken as genes .*; if it is the other way round, leave transpose out"
    ):
        np.testing.assert_array_equal(read(tmp_path / "a.csv", transpose=True).X.toarray(), counts().T)


@pytest.mark.filterwarnings("ignore:.*the names do not show")
def test_numbers_as_names(tmp_path):
    """What pandas writes when nothing was named, and gene numbers of NCBI."""
    pd.DataFrame(counts()).to_csv(tmp_path / "a.csv")
    result = read(tmp_path / "a.csv")
    np.testing.assert_array_equal(result.X.toarray(), counts())
    assert list(result.obs_names) == [str(n) for n in range(10)]
    assert list(result.var_names) == [str(n) for n in range(7)]
    pd.DataFrame(counts(), columns=[f"g{n}" for n in range(7)]).to_csv(tmp_path / "b.csv", index_label="cell")
    np.testing.assert_array_equal(read(tmp_path / "b.csv").X.toarray(), counts())


def test_names_that_occur_twice_or_are_empty(tmp_path):
    twice = pd.DataFrame(counts(), index=["c", "c", "", *CELLS[3:]], columns=["A", "A", "", *GENES[3:]])
    twice.to_csv(tmp_path / "a.csv")
    result = read(tmp_path / "a.csv")
    np.testing.assert_array_equal(result.X.toarray(), counts())
    assert list(result.obs_names[:3]) == ["c", "c-1", "cell_2"]
    assert list(result.var_names[:3]) == ["A", "A-1", "gene_2"]


def test_the_way_round_is_noted(tmp_path):
    frame().to_csv(tmp_path / "a.csv")
    assert read(tmp_path / "a.csv").uns["scrae"]["notes"][0] == (
        f"Rows were taken as cells ({CELLS[0]!r}, {CELLS[1]!r}, {CELLS[2]!r} and 7 more), columns as genes ('ACTB', "
        "'GAPDH', 'CD3D' and 4 more)."
    )
    frame().T.to_csv(tmp_path / "b.csv")
    assert (
        read(tmp_path / "b.csv", transpose=True)
        .uns["scrae"]["notes"][0]
        .startswith("Rows were taken as genes ('A")
    )


@pytest.mark.parametrize(
    "over", ["cell", "Barcodes", "Cell_ID", "cell.name", "index", "ID", "Unnamed: 0", "gene ids"]
)
def test_what_may_stand_over_names_that_are_numbers(tmp_path, over):
    pd.DataFrame(counts(), columns=GENES).to_csv(tmp_path / "a.csv", index_label=over)
    np.testing.assert_array_equal(read(tmp_path / "a.csv").X.toarray(), counts())


@pytest.mark.parametrize("gene", ["IDH1", "LIPID", "GENE5", "BIDX"])
def test_a_gene_does_not_stand_over_names(tmp_path, gene):
    frame().rename(columns={"ACTB": gene}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ScraeError, match=f"below {gene!r} stands"):
        read(tmp_path / "a.csv")


def test_no_column_of_names(tmp_path):
    frame().to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(
        ScraeError, match=r"seems to have no column of cell names: below 'ACTB' stands \d+. Put the names"
    ):
        read(tmp_path / "a.csv")


def test_no_header(tmp_path):
    np.savetxt(tmp_path / "a.csv", counts(), fmt="%d", delimiter=",")
    with pytest.raises(ScraeError, match="begins with numbers; expected a header of gene names"):
        read(tmp_path / "a.csv")


def test_a_column_of_text(tmp_path):
    labelled = frame()
    labelled["cell_type"] = ["B", "T"] * 5
    labelled.to_csv(tmp_path / "a.csv")
    with pytest.raises(
        ScraeError, match=rf"holds the text 'B' in row '{CELLS[0]}', column 'cell_type'; expected counts"
    ):
        read(tmp_path / "a.csv")


def test_an_empty_field(tmp_path):
    lines = frame().to_csv().split("\n")
    fields = lines[4].split(",")
    lines[4] = ",".join([*fields[:3], "", *fields[4:]])
    write_text(tmp_path / "a.csv", "\n".join(lines))
    with pytest.raises(
        ScraeError, match=rf"X holds a missing value \(NaN\) at cell '{CELLS[3]}', gene 'CD3D'"
    ):
        read(tmp_path / "a.csv")


def test_a_decimal_comma(tmp_path):
    text = (frame() / 2).to_csv(sep=";", decimal=",")
    write_text(tmp_path / "a.csv", text)
    with pytest.raises(ScraeError, match=r"holds the text '\d+,\d' in row"):
        read(tmp_path / "a.csv")


def test_rows_that_are_too_long(tmp_path):
    lines = frame().to_csv().split("\n")
    lines[3] += ",9,9"
    write_text(tmp_path / "a.csv", "\n".join(lines))
    with pytest.raises(ScraeError, match=r"could not be read as a text table; .*ParserError.* line 4"):
        read(tmp_path / "a.csv")
    lines = frame().to_csv().split("\n")
    lines[1:] = [line + ",9,9" for line in lines[1:]]
    write_text(tmp_path / "b.csv", "\n".join(lines))
    with pytest.raises(ScraeError, match="has 8 fields in its header and 10 in the row below"):
        read(tmp_path / "b.csv")


@pytest.mark.parametrize("text", ["", "\n", ",a,b\n"])
def test_a_file_without_rows(tmp_path, text):
    write_text(tmp_path / "a.csv", text)
    with pytest.raises(
        ScraeError, match=r"a.csv is empty: expected a header of gene names and one row per cell"
    ):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize(
    "above",
    ["## BD Rhapsody\n## Run: 1, 2, 3\n\n", "\n\n", "\ufeff# made by a, b\n", "#\n,,,\n", '# quote "\r\n'],
)
def test_comments_and_empty_lines_above_the_header(tmp_path, above):
    write_text(tmp_path / "a.csv", above + frame().to_csv() + "\n\n")
    assert_counts(read(tmp_path / "a.csv"))


def test_a_header_that_looks_like_a_comment(tmp_path):
    write_text(tmp_path / "a.csv", "# a comment\n" + frame().rename_axis("#barcode").to_csv())
    assert_counts(read(tmp_path / "a.csv"))


def test_a_delimiter_at_the_end_of_every_line(tmp_path):
    write_text(tmp_path / "a.csv", frame().to_csv().replace("\n", ",\n"))
    result = read(tmp_path / "a.csv")
    assert_counts(result)
    assert "The last column has neither a name nor values and was left out." in result.uns["scrae"]["notes"]


@pytest.mark.parametrize("corner", ["Cell_Index", "cell label", "Cell.Barcode", "barcode number"])
def test_numbers_as_cell_names(tmp_path, corner):
    numbered = frame().set_axis([str(7 * n) for n in range(10)]).rename_axis(corner)
    write_text(tmp_path / "a.csv", numbered.to_csv())
    assert list(read(tmp_path / "a.csv").obs_names) == list(numbered.index)


def test_text_that_is_not_utf8(tmp_path):
    (tmp_path / "a.csv").write_bytes(frame().to_csv().encode().replace(b"CD3D", b"CD3\xff"))
    with pytest.raises(
        ScraeError, match=r"as a text table; it is damaged or not in UTF-8 \(byte 0xff at \d+\): save"
    ):
        read(tmp_path / "a.csv")


def test_a_gzip_that_is_none_or_has_another_name_or_is_cut_short(tmp_path):
    (tmp_path / "a.csv.gz").write_text(frame().to_csv())
    assert_counts(read(tmp_path / "a.csv.gz"))  # the content says what it is
    (tmp_path / "a.csv").write_bytes(gzip.compress(frame().to_csv().encode()))
    assert_counts(read(tmp_path / "a.csv"))
    packed = gzip.compress(frame().to_csv().encode())
    (tmp_path / "b.csv.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(ScraeError, match=r"could not be read as a text table.*EOFError"):
        read(tmp_path / "b.csv.gz")


def test_transpose_is_for_tables_only(tmp_path):
    (tmp_path / "a.h5ad").write_bytes(b"")
    with pytest.raises(ScraeError, match="is no csv, tsv or mtx: transpose is for these only"):
        read(tmp_path / "a.h5ad", transpose=True)


@pytest.mark.filterwarnings("ignore:.*the names do not show")
@pytest.mark.parametrize("transpose", [False, True])
def test_names_like_missing_values_are_names(tmp_path, transpose):
    words = ["nan", "NA", "null", "None", "n/a", "N/A", "NULL", "<NA>"]
    frame = pd.DataFrame(np.arange(1, 25).reshape(8, 3), index=words, columns=["CG1", "CG2", "CG3"])
    frame.to_csv(tmp_path / "a.csv")
    adata = read(tmp_path / "a.csv", transpose=transpose)
    assert list(adata.var_names if transpose else adata.obs_names) == words
    assert not any("empty" in note for note in adata.uns["scrae"]["notes"])
