"""Samples and conditions: sums of counts, tests between conditions within clusters, composition of the samples."""

from __future__ import annotations

import io
import warnings
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse
from scipy.stats import binomtest

from scrae.errors import ScraeError, did_you_mean
from scrae.io.notes import add_note, remove_notes
from scrae.pp._counts import counts_of
from scrae.tl._markers import clusters_of

__all__ = ["NoReplicatesError", "composition", "contrast_of", "differential_expression", "pseudobulk"]

_FEWEST_SAMPLES = 2
_FEWEST_COUNTS = 10  # of a gene over all samples of a cluster


class NoReplicatesError(ScraeError):
    """No cluster has two samples of each condition."""


def pseudobulk(
    adata: AnnData,
    *,
    sample_key: str,
    condition_key: str | None = None,
    cluster_key: str = "scrae",
    min_cells: int = 10,
) -> AnnData:
    """Sum the counts of the cells of each sample in each cluster.

    Parameters
    ----------
    adata : AnnData
        Cells with clusters, and raw counts in ``layers["counts"]``.
    sample_key : str
        Column of ``obs`` with the sample, the unit of replication: donor, animal, culture.
    condition_key : str or None
        Column of ``obs`` with the condition; a sample with cells in two conditions gives a row for each. None = only
        by samples.
    cluster_key : str
        Column of ``obs`` with the clusters.
    min_cells : int
        Leave out sums of fewer cells than this.

    Returns
    -------
    AnnData
        ``X``: int64 sums [samples x clusters, genes]. ``obs``: sample, condition and cluster under the names of their
        columns, ``n_cells``, and all other columns that are constant within the samples. This is the form that
        pydeseq2 and decoupler take.

    Raises
    ------
    ScraeError
        No such column, no counts, or no sum of at least ``min_cells`` cells.
    """
    given = (sample_key, condition_key, cluster_key)
    keys = list(dict.fromkeys(key for key in given if key is not None))
    _check_keys(adata, keys)
    obs = adata.obs[keys].assign(**{cluster_key: clusters_of(adata, cluster_key, at_least=1)}).astype(object)
    known = obs.notna().all(axis=1).to_numpy()
    groups = obs[known].astype(str).groupby(keys, sort=True)
    codes = np.full(adata.n_obs, -1)
    codes[known] = groups.ngroup()
    size = groups.size()
    kept = np.flatnonzero(size.to_numpy() >= min_cells)
    if not len(kept):
        raise ScraeError(
            f"pseudobulk: expected a sample with {min_cells} cells in a cluster, found at most {size.max()}; lower "
            "min_cells"
        )
    cells = np.flatnonzero(known)
    member = sparse.csr_matrix(
        (np.ones(len(cells), np.int64), (codes[cells], cells)), (len(size), adata.n_obs)
    )
    table = size.rename("n_cells").reset_index().iloc[kept]
    table.index = pd.Index(["_".join(row) for row in table[keys].itertuples(index=False)])
    for column in adata.obs.columns.difference(keys):
        values = adata.obs[column][known].groupby(codes[known]).agg(["nunique", "first"])
        if (values["nunique"] == 1).all():
            table[column] = values["first"].to_numpy()[kept]
    sums = (member @ counts_of(adata).astype(np.int64))[kept].toarray()
    return AnnData(sums, obs=table, var=pd.DataFrame(index=adata.var_names))


def differential_expression(
    adata: AnnData,
    *,
    condition_key: str,
    sample_key: str,
    contrast: tuple[str, str] | None = None,
    cluster_key: str = "scrae",
    min_cells: int = 10,
) -> None:
    """Test in each cluster which genes differ between two conditions, with the samples as replicates.

    The counts of each sample are summed in each cluster, and tested by DESeq2 (Love et al. 2014) in the package
    pydeseq2. If all samples have cells in both conditions, the test is paired.

    Parameters
    ----------
    adata : AnnData
        Cells with clusters, and raw counts in ``layers["counts"]``.
    condition_key, sample_key : str
        Columns of ``obs`` with the condition and the sample.
    contrast : (str, str) or None
        The condition and its reference; fold changes are positive where the first is higher. None = the two that
        there are, the first in alphabetical order as the reference.
    cluster_key : str
        Column of ``obs`` with the clusters.
    min_cells : int
        Leave out samples with fewer cells in a cluster.

    Raises
    ------
    ScraeError
        pydeseq2 is not installed, no such column, not two conditions, or no cluster with two samples in each.

    Notes
    -----
    Writes ``uns[cluster_key]["differential_expression"]``, a DataFrame with a row for each cluster and gene, the
    smallest p-value first: ``cluster``, ``gene``, ``mean`` (of normalized counts), ``log2_fold_change``, ``p_value``
    and ``fdr`` (Benjamini and Hochberg within the cluster; NaN where DESeq2 leaves the gene out).
    ``uns["scrae"]["notes"]`` names the clusters that were left out.
    """
    first, reference = contrast_of(adata, condition_key, contrast)
    keys = {"sample_key": sample_key, "condition_key": condition_key, "cluster_key": cluster_key}
    sums = pseudobulk(adata, **keys, min_cells=min_cells)
    sums = sums[sums.obs[condition_key].isin([first, reference])].copy()
    n_samples = pd.crosstab(sums.obs[cluster_key], sums.obs[condition_key])
    names = clusters_of(adata, cluster_key, at_least=1).categories
    n_samples = n_samples.reindex(index=names, columns=[first, reference], fill_value=0)
    enough = n_samples.index[n_samples.min(axis=1) >= _FEWEST_SAMPLES]
    if not len(enough):
        number = adata.obs[sample_key].groupby(adata.obs[condition_key].astype(str)).nunique()
        raise NoReplicatesError(
            f"differential_expression: expected at least {_FEWEST_SAMPLES} samples of each condition with {min_cells} "
            f"cells in a cluster, found {number.get(first, 0)} and {number.get(reference, 0)} samples in all; without "
            "replicates a difference between conditions cannot be distinguished from one between samples"
        )
    try:
        import pydeseq2  # noqa: F401  only whether it is there; see _deseq
    except ImportError as error:
        raise ScraeError(
            "differential_expression: expected the package pydeseq2, found none; pip install 'scrae[conditions]'"
        ) from error
    tables = [
        _deseq(sums[sums.obs[cluster_key] == name].copy(), condition_key, sample_key, (first, reference))
        for name in enough
    ]
    table = pd.concat(
        [part.assign(cluster=name) for name, part in zip(enough, tables, strict=True)], ignore_index=True
    )
    table["cluster"] = pd.Categorical(table["cluster"], list(enough))
    table.index = table.index.astype(str)
    adata.uns.setdefault(cluster_key, {})["differential_expression"] = table
    remove_notes(adata, "Conditions:")
    if left_out := [name for name in names if name not in enough]:
        add_note(adata, f"Conditions: too few samples for a test in clusters {', '.join(left_out)}.")


