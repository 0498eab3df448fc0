"""Text tables in the forms that the publishers chose, made small; every count and label is compared."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import numpy as np
import pytest
from helpers.published import GENES, counts_of, is_counts, notes

from scrae.datasets import CATALOGUE, convert
from scrae.errors import ScraeError


def klein(folder: Path) -> list[np.ndarray]:
    """Four csv.bz2 without a header: a gene a row, its name first."""
    samples = [counts_of(seed, n_cells) for seed, n_cells in enumerate((4, 2, 3, 1))]
    for file, counts in zip(CATALOGUE["klein"].files, samples, strict=True):
        lines = [f"{gene},{','.join(map(str, column))}" for gene, column in zip(GENES, counts.T, strict=True)]
        (folder / file.name).write_bytes(bz2.compress("\n".join(lines).encode()))
    return samples


def test_klein_is_a_csv_bz2_a_sample(tmp_path):
    samples = klein(tmp_path)
    adata = convert("klein", [tmp_path])
    is_counts(adata, np.vstack(samples))
    assert list(adata.obs["cell_type"]) == ["d0"] * 4 + ["d2"] * 2 + ["d4"] * 3 + ["d7"]
    assert list(adata.var_names) == GENES
    assert list(adata.obs_names[[0, 4, 9]]) == ["d0_1", "d2_1", "d7_1"]


def test_what_differs_from_the_paper_is_said(tmp_path):
    klein(tmp_path)
    said = notes(convert("klein", [tmp_path]))
    assert "10 cells are here; the paper's table says 2717." in said
    assert "5 genes are here; the paper's table says 24175." in said
    assert "types are here" not in said
    assert "Klein-2k: Klein et al., Cell 161 (2015)" in said


def test_samples_with_other_genes_are_refused(tmp_path):
    klein(tmp_path)
    other = tmp_path / CATALOGUE["klein"].files[2].name
    other.write_bytes(bz2.compress(b"Actb,1,2\nSox2,0,1\n"))
    with pytest.raises(
        ScraeError, match=r"d4_LIFminus.* lists other genes \(2: 'Actb', 'Sox2'\) than GSM1599494"
    ):
        convert("klein", [tmp_path])


def zeisel(path: Path, groups: list[int], counts: np.ndarray) -> None:
    """Annotation rows with an empty first field, an empty row, then gene, cluster, counts."""
    cells = [f"1772_{n}" for n in range(len(groups))]
    rows = [
        ["", "tissue", *["sscortex"] * len(cells)],
        ["", "group #", *map(str, groups)],
        ["", "total mRNA mol", *map(str, counts.sum(axis=1))],
        ["", "cell_id", *cells],
        ["", "level1class", *[f"class{g}" for g in groups]],
        [""] * (len(cells) + 2),
        *([gene, "1", *map(str, column)] for gene, column in zip(GENES, counts.T, strict=True)),
    ]
    path.write_text("".join("\t".join(row) + "\r\n" for row in rows))


def test_zeisel_is_a_table_with_annotation_rows(tmp_path):
    path, counts = tmp_path / "expression_mRNA_17-Aug-2014.txt", counts_of(3, 4)
    zeisel(path, [1, 9, 2, 1], counts)
    adata = convert("zeisel", [path])
    is_counts(adata, counts)
    assert list(adata.obs["cell_type"]) == ["interneurons", "mural", "S1 pyramidal", "interneurons"]
    assert list(adata.obs["level1class"]) == ["class1", "class9", "class2", "class1"]
    assert list(adata.obs_names) == ["1772_0", "1772_1", "1772_2", "1772_3"]
    assert list(adata.var_names) == GENES


def test_a_table_without_groups_is_refused(tmp_path):
    path = tmp_path / "expression_mRNA_17-Aug-2014.txt"
    path.write_text("\ttissue\tx\ty\nActb\t1\t2\t3\n")
    with pytest.raises(ScraeError, match="annotation rows 'tissue'; expected 'group #' and 'cell_id'"):
        convert("zeisel", [path])


def segerstolpe(folder: Path, counts: np.ndarray) -> None:
    cells = [f"AZ_{n}" for n in range(len(counts))]
    rpkms = counts * 2.5
    lines = ["\t".join(["#samples", *cells])]
    for gene, rpkm, column in zip(["INS", "GCG", "INS", "KRT19", "eGFP"], rpkms.T, counts.T, strict=True):
        lines.append("\t".join([gene, f"NM_{gene}", *map(str, rpkm), *map(str, column)]))
    (folder / "pancreas_refseq_rpkms_counts_3514sc.txt").write_text("\n".join(lines) + "\n")
    types = ["alpha cell", "not applicable", "beta cell"]
    rows = [f"{cell}\tHomo sapiens\t{kind}" for cell, kind in zip(cells, types, strict=True)]
    head = "Source Name\tCharacteristics [organism]\tCharacteristics [cell type]"
    (folder / "E-MTAB-5061.sdrf.txt").write_text("\n".join([head, *reversed(rows)]) + "\n")


def test_segerstolpe_is_rpkms_and_counts_with_an_sdrf(tmp_path):
    counts = counts_of(5, 3)
    segerstolpe(tmp_path, counts)
    adata = convert("segerstolpe", [tmp_path])
    is_counts(adata, counts[:, [0, 1, 3]])  # INS again and eGFP are left out
    assert list(adata.var_names) == ["INS", "GCG", "KRT19"]
    assert list(adata.obs["cell_type"]) == ["alpha cell", "not applicable", "beta cell"]


@pytest.mark.parametrize(("name", "file", "text", "said"), [
    ("zeisel", 0, "\ttissue\tx\n\tgroup #\t1\n", "ends before its first gene; it is cut short."),
    ("zeisel", 0, "\tgroup #\t1\t2\n\tcell_id\ta\tb\nActb\t1\t3\n", "could not be read as a table with annotation"),
    ("segerstolpe", 0, "gene\tAZ_0\nINS\t1\n", "begins with 'gene'; expected '#samples' and the names of the"),
    ("baron", 0, ",barcode,Actb\nc1,ACGT,1\n", "has no column 'assigned_cluster'; it begins with 'barcode', 'Actb'."),
    ("macosko", 1, "r1_ACGT 24 x\n", "has 3 columns; expected a cell and its cluster."),
])  # fmt: skip
def test_tables_of_another_form_are_refused(tmp_path, name, file, text, said):
    for number, source in enumerate(CATALOGUE[name].files):
        (tmp_path / source.name.removesuffix(".gz")).write_text(text if number == file else "")
    with pytest.raises(ScraeError) as caught:
        convert(name, [tmp_path])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_text_where_counts_stand_is_refused(tmp_path):
    klein(tmp_path)
    (tmp_path / CATALOGUE["klein"].files[1].name).write_bytes(bz2.compress(b"Actb,1,many\nSox2,0,1\n"))
    with pytest.raises(ScraeError, match="could not be read as a csv without a header, a gene a row"):
        convert("klein", [tmp_path])


def test_an_sdrf_without_cell_types_is_refused(tmp_path):
    segerstolpe(tmp_path, counts_of(5, 3))
    (tmp_path / "E-MTAB-5061.sdrf.txt").write_text("Source Name\tage\nAZ_0\t3\n")
    with pytest.raises(
        ScraeError, match=r"has the columns 'Source Name', 'age'; expected 'Source Name' and 'Charac"
    ):
        convert("segerstolpe", [tmp_path])


def test_baron_is_a_csv_gz_a_donor(tmp_path):
    donors = [counts_of(seed, n_cells) for seed, n_cells in enumerate((3, 1, 2, 2))]
    for number, (file, counts) in enumerate(zip(CATALOGUE["baron"].files, donors, strict=True), 1):
        lines = ['"","barcode","assigned_cluster",' + ",".join(f'"{gene}"' for gene in GENES)]
        for cell, row in enumerate(counts):
            kind = "beta" if cell == 0 else "t_cell"
            lines.append(
                f'"human{number}_lib1.final_cell_{cell}","ACGT-TT","{kind}",' + ",".join(map(str, row))
            )
        (tmp_path / file.name).write_bytes(gzip.compress("\n".join(lines).encode()))
    adata = convert("baron", [tmp_path / file.name for file in reversed(CATALOGUE["baron"].files)])
    is_counts(adata, np.vstack(donors))
    assert list(adata.obs["donor"]) == ["human1"] * 3 + ["human2"] + ["human3"] * 2 + ["human4"] * 2
    assert list(adata.obs["cell_type"][:4]) == ["beta", "t_cell", "t_cell", "beta"]
    assert adata.obs["barcode"].iloc[0] == "ACGT-TT"
    assert list(adata.var_names) == GENES


def test_tables_may_be_unpacked(tmp_path):
    samples = klein(tmp_path)
    for file in CATALOGUE["klein"].files:
        path = tmp_path / file.name
        path.with_suffix("").write_bytes(bz2.decompress(path.read_bytes()))
        path.unlink()
    is_counts(convert("klein", [tmp_path]), np.vstack(samples))


def test_macosko_is_a_table_and_a_list_of_clusters(tmp_path):
    counts, cells = counts_of(7, 4), [f"r1_GGCCGCAGTCC{base}" for base in "ACGT"]
    lines = ["\t".join(["gene", *cells])]
    lines += ["\t".join([gene.upper(), *map(str, c)]) for gene, c in zip(GENES, counts.T, strict=True)]
    table, clusters = (file.name for file in CATALOGUE["macosko"].files)
    (tmp_path / table).write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    (tmp_path / clusters).write_text(f"{cells[2]}\t24\n{cells[0]}\t39\nr9_GGCCGCAGTCCA\t1\n{cells[3]}\t24\n")
    adata = convert("macosko", [tmp_path])
    is_counts(adata, counts[[0, 2, 3]])
    assert list(adata.obs["cell_type"]) == ["39", "24", "24"]
    assert "1 cells without a label in retina_clusteridentities.txt were left out." in notes(adata)


def test_clusters_of_other_cells_are_refused(tmp_path):
    table, clusters = (file.name for file in CATALOGUE["macosko"].files)
    (tmp_path / table).write_bytes(gzip.compress(b"gene\tc1\tc2\nACTB\t1\t2\nSOX2\t0\t1\n"))
    (tmp_path / clusters).write_text("d1\t1\nd2\t2\n")
    with pytest.raises(
        ScraeError, match=r"names none of the cells \('d1', 'd2' there, 'c1', 'c2' in the counts\)"
    ):
        convert("macosko", [tmp_path])
