"""Sparse matrices in the forms that the publishers chose, made small; every count and label is compared."""

from __future__ import annotations

import gzip
import io

import h5py
import numpy as np
import pytest
from helpers.published import GENES, counts_of, is_counts, tenx_archive, tenx_lists
from scipy import sparse
from scipy.io import savemat

from scrae.datasets import CATALOGUE, convert
from scrae.errors import ScraeError


def test_zheng68k_is_a_10x_archive_and_an_annotation(tmp_path):
    counts, barcodes = counts_of(9, 3), ["AAACATACACCCAA-1", "AAACATACCCCTCA-1", "AAACATACCGGAGA-1"]
    archive, annotation = (tmp_path / file.name for file in CATALOGUE["zheng68k"].files)
    tenx_archive(archive, tenx_lists(counts, barcodes))
    rows = [
        f"{n}.5\t-1.2\t{kind}\t{cell}" for n, (kind, cell) in enumerate(zip("XYX", barcodes, strict=True))
    ]
    annotation.write_text("\n".join(["TSNE.1\tTSNE.2\tcelltype\tbarcodes", *rows]) + "\n")
    adata = convert("zheng68k", [annotation, archive])
    is_counts(adata, counts)
    assert list(adata.obs["cell_type"]) == ["X", "Y", "X"]
    assert list(adata.var_names) == ["ACTB", "MALAT1", "SOX2", "SOX2-1", "NANOG"]
    assert adata.var["gene_ids"].iloc[3] == "ENSG00000000003"


def test_zheng73k_is_eight_10x_archives_or_folders(tmp_path):
    files, parts = CATALOGUE["zheng73k"].files, []
    for number, file in enumerate(files):
        counts = counts_of(number, 2)
        lists = tenx_lists(counts, ["AAACATACACCCAA-1", f"AAACATACCCCTCA-{number}"])
        if number == 3:  # unpacked, under the archive's name
            folder = tmp_path / file.name.removesuffix(".tar.gz") / "filtered_matrices_mex" / "hg19"
            folder.mkdir(parents=True)
            for name, text in lists.items():
                (folder / name).write_text(text)
        else:
            tenx_archive(tmp_path / file.name, lists)
        parts.append(counts)
    adata = convert("zheng73k", [tmp_path])
    is_counts(adata, np.vstack(parts))
    assert adata.obs["cell_type"].nunique() == 8
    assert adata.obs["cell_type"].iloc[7] == "CD4+/CD25+ regulatory T cells"
    assert adata.obs_names.is_unique
    assert "gene_ids" in adata.var


def test_an_annotation_of_another_form_is_refused(tmp_path):
    archive, annotation = (tmp_path / file.name for file in CATALOGUE["zheng68k"].files)
    tenx_archive(archive, tenx_lists(counts_of(9, 1), ["AAACATACACCCAA-1"]))
    annotation.write_text("barcode\tcelltype\nAAACATACACCCAA-1\tX\n")
    with pytest.raises(
        ScraeError, match=r"has the columns 'barcode', 'celltype'; expected 'barcodes' and 'celltype'\."
    ):
        convert("zheng68k", [tmp_path])


def test_an_archive_without_a_matrix_is_refused(tmp_path):
    archive, annotation = (tmp_path / file.name for file in CATALOGUE["zheng68k"].files)
    tenx_archive(archive, {"genes.tsv": "ENSG1\tACTB\n"})
    annotation.write_text("celltype\tbarcodes\nX\tAAAC-1\n")
    with pytest.raises(ScraeError, match=r"tar\.gz holds 0 files matrix\.mtx; expected one"):
        convert("zheng68k", [tmp_path])


@pytest.mark.parametrize("name", ["cao", "han"])
def test_cao_and_han_are_hdf5_with_x_and_y(tmp_path, name):
    counts, path = counts_of(13, 3), tmp_path / CATALOGUE[name].files[0].name
    with h5py.File(path, "w") as file:
        file["X"], file["Y"] = counts.astype(float), np.array([10.0, 2.0, 2.0])
    adata = convert(name, [path])
    is_counts(adata, counts)
    assert list(adata.obs["cell_type"]) == ["10", "2", "2"]
    assert list(adata.var_names[:2]) == ["gene_0", "gene_1"]


def test_an_hdf5_of_another_form_is_refused(tmp_path):
    path = tmp_path / "worm_neuron_cell.h5"
    with h5py.File(path, "w") as file:
        file["X"] = np.ones((2, 2))
    with pytest.raises(ScraeError, match=r"holds 'X'; expected X \(counts\) and Y \(types\)"):
        convert("cao", [path])


@pytest.mark.parametrize("packed", [True, False])
def test_rosenberg_is_a_matlab_file(tmp_path, packed):
    counts = counts_of(15, 3)
    holder = io.BytesIO()
    savemat(
        holder,
        {
            "DGE": sparse.csc_matrix(counts.astype(float)),
            "genes": np.array([f"{gene:10}" for gene in GENES]),
            "barcodes": np.array([[50, 7, 912]]),
            "sample_type": np.array(["p2_brain ", "p11_brain", "p2_spine "]),
            "cluster_assignment": np.array(["1 OB Mitral ", "53 Unresolv ", "1 OB Mitral "]),
        },
    )
    name = CATALOGUE["rosenberg"].files[0].name
    path = tmp_path / (name if packed else name.removesuffix(".gz"))
    path.write_bytes(gzip.compress(holder.getvalue()) if packed else holder.getvalue())
    adata = convert("rosenberg", [path])
    is_counts(adata, counts)
    assert list(adata.obs["cell_type"]) == ["1 OB Mitral", "53 Unresolv", "1 OB Mitral"]
    assert list(adata.obs["sample_type"]) == ["p2_brain", "p11_brain", "p2_spine"]
    assert list(adata.obs_names) == ["50", "7", "912"]
    assert list(adata.var_names) == GENES


def test_a_matlab_file_of_other_variables_is_refused(tmp_path):
    path = tmp_path / "GSM3017261_150000_CNS_nuclei.mat"
    savemat(path, {"DGE": np.ones((2, 2)), "genes": np.array(["a", "b"])})
    with pytest.raises(
        ScraeError, match=r"has no 'barcodes', 'sample_type', 'cluster_assignment'; expected 'DGE'"
    ):
        convert("rosenberg", [path])


def test_normalised_values_are_refused(tmp_path):
    path = tmp_path / "worm_neuron_cell.h5"
    with h5py.File(path, "w") as file:
        file["X"], file["Y"] = np.array([[1.0, 0.3], [2.0, 1.0]]), np.ones(2)
    with pytest.raises(ScraeError, match=r"The matrix of cao .*0\.3"):
        convert("cao", [path])
