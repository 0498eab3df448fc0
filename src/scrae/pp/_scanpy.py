"""scanpy's flavours of highly variable genes, in the one shape of `scrae.gene_selection`."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from scrae.errors import ScraeWarning
from scrae.gene_selection import GeneFit, GeneScores, deviance
from scrae.gene_selection._result import scores_of, spread

__all__ = ["pearson_residuals", "seurat_v3"]

_SPANS = (0.3, 0.5, 0.75, 1.0)  # the first is scanpy's; a wider one smooths over more genes of like mean


def pearson_residuals(counts: sparse.csr_matrix, *, n_top_genes: int) -> GeneScores:
    """Variance of the Pearson residuals of a null model of the counts (Lause et al. 2021), from raw counts."""
    data, kept, notes = _expressed(counts)
    table = sc.experimental.pp.highly_variable_genes(
        data, flavor="pearson_residuals", n_top_genes=data.n_vars, check_values=False, inplace=False
    )
    name = "residual_variances"
    return _scores(table, name, "variance of the Pearson residuals", name, kept, n_top_genes, notes)


def seurat_v3(counts: sparse.csr_matrix, *, n_top_genes: int) -> GeneScores:
    """Variance against a loess curve over the mean (Stuart et al. 2019), from raw counts.

    The curve cannot be fitted where many genes have the same mean and variance, as in shallow or few cells. A
    wider span is then taken; where none helps, the genes are ranked by deviance.

    Warns
    -----
    ScraeWarning
        A span wider than scanpy's 0.3 was needed, or deviance.
    """
    data, kept, notes = _expressed(counts)
    varying = int((data.X.max(axis=0).toarray() != data.X.min(axis=0).toarray()).sum())
    enough = (
        int(_SPANS[0] * varying) >= 1
    )  # without a gene in its span scikit-misc's loess crashes the process
    problem = "" if enough else f"{varying} genes vary"
    for span in _SPANS if enough else ():
        try:
            table = sc.pp.highly_variable_genes(
                data,
                flavor="seurat_v3",
                n_top_genes=data.n_vars,
                span=span,
                check_values=False,
                inplace=False,
            )
        except ValueError as error:  # scikit-misc hands on what its Fortran says
            problem = problem or " ".join(str(error).removeprefix("b").strip("'\". ").split())
            continue
        if span != _SPANS[0]:
            notes.append(_instead(problem, f"span {span}"))
        name = "variances_norm"
        return _scores(table, name, "normalised variance", name, kept, n_top_genes, notes)
    result = deviance(counts, n_top_genes=n_top_genes)
    return replace(result, notes=(*result.notes, _instead(problem, "deviance")))


def _instead(problem: str, what: str) -> str:
    """Warn that seurat_v3 could not do as asked, and return the same for the notes."""
    said = f"the loess curve of seurat_v3 failed at span {_SPANS[0]} ({problem}), so {what} was taken"
    warnings.warn(
        f"Gene selection: {said}; look at the genes, or choose another method.", ScraeWarning, stacklevel=4
    )
    return said


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


def _scores(
    table: Any,
    score: str,
    statistic_name: str,
    statistic: str,
    kept: NDArray[np.bool_],
    n_top_genes: int,
    notes: list[str],
) -> GeneScores:
    value = table[score].to_numpy(dtype=np.float64)
    return scores_of(
        np.where(np.isnan(value), -np.inf, value),  # NaN: the gene does not vary, or none is like it
        kept=kept,
        choice=n_top_genes,
        fit=GeneFit(
            mean=spread(table["means"].to_numpy(dtype=np.float64), kept, 0.0),
            statistic=spread(table[statistic].to_numpy(dtype=np.float64), kept, np.nan),
            statistic_name=statistic_name,
        ),
        notes=notes,
    )
