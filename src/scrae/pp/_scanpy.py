"""scanpy's Pearson residuals, in the one shape of `scrae.gene_selection`."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from scrae.gene_selection import GeneFit, GeneScores
from scrae.gene_selection._result import expand, rank_genes

__all__ = ["pearson_residuals"]


def pearson_residuals(counts: sparse.csr_matrix, *, n_top_genes: int) -> GeneScores:
    """Variance of the Pearson residuals of a null model of the counts (Lause et al. 2021), from raw counts."""
    import scanpy as sc  # here: seconds of each worker of a cluster, which has no use for it

    data, kept, notes = _expressed(counts)
    table = sc.experimental.pp.highly_variable_genes(
        data, flavor="pearson_residuals", n_top_genes=data.n_vars, check_values=False, inplace=False
    )
    value = table["residual_variances"].to_numpy(dtype=np.float64)
    return rank_genes(
        np.where(np.isnan(value), -np.inf, value),  # NaN: the gene does not vary
        kept=kept,
        choice=n_top_genes,
        fit=GeneFit(
            mean=expand(table["means"].to_numpy(dtype=np.float64), kept, 0.0),
            statistic=expand(value, kept, np.nan),
            statistic_name="variance of the Pearson residuals",
        ),
        notes=notes,
    )


def _expressed(values: sparse.csr_matrix) -> tuple[AnnData, NDArray[np.bool_], list[str]]:
    """Drop genes and cells without any count. Returns the rest, the genes kept [genes], and what was dropped."""
    genes = values.getnnz(axis=0) > 0
    cells = values.getnnz(axis=1) > 0
    dropped = {"genes": int((~genes).sum()), "cells": int((~cells).sum())}
    notes = [f"{number} {kind} without any count dropped" for kind, number in dropped.items() if number]
    rest = values[cells][:, genes] if notes else values
    return AnnData(rest, obs=_numbered(rest.shape[0]), var=_numbered(rest.shape[1])), genes, notes


def _numbered(length: int) -> pd.DataFrame:
    return pd.DataFrame(index=pd.RangeIndex(length).astype(str))