def contrast_of(adata: AnnData, key: str, contrast: tuple[str, str] | None) -> tuple[str, str]:
    """Return the condition and its reference."""
    _check_keys(adata, [key])
    names = sorted(adata.obs[key].dropna().astype(str).unique())
    if contrast is None and len(names) == 2:
        return names[1], names[0]
    if contrast is None or not set(contrast) <= set(names) or contrast[0] == contrast[1]:
        raise ScraeError(
            f"contrast: expected two conditions of obs[{key!r}], the second as the reference, found "
            f"{'none' if contrast is None else contrast}; there are {', '.join(names)}"
        )
    return contrast


def _deseq(sums: AnnData, condition_key: str, sample_key: str, contrast: tuple[str, str]) -> pd.DataFrame:
    """Return the table of one cluster."""
    from pydeseq2.dds import DeseqDataSet
    from pydeseq2.ds import DeseqStats

    obs = sums.obs.rename(columns={condition_key: "condition", sample_key: "sample"})[["condition", "sample"]]
    paired = obs.groupby("sample")["condition"].nunique().eq(2).all()
    cells = AnnData(sums.X, obs=obs, var=sums.var)
    cells = cells[:, sums.X.sum(axis=0) >= _FEWEST_COUNTS].copy()
    design = "~sample + condition" if paired else "~condition"
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):  # summary prints its table
        for known in (
            "The dispersion trend curve fitting did not converge",
            "As the residual degrees of freedom",
        ):
            warnings.filterwarnings("ignore", known)  # it takes the mean; there are few samples
        data = DeseqDataSet(adata=cells, design=design, n_cpus=1, quiet=True)
        data.deseq2()
        stats = DeseqStats(data, contrast=["condition", *contrast], n_cpus=1, quiet=True)
        stats.summary()
    found: pd.DataFrame = stats.results_df.rename(
        columns={"baseMean": "mean", "log2FoldChange": "log2_fold_change", "pvalue": "p_value", "padj": "fdr"}
    )
    found.insert(0, "gene", found.index.astype(str))
    return found[["gene", "mean", "log2_fold_change", "p_value", "fdr"]].sort_values("p_value", kind="stable")


def composition(
    adata: AnnData, *, sample_key: str, condition_key: str | None = None, cluster_key: str = "scrae"
) -> pd.DataFrame:
    """Return the share of each cluster in each sample, with an interval.

    Parameters
    ----------
    adata : AnnData
        Cells with clusters.
    sample_key : str
        Column of ``obs`` with the sample.
    condition_key : str or None
        Column of ``obs`` with the condition; a sample with cells in two conditions has rows for each. None = only by
        samples.
    cluster_key : str
        Column of ``obs`` with the clusters.

    Returns
    -------
    pandas.DataFrame
        A row for each sample and cluster: ``sample``, ``condition`` (with ``condition_key``), ``cluster``, ``cells``,
        ``share`` (0 to 1), ``low`` and ``high`` (Wilson's 95 % interval). The interval is that of counting cells;
        samples of one condition differ more.

    Raises
    ------
    ScraeError
        No such column.
    """
    keys = {"sample": sample_key} | ({} if condition_key is None else {"condition": condition_key})
    _check_keys(adata, list(keys.values()))
    clusters = pd.Series(clusters_of(adata, cluster_key, at_least=1), adata.obs.index)
    groups = adata.obs[list(keys.values())].set_axis(list(keys), axis=1)
    known = groups.notna().all(axis=1) & clusters.notna()
    table = pd.crosstab([groups.loc[known, name].astype(str) for name in keys], clusters[known].astype(str))
    table = table.reindex(columns=list(clusters.cat.categories), fill_value=0)
    rows: list[dict[str, Any]] = []
    for group, cells in table.iterrows():
        names = dict(zip(keys, group if isinstance(group, tuple) else (group,), strict=True))
        for cluster, number in cells.items():
            interval = binomtest(int(number), int(cells.sum())).proportion_ci(method="wilson")
            rows.append(
                names
                | {
                    "cluster": cluster, "cells": int(number), "share": number / cells.sum(),
                    "low": interval.low, "high": interval.high,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def _check_keys(adata: AnnData, keys: list[str]) -> None:
    for key in keys:
        if key not in adata.obs:
            raise ScraeError(f"expected a column {key!r} in obs, found none{did_you_mean(key, adata.obs)}")
