"""Whether names are those of genes or of cells, so that genes are not clustered in the place of cells."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from scrae.errors import ScraeError
from scrae.io.names import some, unwrap

__all__ = ["mostly_cells", "mostly_genes", "refuse_genes_as_cells"]

_LOOKED_AT = 20_000  # names, spread over all
_LONGEST = 100  # characters of a name
_LEAST_SHARE = (
    0.002  # of names that are well-known genes; ribosomal and mitochondrial ones alone are about 0.5 %
)

_GENE = re.compile(
    # an assembly, or the type of the feature in a GFF file
    r"((GRC[a-z]+\d+|[a-z]{2}\d{1,2})_+|(gene|transcript)[:-])?("
    # identifiers: Ensembl of any species, fly, worm, yeast, plants, malaria, NCBI, zebrafish, mouse, spike-ins
    r"ENS[A-Z]*[GT]\d{6,}([._|:-].*)?|\S+[_|:]ENS[A-Z]*G\d{6,}(\.\d+)?|FBgn\d{7}|WBGene\d{8}|Y[A-P][LR]\d{3}[WC](-[A-Z])?"
    r"|AT[1-5MC]G\d{5}(\.\d+)?|PF3D7_\d{7}|Glyma\.\d\dG\d{6}|Solyc\d\dg\d{6}|TGME49_\d{6}|DDB_G\d{7}|A[CLFP]\d{6}\.\d+"
    r"|Os\d\dg\d{7}|Zm\d{5}\w{1,2}\d{6}|LOC\d{6,}|ZDB-GENE-\d{6}-\d+|MGI:\d+|ERCC-\d{5}|[NX][MR]_\d{6,}(\.\d+)?"
    # gene models without a symbol: fly, worm, mouse
    r"|C[GR]\d{4,5}|(?:[BCDEFHKMRTWY]\d{1,3}[A-H]\d{1,2}|Y\d+[A-Z]\d+[A-Z]+|ZK\d+|ZC\d+)\.\d+[a-z]?|\d{7}[A-P]\d\dRik|Gm\d{4,5}"
    # mitochondrial genes: human, mouse and fish, rat; fly; worm
    r"|(MT|mt|Mt)-(A[Tt][Pp]|C[Oo]|C[Yy][Tt]?[Bb]|N[Dd]|R[Nn][Rr]|T|a[Tt]p|c[oy]|n[dD]|rnr)\w*|mt:[A-Za-z]\S*|(nduo|ctc|ctb)-\d+"
    # ribosomal proteins: human, mouse, yeast and fish; fly; worm
    r"|(RP[LS]|Rp[ls]|rp[ls])\d+[A-Za-z]{0,2}\d?|Rp[LS]\d+[A-Za-z]*|rp[ls]-\d+(\.\d+)?|(RP|Rp|rp)lp[012][ab]?|RPLP[012]|Rplp[012]"
    # genes that are found in nearly every data set
    r"|ACTB|Actb|actb[12]|ACTG1|Actg1|GAPDH|Gapdh|gapdhs?|Gapdh[12]|MALAT1|Malat1|XIST|Xist|B2M|B2m|TMSB4X|Tmsb4x|EEF1A1|Eef1a1"
    r"|eef1a1l1|eEF1alpha1|eef-1A\.1|Act5C|act-[1-5]|unc-\d+|TDH[123]|tmsb4x|alphaTub84B|αTub84B)"
)
_BARCODE = re.compile(r"(.*[_#:.-])?([ACGTN]{8,}|[ACGT]{6,}([_.-][ACGT]{6,})+)([_.-][A-Za-z0-9]+)*")
_CELL = re.compile(
    r"[SED]RR\d{5,}\S*|GSM\d{5,}\S*"
    r"|[A-Za-z0-9]*[_. -]?(cell|barcode|sample|well|plate|donor|patient|nucleus|spot|bc)s?[_. -]?\w*"
    r"|[0-9a-f]{8}-[0-9a-f-]{27}|(.*[_.-])?(?-i:[A-P])(0[1-9]|1\d|2[0-4])",
    re.IGNORECASE,
)

# Columns and names of indices that describe genes, and those that describe cells.
_OF_GENES = re.compile(
    r"gene|genes|geneid|symbol|gene_(ids?|names?|symbols?|short_name|type|biotype)|ensembl_ids?|feature_types?|highly_variable"
    r"|n_cells_by_counts"
)
_OF_CELLS = re.compile(
    r"barcodes?|cell_?id|n_genes_by_counts|pct_counts_mt|ncount_rna|nfeature_rna|orig\.ident|leiden|louvain"
)


def mostly_genes(names: Sequence[str] | pd.Index) -> bool:
    """Whether names hold genes that are well known, or identifiers of genes."""
    looked_at = _spread(names)
    return _hits(_GENE, looked_at) >= max(2 if len(looked_at) > 4 else 1, _LEAST_SHARE * len(looked_at))


def mostly_cells(names: Sequence[str] | pd.Index, *, sure: bool = False) -> bool:
    """Whether more than half of the names are barcodes; if not `sure`, also ``cell_1``, ``GSM1234567`` or ``B12``."""
    looked_at = _spread(names)
    hits = sum(
        _BARCODE.fullmatch(name) is not None or (not sure and _CELL.fullmatch(name) is not None)
        for name in looked_at
    )
    return hits > 0.5 * len(looked_at)


def refuse_genes_as_cells(adata: AnnData) -> None:
    """Raise ScraeError where ``obs`` describes genes and ``var`` does not, or this describes cells.

    Names count more than columns.
    """
    rows_are_genes, columns_are_genes = mostly_genes(adata.obs_names), mostly_genes(adata.var_names)
    rows_are_cells = mostly_cells(adata.obs_names)
    cells_in_columns = mostly_cells(adata.var_names, sure=True) and not rows_are_cells
    by_names = (rows_are_genes and not columns_are_genes) or cells_in_columns
    is_open = not (rows_are_genes or columns_are_genes or rows_are_cells)
    if by_names or (is_open and _described(adata.obs, adata.var) and not _described(adata.var, adata.obs)):
        raise ScraeError(
            f"expected one row per cell, found genes in the rows ({some(adata.obs_names)}) and cells in the columns "
            f"({some(adata.var_names)}); transpose it: adata = adata.T"
        )


def _described(rows: pd.DataFrame, columns: pd.DataFrame) -> bool:
    """Whether the table of rows describes genes, or that of columns describes cells."""
    of_rows, of_columns = (
        [str(name).lower() for name in (table.index.name, *table.columns)] for table in (rows, columns)
    )
    return _hits(_OF_GENES, of_rows) > 0 or _hits(_OF_CELLS, of_columns) > 0


def _spread(names: Sequence[str] | pd.Index) -> list[str]:
    """At most some thousands of the names, spread over all, without quotes and blanks around them."""
    step = max(1, len(names) // _LOOKED_AT)
    return [unwrap(str(name)[:_LONGEST]) for name in np.asarray(names, dtype=object)[::step]]


def _hits(pattern: re.Pattern[str], names: Sequence[str]) -> int:
    return sum(pattern.fullmatch(name) is not None for name in names)
