"""Kinds of genes by their names: mitochondrial, ribosomal, hemoglobin, stress response."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["gene_kinds", "mitochondrial"]

# A reference of several species puts its name first, as in GRCh38_MT-CO1. MT-: human, mt- and Mt-: mouse, rat, fish,
# mt: is FlyBase's.
_MITO = re.compile(r"^(?:[A-Za-z0-9.]+_+)?(?:MT-|mt-|Mt-|mt:)")
# Genomes whose mitochondrial genes have no prefix: worm, vertebrates in Ensembl, yeast. One such name can be another
# gene's, so that most of a list must be there.
_WITHOUT_PREFIX = tuple(
    frozenset(names.split())
    for names in (
        "nduo-1 nduo-2 nduo-3 nduo-4 nduo-5 nduo-6 ndfl-4 ctc-1 ctc-2 ctc-3 ctb-1 atp-6",
        "ND1 ND2 ND3 ND4 ND4L ND5 ND6 COX1 COX2 COX3 CYTB ATP6 ATP8",
        "COX1 COX2 COX3 COB ATP6 ATP8 OLI1 VAR1",
    )
)
# The same 15 genes (13 proteins, two ribosomal RNAs) of human and mouse where genes are named by Ensembl.
_ENSEMBL = re.compile(
    r"ENSG00000(?:198888|198763|198804|198712|228253|198899|198938|198840|212907|198886|198786|198695|198727|210082|"
    r"211459)(?:\.\d+)?|"
    r"ENSMUSG000000(?:64341|64345|64351|64354|64356|64357|64358|64360|65947|64363|64367|64368|64370|64337|64339)"
    r"(?:\.\d+)?"
)
_KINDS = {
    "ribosomal": r"RP[LS]\d+[AXYL]{0,2}\d*|RPLP[012]|RPSA|FAU|UBA52",
    "hemoglobin": r"HB[ABDEGMQZ]\d?|HB[ABEZ][ABXYZ]?-(?:[ABXYZ]\w*|\d)",
    # immediate early genes and heat shock proteins that dissociation induces (van den Brink et al. 2017), and two
    # nuclear RNAs that follow the damage of a cell
    "stress": r"FOSB?|JUN[BD]?|EGR1|ATF3|IER[235]|DUSP1|ZFP36|NR4A1|BTG2|SOCS3|HSPA[168][AB]?|HSPA1L|HSPB1|HSPE1|HSPH1|"
    r"HSPD1|HSP90A[AB]1|DNAJ[AB]1|MALAT1|NEAT1",
}


def mitochondrial(gene_names: pd.Index, prefix: str | None = None) -> NDArray[np.bool_]:
    """Return which genes [genes] are mitochondrial.

    Parameters
    ----------
    gene_names : pandas.Index
        Names of all genes.
    prefix : str, optional
        What the names of mitochondrial genes begin with; None = the usual names in human, mouse, rat, fly, fish, worm
        and yeast, also behind the name of a reference (``GRCh38_MT-CO1``).
    """
    names = gene_names.astype(str)
    if prefix is not None:
        return np.asarray(names.str.startswith(prefix))
    found = np.array([bool(_MITO.match(name) or _ENSEMBL.fullmatch(name)) for name in names], dtype=bool)
    for listed in _WITHOUT_PREFIX:
        here = np.asarray(names.isin(listed))
        if 2 * here.sum() > len(listed):
            found |= here
    return found


def gene_kinds(gene_names: pd.Index) -> NDArray[np.object_]:
    """Return the kind of each gene [genes]: mitochondrial, ribosomal, hemoglobin, stress, or "" for all others."""
    names = [re.sub(r"^(?:GRCh|hg|GRCm|mm)\d+_+", "", str(name)).upper() for name in gene_names]
    kinds = np.full(len(names), "", dtype=object)
    for kind, pattern in _KINDS.items():
        whole = re.compile(pattern)
        kinds[[whole.fullmatch(name) is not None for name in names]] = kind
    kinds[mitochondrial(gene_names)] = "mitochondrial"
    return kinds
