"""Reading what Cell Ranger writes, versions 2 and 3: h5 files and folders."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import scanpy as sc
from helpers.count_files import CELLS, GENES, counts, write_10x_v2, write_10x_v3, write_mtx
from scipy import sparse

from scrae.errors import ScraeError
from scrae.io import read

GEX = "Gene Expression"


def notes(adata):
    return adata.uns["scrae"]["notes"]


def assert_counts(adata, expected=None, genes=GENES):
    assert type(adata.X) is sparse.csr_matrix
    assert adata.X.dtype == np.int32
    np.testing.assert_array_equal(adata.X.toarray(), counts() if expected is None else expected)
    assert list(adata.obs_names) == CELLS
    assert list(adata.var_names) == list(genes)


def test_h5_of_version_3(tmp_path):
    path = write_10x_v3(tmp_path / "a.h5", counts(), features=[(name, GEX) for name in GENES], cells=CELLS)
    result = read(path)
    assert_counts(result)
    assert result.var["gene_ids"]["CD3D"] == "ENSG00000000002"
    assert list(result.var["feature_types"]) == [GEX] * 7
    assert list(result.var["genome"]) == ["GRCh38"] * 7
    scanpys = sc.read_10x_h5(path)
    np.testing.assert_array_equal(scanpys.X.toarray(), result.X.toarray())
    assert list(scanpys.var["gene_ids"]) == list(result.var["gene_ids"])


def test_h5_without_symbols(tmp_path):
    path = write_10x_v3(
        tmp_path / "a.h5", counts(), features=[(n, "Gene Expression") for n in GENES], cells=CELLS
    )
    with h5py.File(path, "r+") as file:
        del file["matrix/features/name"]
    assert list(read(path).var_names) == [f"ENSG{n:011d}" for n in range(7)]


def test_h5_of_version_2(tmp_path):
    path = write_10x_v2(tmp_path / "a.h5", counts())
    result = read(path)
    assert_counts(result)
    assert result.var["gene_ids"]["LYZ"] == "ENSG00000000005"
    np.testing.assert_array_equal(sc.read_10x_h5(path).X.toarray(), result.X.toarray())


def test_h5_of_version_2_with_two_genomes(tmp_path):
    path = write_10x_v2(tmp_path / "a.h5", counts(), genomes=("hg19", "mm10"))
    with pytest.raises(
        ScraeError, match=r"holds 2 genomes \('hg19', 'mm10'\); choose one with scanpy.read_10x_h5"
    ):
        read(path)


def with_genomes(path, *, names=None, ids=None, genome=None):
    """A file of version 3 whose genes are of two genomes in one of the ways in which this is stored."""
    write_10x_v3(path, counts(), features=[(name, GEX) for name in names or GENES], cells=CELLS)
    with h5py.File(path, "r+") as file:
        for key, values in (("id", ids), ("genome", genome)):
            if values:
                del file["matrix/features"][key]
                file["matrix/features"][key] = [value.encode() for value in values]
    return path


HUMAN, MOUSE = [f"ENSG{n:011d}" for n in range(4)], [f"ENSMUSG{n:011d}" for n in range(3)]


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        ({"genome": ["GRCh38"] * 4 + ["mm10"] * 3}, "'GRCh38', 'mm10'"),
        ({"names": [f"hg19_{g}" for g in GENES[:4]] + [f"mm10_{g}" for g in GENES[4:]]}, "'hg19', 'mm10'"),
        ({"ids": [f"GRCh38_{i}" for i in HUMAN] + [f"mm10___{i}" for i in MOUSE]}, "'GRCh38', 'mm10'"),
        ({"ids": HUMAN + MOUSE}, "'ENS', 'ENSMUS'"),
        (
            {"names": [f"dm6_{g}" for g in GENES[:4]] + [f"danRer11_{g}" for g in GENES[4:]]},
            "'danRer11', 'dm6'",
        ),
    ],
)
def test_two_genomes_in_one_matrix(tmp_path, parts, found):
    path = with_genomes(tmp_path / "a.h5", **parts)
    with pytest.raises(
        ScraeError, match=rf"holds 2 genomes \({found}\), and clusters might only be the species"
    ):
        read(path)


def test_two_genomes_in_a_folder(tmp_path):
    write_mtx(tmp_path, version=3, gz=False)
    text = (tmp_path / "features.tsv").read_text().splitlines()
    lines = [f"{'hg19' if n < 4 else 'mm10'}_{line}" for n, line in enumerate(text)]
    (tmp_path / "features.tsv").write_text("\n".join(lines))
    with pytest.raises(ScraeError, match=r"holds 2 genomes \('hg19', 'mm10'\)"):
        read(tmp_path)


def test_one_genome_in_every_form(tmp_path):
    for parts in (
        {"genome": ["GRCh38"] * 6 + [""]},
        {"ids": [f"GRCh38_{i}" for i in (HUMAN * 2)[:7]]},
        {"names": ["HLA-A", "mm10x", "a_b", "hg_1", "x", "y", "z"]},
    ):
        assert read(with_genomes(tmp_path / "a.h5", **parts)).n_vars == 7


def test_antibodies_and_guides_are_dropped(tmp_path):
    kinds = [GEX, GEX, "Antibody Capture", GEX, "CRISPR Guide Capture", "Antibody Capture", GEX]
    features = list(zip(GENES, kinds, strict=True))
    kept = [0, 1, 3, 6]
    expected, genes = counts()[:, kept], [GENES[k] for k in kept]
    sentence = "Features other than Gene Expression were dropped: 2 Antibody Capture, 1 CRISPR Guide Capture."
    h5 = write_10x_v3(tmp_path / "a.h5", counts(), features=features, cells=CELLS)
    folder = write_mtx(tmp_path / "mtx", version=3, gz=True, kinds=kinds)
    for path in (h5, folder):
        result = read(path)
        assert_counts(result, expected, genes)
        np.testing.assert_array_equal(result.layers["counts"].toarray(), expected)
        assert notes(result)[-1] == sentence


def test_antibodies_alone_are_refused(tmp_path):
    path = write_10x_v3(
        tmp_path / "a.h5", counts(), features=[(n, "Antibody Capture") for n in GENES], cells=CELLS
    )
    with pytest.raises(
        ScraeError, match="no feature is of the type Gene Expression; found 'Antibody Capture'"
    ):
        read(path)


@pytest.mark.parametrize("gz", [True, False])
@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("prefix", ["", "GSM123_donor1_"])
def test_mtx_folders(tmp_path, version, gz, prefix):
    folder = write_mtx(tmp_path / "filtered", version=version, gz=gz, prefix=prefix)
    result = read(folder)
    assert_counts(result)
    assert result.var["gene_ids"]["NKG7"] == "ENSG00000000004"
    assert ("feature_types" in result.var) == (version == 3)
    matrix = folder / f"{prefix}matrix.mtx{'.gz' if gz else ''}"
    assert_counts(read(matrix))


def test_mtx_folder_equals_scanpys(tmp_path):
    folder = write_mtx(tmp_path / "filtered", version=3, gz=True)
    theirs = sc.read_10x_mtx(folder)
    ours = read(folder)
    np.testing.assert_array_equal(theirs.X.toarray(), ours.X.toarray())
    assert list(theirs.var_names) == list(ours.var_names)
    assert list(theirs.obs_names) == list(ours.obs_names)


def test_mtx_of_reals_in_any_order_and_with_comments(tmp_path):
    folder = write_mtx(tmp_path, version=3, gz=False)
    lines = (folder / "matrix.mtx").read_text().splitlines()
    first = next(n for n, line in enumerate(lines) if not line.startswith("%"))
    values = [f"{line}.0" for line in reversed(lines[first + 1 :])]
    head = ["%%MatrixMarket matrix coordinate real general", "% one", "%two", lines[first].replace(" ", "  ")]
    (folder / "matrix.mtx").write_text("\r\n".join(head + values))
    assert_counts(read(folder))


def test_mtx_folder_with_one_column_of_names(tmp_path):
    folder = write_mtx(tmp_path, version=2, gz=False)
    (folder / "genes.tsv").write_text("\n".join(GENES) + "\n")
    assert_counts(read(folder))


def test_two_matrices_in_one_folder(tmp_path):
    write_mtx(tmp_path, version=3, gz=True, prefix="a_")
    write_mtx(tmp_path, version=3, gz=True, prefix="b_")
    with pytest.raises(
        ScraeError, match=r"holds 2 matrices \('a_matrix.mtx.gz', 'b_matrix.mtx.gz'\); give the files"
    ):
        read(tmp_path)
    assert_counts(read(tmp_path / "b_matrix.mtx.gz"))


@pytest.mark.parametrize("lost", ["features.tsv", "barcodes.tsv"])
def test_a_list_is_missing(tmp_path, lost):
    write_mtx(tmp_path, version=3, gz=False)
    (tmp_path / lost).unlink()
    with pytest.raises(ScraeError, match=rf"matrix.mtx has no .*{lost}.* \(or .gz\) beside it"):
        read(tmp_path)


def test_lists_of_another_matrix(tmp_path):
    write_mtx(tmp_path, version=3, gz=False)
    (tmp_path / "barcodes.tsv").write_text("\n".join(CELLS[:-1]))
    with pytest.raises(
        ScraeError, match=r"matrix.mtx is 7 x 10, but 7 genes x 9 barcodes are listed beside it"
    ):
        read(tmp_path)


def test_symbols_that_occur_twice(tmp_path):
    features = [(name, GEX) for name in ["TBCE", *GENES[1:6], "TBCE"]]
    result = read(write_10x_v3(tmp_path / "a.h5", counts(), features=features, cells=CELLS))
    assert list(result.var_names) == ["TBCE", *GENES[1:6], "TBCE-1"]
    assert notes(result)[1].startswith("1 gene names occurred more than once")


def test_names_that_occur_twice_in_a_folder(tmp_path):
    folder = write_mtx(tmp_path, version=2, gz=False)
    (folder / "genes.tsv").write_text(
        "\n".join(f"E{n}\t{name}" for n, name in enumerate(["A", "A", *GENES[2:]]))
    )
    (folder / "barcodes.tsv").write_text("\n".join(["c", "c", *CELLS[2:]]))
    result = read(folder)
    assert list(result.var_names[:3]) == ["A", "A-1", "CD3D"]
    assert list(result.obs_names[:3]) == ["c", "c-1", CELLS[2]]


def unfiltered():
    """6 cells among 94 empty droplets, of which most hold a molecule or two."""
    rng = np.random.default_rng(0)
    matrix = rng.poisson(0.2, size=(100, 7))
    matrix[::17] = rng.poisson(200, size=(6, 7))
    return matrix


@pytest.fixture
def raw_h5(tmp_path):
    cells = [f"droplet{n}" for n in range(100)]
    return write_10x_v3(tmp_path / "raw.h5", unfiltered(), features=[(n, GEX) for n in GENES], cells=cells)


def test_an_unfiltered_matrix_is_refused_without_a_threshold(raw_h5):
    with pytest.raises(ScraeError) as caught:
        read(raw_h5)
    assert str(caught.value) == (
        f"{raw_h5}: 94 of 100 barcodes have fewer than 10 counts, as in an unfiltered 10x matrix; give the filtered "
        "matrix, or a threshold: min_counts=500 (--min-counts 500)."
    )


def test_an_unfiltered_matrix_is_read_with_a_threshold(raw_h5):
    result = read(raw_h5, min_counts=500)
    np.testing.assert_array_equal(result.X.toarray(), unfiltered()[::17])
    np.testing.assert_array_equal(result.layers["counts"].toarray(), unfiltered()[::17])
    assert list(result.obs_names) == [f"droplet{n}" for n in range(0, 100, 17)]
    assert notes(result)[-1] == "94 of 100 cells with fewer than 500 counts were left out."
    assert read(raw_h5, min_counts=0).n_obs == 100


def test_a_threshold_keeps_cells_that_just_reach_it(tmp_path):
    path = write_10x_v3(tmp_path / "a.h5", counts(), features=[(n, GEX) for n in GENES], cells=CELLS)
    totals = counts().sum(axis=1)
    middle = int(np.sort(totals)[5])
    assert read(path, min_counts=middle).n_obs == (totals >= middle).sum()
    with pytest.raises(
        ScraeError, match=rf"no cell has min_counts=1000 counts \(the largest has {totals.max()}\)"
    ):
        read(path, min_counts=1000)


def test_shallow_cells_are_no_empty_droplets(tmp_path):
    """Every cell with one count is odd, but legal."""
    matrix = np.eye(10, 7, k=0, dtype=int)
    matrix[7:, 0] = 1
    path = write_10x_v3(tmp_path / "a.h5", matrix, features=[(n, GEX) for n in GENES], cells=CELLS)
    assert_counts(read(path), matrix)
