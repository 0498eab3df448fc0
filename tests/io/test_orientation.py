"""Genes are not taken for cells: known by the identifiers and common genes of many organisms, or by barcodes."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from helpers.count_files import CELLS, GENES, counts

from scrae.errors import ScraeError, ScraeWarning
from scrae.io import read, use_counts
from scrae.io.names import unwrap
from scrae.io.orientation import mostly_cells, mostly_genes

OF_GENES = {
    "human": ["TP53", "RPL13", "RPS27A", "EEF1A1", "MT-ND1", "CD3D", "LYZ"],
    "mouse": ["Xkr4", "Sox17", "Rpl7", "Rps6", "mt-Co1", "Gm1992", "0610007P14Rik"],
    "rat": ["Rpl13", "Rps4x", "Mt-co1", "Mt-nd4l", "Actb", "Cd3d", "Lyz2"],
    "zebrafish": ["rpl13", "rps3a", "mt-co1", "actb2", "si:dkey-1", "eef1a1l1", "cdh1"],
    "fly": ["RpL13", "RpS3", "mt:CoI", "Act5C", "CG1000", "CR41540", "nAChRalpha1"],
    "fly ids": [f"FBgn{n:07d}" for n in range(7)],
    "worm": ["rpl-13", "rps-3", "nduo-6", "act-1", "F54D5.1", "ZK1320.10", "Y48G1A.2"],
    "worm ids": [f"WBGene{n:08d}" for n in range(7)],
    "yeast": ["YAL001C", "YBR020W", "TDH3", "RPL13A", "RPS3", "YDL133C-A", "ACT1"],
    "arabidopsis": [f"AT1G{n:05d}" for n in range(7)],
    "malaria": [f"PF3D7_{n:07d}" for n in range(7)],
    "chicken": [f"ENSGALG{n:011d}.2" for n in range(7)],
    "fish ids": [f"ENSDARG{n:011d}" for n in range(7)],
    "refseq": [f"NM_{n:06d}.3" for n in range(7)],
    "assembly": [f"GRCh38_{name}" for name in ("TP53", "RPL13", "ACTB", "CD3D", "LYZ", "IL7R", "GNLY")],
    "joined": [f"ENSG{n:011d}_GENE{n}" for n in range(7)],
    "joined behind": [f"GENE{n}|ENSMUSG{n:011d}.3" for n in range(7)],
    "transcripts": [f"ENST{n:011d}.2" for n in range(7)],
    "gff": [f"gene:AT1G{n:05d}" for n in range(7)],
    "soybean": [f"Glyma.01G{n:06d}" for n in range(7)],
    "tomato": [f"Solyc01g{n:06d}" for n in range(7)],
    "toxoplasma": [f"TGME49_{n:06d}" for n in range(7)],
    "slime mold": [f"DDB_G{n:07d}" for n in range(7)],
    "clones": [f"AC{n:06d}.1" for n in range(7)],
    "quoted": ['"ACTB"', '"GAPDH"', '"x1"', '"x2"', '"x3"', '"x4"', '"x5"'],
}
OF_CELLS = {
    "10x": CELLS,
    "prefix": [f"donor1_{cell}" for cell in CELLS],
    "drop-seq": [cell.removesuffix("TTGCATGC-1") + "ACGTACGT" for cell in CELLS],
    "inDrop": [f"{cell[:8]}-{cell[4:12]}" for cell in CELLS],
    "combined": [f"lib#{cell}" for cell in CELLS],
}


@pytest.mark.parametrize("names", OF_GENES.values(), ids=OF_GENES)
def test_a_table_with_known_genes_in_its_rows(tmp_path, names):
    pd.DataFrame(counts().T, index=names, columns=[f"s{n}" for n in range(10)]).to_csv(tmp_path / "a.csv")
    with pytest.raises(ScraeError, match=r"has genes in its rows .*Say transpose=True \(--transpose\)"):
        read(tmp_path / "a.csv")
    assert [n.strip('"') for n in names] == list(read(tmp_path / "a.csv", transpose=True).var_names)


@pytest.mark.parametrize("names", OF_CELLS.values(), ids=OF_CELLS)
def test_a_table_with_barcodes_in_its_columns(tmp_path, names):
    pd.DataFrame(counts().T, index=[f"x{n}" for n in range(7)], columns=names).to_csv(tmp_path / "a.csv")
    with pytest.raises(ScraeError, match="has genes in its rows"):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("corner", "columns"),
    [
        ("gene", [f"x{n}" for n in range(10)]),
        ("", [f"cell_{n}" for n in range(10)]),
        ("Symbol", [f"A{n:02d}" for n in range(10)]),
    ],
)
def test_a_doubt_is_a_warning_with_the_remedy(tmp_path, corner, columns):
    unknown = [f"z{n}" for n in range(7)]
    pd.DataFrame(counts().T, index=unknown, columns=columns).to_csv(tmp_path / "a.csv", index_label=corner)
    with pytest.warns(
        ScraeWarning, match=r"names do not show whether rows are cells .* say transpose=True \(--transpose\)"
    ):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize(
    "cells", [CELLS, [f"cell{n}" for n in range(10)], [f"SRR{n}12345" for n in range(10)]]
)
def test_cells_that_are_known_raise_no_doubt(tmp_path, cells):
    pd.DataFrame(counts(), index=cells, columns=[f"x{n}" for n in range(7)]).to_csv(tmp_path / "a.csv")
    assert read(tmp_path / "a.csv").n_obs == 10


def test_an_anndata_and_an_h5ad_with_genes_in_the_rows(tmp_path):
    adata = AnnData(
        counts().T.astype(np.float32), obs=pd.DataFrame(index=GENES), var=pd.DataFrame(index=CELLS)
    )
    message = r"expected one row per cell, found genes in the rows .*; transpose it: adata = adata.T"
    with pytest.raises(ScraeError, match=message):
        use_counts(adata)
    adata.write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(ScraeError, match=message):
        read(tmp_path / "a.h5ad")


@pytest.mark.parametrize("of_rows", [True, False])
def test_columns_tell_genes_from_cells_where_names_do_not(of_rows):
    adata = AnnData(
        counts().T.astype(np.float32),
        obs=pd.DataFrame({"gene_ids" if of_rows else "x": "a"}, index=[str(100 + n) for n in range(7)]),
        var=pd.DataFrame({"y" if of_rows else "nCount_RNA": 1}, index=[f"S{n}" for n in range(10)]),
    )
    with pytest.raises(ScraeError, match="expected one row per cell, found genes in the rows"):
        use_counts(adata)
    adata.var["gene_ids"] = "b"  # the tables contradict each other
    adata.obs["nCount_RNA"] = 1
    use_counts(adata)


def test_columns_do_not_outweigh_names():
    adata = AnnData(
        counts().astype(np.float32),
        obs=pd.DataFrame({"symbol": "a"}, index=CELLS),
        var=pd.DataFrame(index=[f"x{n}" for n in range(7)]),
    )
    use_counts(adata)


def test_names_that_are_neither():
    words = ["alpha", "beta", "s1", "g1", "A1", "CA1", "C1", "P2RX7", "1", "2"]
    assert not mostly_genes(words)
    assert not mostly_cells(words)
    assert not mostly_cells(GENES)
    assert not mostly_genes(CELLS)


def test_long_names_take_no_time():
    assert not mostly_genes(["ACGT" * 500 + "!"] * 10)
    assert not mostly_cells(["ACGTACGT" + "_a" * 45 + "!"] * 10)


@pytest.mark.parametrize(
    ("name", "bare"),
    [
        ('"ACTB"', "ACTB"), ("'ACTB' ", "ACTB"), ("\ufeffACTB", "ACTB"), ("\xa0ACTB\t", "ACTB"), ("b'ACTB'", "ACTB"),
        ('\ufeff" ACTB"', "ACTB"), ("“ACTB”", "ACTB"), ("`MT-CO1`", "MT-CO1"), ("5'", "5'"), ("T cell", "T cell"),
        ('""', ""), ('"', '"'), ("'a'b'", "a'b"), ("", ""),
    ],
)  # fmt: skip
def test_names_without_what_is_around_them(name, bare):
    assert unwrap(name) == bare


def test_wrapped_names_of_an_h5ad_are_noted(tmp_path):
    adata = AnnData(
        counts().astype(np.float32),
        obs=pd.DataFrame(index=[f'"{cell}"' for cell in CELLS]),
        var=pd.DataFrame(index=[f" {gene}" for gene in GENES]),
    )
    adata.write_h5ad(tmp_path / "a.h5ad")
    result = read(tmp_path / "a.h5ad")
    assert (list(result.obs_names), list(result.var_names)) == (CELLS, GENES)
    assert any(re.match("10 cell names had quotes, blanks", note) for note in result.uns["scrae"]["notes"])
