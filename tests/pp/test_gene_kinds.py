from __future__ import annotations

import pandas as pd
import pytest

from scrae.pp._gene_kinds import gene_kinds, mitochondrial

WORM = [
    "nduo-1",
    "nduo-2",
    "nduo-3",
    "nduo-4",
    "nduo-5",
    "nduo-6",
    "ndfl-4",
    "ctc-1",
    "ctc-2",
    "ctc-3",
    "ctb-1",
    "atp-6",
]
YEAST = ["COX1", "COX2", "COX3", "COB", "ATP6", "ATP8", "OLI1", "VAR1"]
MACAQUE = ["ND1", "ND2", "ND3", "ND4", "ND4L", "ND5", "ND6", "COX1", "COX2", "COX3", "CYTB", "ATP6", "ATP8"]


@pytest.mark.parametrize(
    "names",
    [
        ["MT-CO1"],
        ["mt-Co1"],
        ["Mt-co1"],
        ["mt:CoI"],
        ["mt-co1"],
        ["GRCh38_MT-ND1", "mm10___mt-Nd1"],
        WORM,
        YEAST,
        MACAQUE,
        ["ENSG00000198888", "ENSG00000210082.2", "ENSMUSG00000064351"],
    ],
    ids=["human", "mouse", "rat", "fly", "fish", "two species", "worm", "yeast", "macaque", "Ensembl"],
)
def test_mitochondrial_genes_of_a_species(names):
    genes = pd.Index(
        [*names, "ACTB", "MTOR", "Mtor", "SMT-3", "mtch-1", "ENSG00000198889", "ENSG000001988881"]
    )
    assert genes[mitochondrial(genes)].tolist() == names


def test_one_name_without_a_prefix_is_another_gene():
    assert not mitochondrial(pd.Index(["COX1", "ATP6", "ACTB"])).any()


def test_a_prefix_of_the_user():
    assert mitochondrial(pd.Index(["chrM:1", "MT-CO1"]), "chrM:").tolist() == [True, False]


def test_kinds():
    kinds = {
        "RPS14": "ribosomal", "Rpl13a": "ribosomal", "RPL36AL": "ribosomal", "GRCh38_RPLP1": "ribosomal",
        "HBB": "hemoglobin", "HBA1": "hemoglobin", "Hba-a1": "hemoglobin", "Hbb-bs": "hemoglobin",
        "FOS": "stress", "Junb": "stress", "HSPA1A": "stress", "MT-ND1": "mitochondrial",
        "RPS6KA1": "", "HBEGF": "", "RPL": "", "MT1X": "", "CD3D": "",
    }  # fmt: skip
    assert gene_kinds(pd.Index(list(kinds))).tolist() == list(kinds.values())
