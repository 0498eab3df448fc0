"""Marker genes of the clusters, with p-values that hold after clustering."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse
from scipy.stats import false_discovery_control
from sklearn.decomposition import TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import KFold, cross_val_predict

from scrae.errors import ScraeError, did_you_mean
from scrae.pp._counts import counts_of
from scrae.pp._gene_kinds import gene_kinds
from scrae.tl import _marker_test as test

__all__ = ["clusters_of", "markers", "shown"]

_FDR = 0.05
_PSEUDOCOUNT = 0.01  # counts of a cell of median depth
_N_COMPONENTS, _CELLS_PER_COMPONENT = 50, 20
_N_GENES = 2000  # of the half that assigns the clusters
_FOLDS = 5
_N_SCANPY = 100  # genes of each cluster in uns["rank_genes_groups"]


def markers(
    adata: AnnData, *, cluster_key: str = "scrae", split: bool = True, min_share: float = 0.1, seed: int = 0
) -> None:
    """Find the genes with higher expression in each cluster, among all genes with counts.

    Clusters are made from differences between the cells, so a test of genes on the same counts also finds genes where
    there is one population only. Here the molecules of each cell are split into two halves. The first assigns the cells
    to the clusters, by linear discriminant analysis of its principal components with five-fold cross-validation; the
    second is tested. All other columns describe the given clusters and all molecules.

    Parameters
    ----------
    adata : AnnData
        Cells with clusters, and raw counts in ``layers["counts"]``.
    cluster_key : str
        Column of ``obs`` with the clusters. Cells without one are left out.
    split : bool
        False: the given clusters are fixed and all molecules are tested. Only for groups that were not made from these
        counts, such as sorted cells or genotypes; p-values of clusters are then far too small.
    min_share : float
        Smallest fraction of a cluster's cells that express a marker, 0 to 1.
    seed : int
        Seed of the split.

    Raises
    ------
    ScraeError
        No such column, fewer than two clusters, no counts, or ``min_share`` out of range.

    Notes
    -----
    The test is a score test of equal rates under a negative binomial, with the cells' total counts as exposure and
    moment estimates of the dispersions; a rank test of depth-normalized values is not calibrated where clusters differ
    in depth.

    Writes ``uns[cluster_key]["markers"]``, a DataFrame with a row for each cluster and gene that at least ``min_share``
    of its cells express and that is higher than in the rest, best first:

    - ``cluster``, ``gene``
    - ``score``: mean of the standardized differences of log1p values against all other cells and against the most
      similar cluster, times √(1 - ``share_out``), so that specific genes come first.
    - ``log2_fold_change``: of the mean counts, with a pseudocount of 0.01.
    - ``auroc``: probability that a cell of the cluster has the higher count per total than another cell, 0 to 1.
    - ``share_in``, ``share_out``: fraction of the cells with the gene, in the cluster and elsewhere.
    - ``mean_in``, ``mean_out``: mean count of a cell of median depth.
    - ``p_value``, ``fdr``: one-sided, and adjusted over the expressed genes of the cluster (Benjamini and Hochberg).
    - ``separates_from``: the most similar cluster in which the gene is significantly lower; "" = none.
    - ``kind``: ribosomal, mitochondrial, hemoglobin, stress or "". Displays omit all but "".

    Also writes ``uns[cluster_key]["marker_test"]`` (settings, and ``kept``: the fraction of cells that the first half
    assigns to their cluster) and, for scanpy's plots, the best 100 genes of each cluster without the omitted kinds in
    ``uns["rank_genes_groups"]``.

    Examples
    --------
    >>> scrae.tl.markers(adata)
    >>> table = adata.uns["scrae"]["markers"]
    >>> best = table.groupby("cluster", observed=True).head(5)
    """
    if not 0 <= min_share <= 1:
        raise ScraeError(f"markers: expected min_share from 0 to 1, found {min_share}; for 10 % say 0.1")
    clusters = clusters_of(adata, cluster_key)
    counts, names = counts_of(adata), clusters.categories.tolist()
    codes = clusters.codes.astype(np.int64)
    sums = test.sum_by_cluster(counts, codes, len(names))
    assigned, tested = codes, sums
    if split:
        first, second = test.split_counts(counts, sums.dispersion(), seed)
        assigned = _assign(first, codes, adata.var.get("scrae_selected"), seed)
        del first
        tested = test.sum_by_cluster(second, assigned, len(names))
    table = _table(counts, codes, sums, tested, min_share)
    for column, categories in (("cluster", names), ("separates_from", ["", *names])):
        table[column] = pd.Categorical([categories[code] for code in table[column]], categories)
    table.insert(1, "gene", adata.var_names[table.pop("at")].astype(str))
    table["kind"] = pd.Categorical(gene_kinds(pd.Index(table["gene"])))
    table.index = table.index.astype(str)
    facts = adata.uns.setdefault(cluster_key, {})
    facts["markers"] = table
    known = codes >= 0
    kept = float((assigned == codes)[known].mean())
    facts["marker_test"] = {"split": split, "min_share": min_share, "seed": seed, "kept": kept}
    adata.uns["rank_genes_groups"] = _for_scanpy(table, cluster_key)


def shown(table: pd.DataFrame, *, all_genes: bool = False) -> pd.DataFrame:
    """Return the significant rows of a marker table, without ribosomal, mitochondrial, hemoglobin and stress genes.

    Parameters
    ----------
    table : pandas.DataFrame
        ``uns["scrae"]["markers"]``.
    all_genes : bool
        Keep these kinds of genes.
    """
    found = table[table["fdr"] <= _FDR]
    return found if all_genes else found[found["kind"].astype(str) == ""]


def clusters_of(adata: AnnData, key: str, *, at_least: int = 2) -> pd.Categorical:
    """Return the clusters of the cells, with names as text and without empty ones."""
    if key not in adata.obs:
        raise ScraeError(
            f"expected a column {key!r} in obs, found {', '.join(map(str, adata.obs.columns)) or 'none'}"
            f"{did_you_mean(key, adata.obs)}"
        )
    column = adata.obs[key].astype("category").cat.remove_unused_categories()
    if len(column.cat.categories) < at_least:
        number = "two clusters" if at_least == 2 else "one cluster"
        raise ScraeError(f"expected at least {number} in obs[{key!r}], found {len(column.cat.categories)}")
    return pd.Categorical(column.cat.rename_categories([str(name) for name in column.cat.categories]))


def _assign(
    half: sparse.csr_matrix, codes: NDArray[Any], selected: pd.Series | None, seed: int
) -> NDArray[np.int64]:
    """Assign the cells to the clusters by one half of their molecules; [cells], -1 where a cell has no cluster."""
    depth = test.depth_of(half)
    known = np.flatnonzero(codes >= 0)
    if selected is not None:
        half = half[:, np.flatnonzero(selected.to_numpy(dtype=bool))]
    if selected is None:
        _, variance, _ = test.log_values(half, np.zeros(len(codes), np.int64), 1)
        half = half[:, np.argsort(-variance[0], kind="stable")[:_N_GENES]]
    half = half[known]
    half.eliminate_zeros()
    x = test.scale_cells(half, np.maximum(depth[known], 1) / np.median(depth), log=True)
    n_components = min(_N_COMPONENTS, max(2, len(known) // _CELLS_PER_COMPONENT), x.shape[1] - 1)
    parts = TruncatedSVD(n_components, n_iter=2, random_state=seed).fit_transform(x)
    folds = KFold(_FOLDS, shuffle=True, random_state=seed)
    assigned = np.full(len(codes), -1, dtype=np.int64)
    assigned[known] = cross_val_predict(LinearDiscriminantAnalysis(), parts, codes[known], cv=folds)
    return assigned


def _table(
    counts: sparse.csr_matrix,
    codes: NDArray[Any],
    sums: test.CountSums,
    tested: test.CountSums,
    min_share: float,
) -> pd.DataFrame:
    """Return the rows of all clusters, with clusters and genes as numbers (``cluster``, ``at``, ``separates_from``)."""
    n_clusters, rest = len(sums.size), sums.rest()
    mean, variance, share = test.log_values(counts, codes, n_clusters)
    size = sums.size[:, None]
    share_out = (size * share).sum(axis=0) - size * share
    share_out /= np.maximum(size.sum() - size, 1)
    higher = (share >= min_share) & (sums.rate > rest.rate)
    any_cluster = np.flatnonzero(higher.any(axis=0))
    area = np.full(mean.shape, 0.5)
    area[:, any_cluster] = test.auroc(counts, codes, n_clusters, any_cluster)
    dispersion = tested.dispersion()
    p_value = test.higher_rate(tested, tested.rest(), dispersion)
    depth = np.median(test.depth_of(counts)[codes >= 0])
    mean_in, mean_out = depth * sums.rate, depth * rest.rate
    squares = (mean**2).sum(axis=1)
    distance = squares[:, None] + squares - 2 * mean @ mean.T
    parts = []
    for k in range(n_clusters):
        genes, expressed = np.flatnonzero(higher[k]), np.maximum(share[k], share_out[k]) >= min_share
        fdr = np.ones(counts.shape[1])
        fdr[expressed] = false_discovery_control(p_value[k, expressed]) if expressed.any() else []
        others = np.argsort(distance[k], kind="stable")
        others = others[others != k]
        columns = {
            "score": (_score(mean, variance, sums.size, k, int(others[0])) * np.sqrt(1 - share_out[k]))[
                genes
            ],
            "log2_fold_change": np.log2((mean_in[k] + _PSEUDOCOUNT) / (mean_out[k] + _PSEUDOCOUNT))[genes],
            "auroc": area[k, genes],
            "share_in": share[k, genes],
            "share_out": share_out[k, genes],
            "mean_in": mean_in[k, genes],
            "mean_out": mean_out[k, genes],
            "p_value": p_value[k, genes],
            "fdr": fdr[genes],
            "separates_from": 1 + _separates(tested, dispersion, k, others, genes),  # 0 = none
        }
        part = pd.DataFrame({"cluster": k, "at": genes} | columns)
        parts.append(part.sort_values("score", ascending=False, kind="stable"))
    return pd.concat(parts, ignore_index=True)


def _score(
    mean: NDArray[np.float64], variance: NDArray[np.float64], size: NDArray[np.float64], k: int, nearest: int
) -> NDArray[np.float64]:
    """Return the mean standardized difference [genes] of cluster ``k`` against the rest and against ``nearest``."""
    weight = np.where(np.arange(len(size)) == k, 0, size)
    weight = weight / weight.sum()
    rest = weight @ mean
    spread = weight @ (variance + mean**2) - rest**2
    differences = [
        (mean[k] - other) / np.sqrt((variance[k] + spread_of) / 2 + 1e-2)
        for other, spread_of in ((rest, spread), (mean[nearest], variance[nearest]))
    ]
    return np.asarray(sum(differences) / 2)


def _separates(
    sums: test.CountSums, dispersion: NDArray[np.float64], k: int, others: NDArray[Any], genes: NDArray[Any]
) -> NDArray[np.int64]:
    """Return for each gene the first of ``others`` in which it is significantly lower than in ``k``; -1 = none."""
    if not len(genes):
        return np.empty(0, dtype=np.int64)
    narrow = test.CountSums(
        size=sums.size,
        depth=sums.depth,
        depth_squares=sums.depth_squares,
        total=sums.total[:, genes],
        squares=sums.squares[:, genes],
        weighted=sums.weighted[:, genes],
    )
    p_value = test.higher_rate(narrow.rows(np.full(len(others), k)), narrow.rows(others), dispersion[genes])
    lower = false_discovery_control(p_value, axis=1) <= _FDR
    return np.where(lower.any(axis=0), others[lower.argmax(axis=0)], -1)


def _for_scanpy(table: pd.DataFrame, cluster_key: str) -> dict[str, Any]:
    """Return the best genes in the form of ``scanpy.tl.rank_genes_groups``; a short list ends with omitted kinds."""
    ordered = table.assign(omitted=table["kind"].astype(str) != "").sort_values("omitted", kind="stable")
    groups = {str(name): part for name, part in ordered.groupby("cluster", observed=True)}
    length = min(_N_SCANPY, *map(len, groups.values())) if groups else 0
    columns = {
        "names": ("gene", object),
        "scores": ("score", np.float32),
        "pvals": ("p_value", np.float64),
        "pvals_adj": ("fdr", np.float64),
        "logfoldchanges": ("log2_fold_change", np.float32),
    }
    found: dict[str, Any] = {
        "params": {
            "groupby": cluster_key,
            "reference": "rest",
            "method": "scrae.tl.markers",
            "use_raw": False,
            "layer": None,
            "corr_method": "benjamini-hochberg",
        }
    }
    for slot, (column, kind) in columns.items():
        found[slot] = np.rec.fromarrays(
            [part[column].head(length).to_numpy(dtype=kind) for part in groups.values()],
            dtype=[(name, kind) for name in groups],
        )
    return found
