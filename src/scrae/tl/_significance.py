"""Which clusters are separated by a gap, and which are parts of a continuum or of one population."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from anndata import AnnData
from scipy import sparse

from scrae.cluster.significance import MAX_CELLS, SplitTest, split_test
from scrae.cluster.tested_genes import counts_to_test
from scrae.cluster.tree import ClusterTree
from scrae.errors import ScraeError, did_you_mean
from scrae.pp._gene_kinds import mitochondrial
from scrae.tl._tree import cluster_tree, stored_tree

__all__ = ["significance"]

_LEAST_DRAWS = 39


def significance(
    adata: AnnData,
    *,
    cluster_key: str = "scrae",
    sample_key: str | None = None,
    alpha: float = 0.05,
    layer: str | None = None,
    seed: int = 0,
) -> None:
    """Test at each join of the tree of the clusters whether the joined cells are one population.

    A join is tested with the counts of at most 1,000 random cells and the 300 genes that vary most among them, by
    :func:`scrae.cluster.significance.split_test`: half of the molecules divide the cells into two sides, the other
    half shows whether there is a gap in the density between these. A p-value at most ``alpha`` says that the cells
    are more than one population. It does not say how many, nor that the border between two clusters is exact. From
    the root down, a join is tested if the one above it is significant; each cluster is tested too, to find those that
    hold more than one population.

    Parameters
    ----------
    adata : AnnData
        Cells clustered by :func:`cluster`, with raw counts.
    cluster_key : str
        Column of ``obs`` with the clusters. Their tree is computed if ``uns`` has none.
    sample_key : str, optional
        Column of ``obs`` with samples or batches. Joins are then tested within each of the samples with enough cells,
        and significant only if two of them agree (partial conjunction: Benjamini and Heller, Biometrics 64:1215,
        2008). None = all cells together, where a difference between batches counts as a gap.
    alpha : float
        Family-wise error rate over the tree, between 0 and 1.
    layer : str, optional
        Layer with the raw counts; None = ``"counts"``.
    seed : int
        Seed of samples, halves and draws.

    Raises
    ------
    ScraeError
        No clusters or counts, or a wrong value.

    Notes
    -----
    Writes ``uns[cluster_key]["significance"]``: ``alpha``; for each join of the tree ``p``, ``p_adjusted`` (p times
    the number of clusters over that of clusters below the join, at least that of the join above: Meinshausen,
    Biometrika 95:265, 2008), ``gap`` ("none", "shallow", "bridged", "deep"), ``density`` (of cells in the gap, relative
    to the less dense side) with its 95 % limits ``density_limits`` [joins, 2], ``auc``, ``n_genes``, ``n_cells`` and
    ``verdict``; NaN and "not tested" for joins below one that is not significant; and for each cluster ``names``,
    ``cluster_verdict`` (that of its first join) and ``split_p`` (adjusted p-value of more than one population within
    it).

    The verdicts are "real": a deep gap that no cells connect around; "continuous": no such gap, but the sides differ in
    the other half of the molecules (AUC of 0.8 and ten genes); "not supported": neither; "alone": of a single
    cluster, whose ``split_p`` is the test.

    Mitochondrial genes are left out, with the pseudogenes that follow them (:mod:`scrae.cluster.tested_genes`).
    """
    if not 0 < alpha < 1:
        raise ScraeError(f"significance: expected alpha between 0 and 1, found {alpha}")
    counts, samples = _counts(adata, layer), _samples(adata, sample_key)
    mito = mitochondrial(adata.var_names)
    tree, names = _tree(adata, cluster_key, seed)
    leaf = np.array([names.index(str(name)) for name in adata.obs[cluster_key]])
    n_leaves = tree.n_leaves
    p_adjusted, tests = np.full(2 * n_leaves - 1, np.nan), {}
    parent = np.full(2 * n_leaves - 1, -1)
    parent[tree.children.ravel()] = np.repeat(n_leaves + np.arange(n_leaves - 1), 2)
    for node in range(2 * n_leaves - 2, -1, -1):
        above = 0.0 if parent[node] < 0 else p_adjusted[parent[node]]
        if not above <= alpha and node >= n_leaves:
            continue
        leaves = tree.leaves(node)
        factor = n_leaves / len(leaves)
        rows = np.flatnonzero(np.isin(leaf, leaves))
        found = _test(counts, rows, samples, mito, factor=factor, alpha=alpha, seed=seed + node)
        tests[node] = found
        p_adjusted[node] = min(1.0, max(0.0 if node < n_leaves else above, found.p * factor))
    adata.uns[cluster_key]["significance"] = _facts(tests, p_adjusted, parent, names, alpha) | {
        "sample_key": sample_key or ""
    }


def _tree(adata: AnnData, key: str, seed: int) -> tuple[ClusterTree, list[str]]:
    """Return the tree of the clusters and their names; of a single cluster, one without joins."""
    facts = adata.uns.get(key, {})
    if "tree" not in facts and "clusters" in facts:
        names = adata.obs[key].astype(str).unique()
        if len(names) == 1:
            return ClusterTree(
                children=np.empty((0, 2), int), height=np.empty(0), sizes=np.array([adata.n_obs])
            ), [*names]
    if "tree" not in facts:
        cluster_tree(adata, cluster_key=key, seed=seed)
    return stored_tree(adata, key)


def _facts(
    tests: dict[int, SplitTest], p_adjusted: np.ndarray, parent: np.ndarray, names: list[str], alpha: float
) -> dict[str, Any]:
    n_leaves = len(names)
    joins = range(n_leaves, 2 * n_leaves - 1)
    verdict = {
        node: _verdict(tests[node], bool(p_adjusted[node] <= alpha)) if node in tests else "not tested"
        for node in joins
    }

    def column(name: str, missing: object, dtype: type = float) -> np.ndarray:
        return np.array(
            [getattr(tests[node], name) if node in tests else missing for node in joins], dtype=dtype
        )

    return {
        "alpha": alpha,
        "p": column("p", np.nan),
        "p_adjusted": p_adjusted[n_leaves:],
        "gap": column("gap", "not tested", object),
        "density": column("density", np.nan),
        "density_limits": column("density_limits", (np.nan, np.nan)).reshape(-1, 2),
        "auc": column("auc", np.nan),
        "n_genes": column("n_genes", 0, int),
        "n_cells": column("n_cells", 0, int),
        "verdict": np.array(list(verdict.values()), dtype=object),
        "names": np.array(names, dtype=object),
        "cluster_verdict": np.array([_of_cluster(k, verdict, parent) for k in range(n_leaves)], dtype=object),
        "split_p": p_adjusted[:n_leaves],
    }


def _verdict(found: SplitTest, significant: bool) -> str:
    if significant:
        return "real"
    return "continuous" if found.different else "not supported"


def _of_cluster(leaf: int, verdict: dict[int, str], parent: np.ndarray) -> str:
    """Return the verdict of the lowest tested join above a cluster; "alone" where there is no other."""
    node = int(parent[leaf])
    if node < 0:
        return "alone"
    while verdict[node] == "not tested":
        node = int(parent[node])
    return verdict[node]


def _test(
    counts: sparse.csr_matrix,
    rows: np.ndarray,
    samples: np.ndarray | None,
    mitochondrial: np.ndarray,
    *,
    factor: float,
    alpha: float,
    seed: int,
) -> SplitTest:
    """Test cells together, or within samples, where the second smallest p-value counts."""
    parts = [rows] if samples is None else [rows[samples[rows] == one] for one in np.unique(samples[rows])]
    draws = max(_LEAST_DRAWS, math.ceil(factor / alpha))
    found = []
    for number, part in enumerate(parts):
        rng = np.random.default_rng([seed, number])
        cells = np.sort(rng.choice(part, min(MAX_CELLS, len(part)), replace=False))
        genes, depth = counts_to_test(counts[cells], mitochondrial)
        found.append(split_test(genes, depth, seed=seed, n_null=draws, alpha=alpha / factor))
    found.sort(key=lambda test: test.p)
    if samples is None:
        return found[0]
    if len(found) < 2:
        return replace(found[0], p=1.0)
    return replace(found[1], p=min(1.0, (len(found) - 1) * found[1].p))


def _counts(adata: AnnData, layer: str | None) -> sparse.csr_matrix:
    name = layer or "counts"
    if name not in adata.layers:
        raise ScraeError(
            f"significance: expected raw counts in layers[{name!r}], found "
            f"{', '.join(adata.layers) or 'no layer'}; read the data with scrae.io.read"
        )
    return sparse.csr_matrix(adata.layers[name])


def _samples(adata: AnnData, key: str | None) -> np.ndarray | None:
    if key is None:
        return None
    if key not in adata.obs:
        raise ScraeError(
            f"significance: expected a column {key!r} in obs, found {', '.join(adata.obs.columns) or 'none'}"
            f"{did_you_mean(key, adata.obs)}"
        )
    return np.asarray(adata.obs[key].astype(str))
