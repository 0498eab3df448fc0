"""How far clusters come out again: from parts of the cells, and from models trained with other seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from anndata import AnnData
from sklearn.metrics import adjusted_rand_score

from scrae.cluster.graph import leiden_at, smoothed
from scrae.cluster.partition import gmm, kmeans
from scrae.cluster.stability import jaccard
from scrae.cluster.stability import stability as stability_of
from scrae.config import ModelConfig, TrainConfig
from scrae.core.checkpoint import Epoch
from scrae.errors import ScraeError
from scrae.tl._cluster import cluster
from scrae.tl._codes import INPUT, codes_of, neighbours
from scrae.tl._train import fitted

__all__ = ["agreement", "stability", "train_again"]

_MOST = 20_000
"""Cells that are looked at: the check must cost little beside the clustering itself."""
_SHARE = 0.8
_STARTS = 3
_SEEDS = 2**32  # that there are


def stability(
    adata: AnnData,
    *,
    use_rep: str = "X_scrae",
    cluster_key: str = "scrae",
    graph: AnnData | None = None,
    repeats: int = 10,
    seed: int = 0,
) -> None:
    """Cluster random four fifths of the cells again, as :func:`cluster` did, and compare; no labels, no training.

    Of more than 20,000 cells as many are drawn first, and the parts are parts of those.

    Parameters
    ----------
    graph : :func:`neighbours` of these codes, where it was made already; None = it is made.
    repeats : how many parts, each with a seed of its own.

    Raises
    ------
    ScraeError : no such codes, or no clusters of theirs.

    Notes
    -----
    Writes ``uns["scrae"]["stability"]``: ``repeats``, ``share``, ``n_cells`` looked at, ``ari`` [repeats] with the
    clusters, and ``jaccard`` [clusters], each cluster's mean Jaccard index with what is most like it. Hennig (2007,
    CSDA 52:258) holds clusters of at least 0.75 for stable and does not trust those below 0.6.
    """
    z, labels, facts = codes_of(adata, use_rep), _labels(adata, cluster_key), adata.uns["scrae"]["clusters"]
    cells = adata
    if len(z) > _MOST:
        few = np.sort(np.random.default_rng(seed).choice(len(z), _MOST, replace=False))
        z, labels, graph = z[few], labels[few], None
        cells = AnnData(z, obsm={key: adata.obsm[key][few] for key in (use_rep, INPUT) if key in adata.obsm})
    if facts["method"] in ("kmeans", "gmm"):
        graph = None
    elif graph is None:
        graph = neighbours(cells, use_rep=use_rep)
    found = stability_of(labels, _again(z, graph, facts), seed=seed, repeats=repeats, share=_SHARE)
    adata.uns["scrae"]["stability"] = {
        "repeats": repeats,
        "share": _SHARE,
        "n_cells": len(z),
        "ari": found.ari,
        "jaccard": found.jaccard,
    }


def _again(
    z: np.ndarray, graph: AnnData | None, facts: Mapping[str, Any]
) -> Callable[[np.ndarray, int], np.ndarray]:
    """Return what clusters some of the cells; a part of the graph stands for the graph of the part."""
    n_clusters = int(facts["n_clusters"])

    def again(cells: np.ndarray, seed: int) -> np.ndarray:
        if graph is None:
            most = min(n_clusters, len(np.unique(z[cells], axis=0)))
            if facts["method"] == "gmm":
                return gmm(z[cells], most, seed=seed)
            return kmeans(z[cells], most, seed=seed, n_init=_STARTS)
        joined = np.asarray(graph.obsp["connectivities"][cells][:, cells].sum(axis=1)).ravel() > 0
        part, labels = graph[cells[joined]].copy(), np.full(len(cells), -1)
        if not joined.any():
            return labels
        if facts["method"] == "leiden":
            labels[joined] = leiden_at(part, float(facts["resolution"]), seed=seed)
        else:
            points = smoothed(part)
            most = min(n_clusters, len(np.unique(points, axis=0)))
            labels[joined] = kmeans(points, most, seed=seed, n_init=_STARTS)
        return labels

    return again


def train_again(
    adata: AnnData,
    model_config: ModelConfig | None = None,
    train_config: TrainConfig | None = None,
    *,
    times: int,
    seed: int = 0,
    batch_key: str | None = None,
    device: torch.device | str = "cpu",
    on_epoch: Callable[[Epoch, int], None] | None = None,
) -> dict[int, np.ndarray]:
    """Train so many models with the seeds that follow ``seed``, and return their codes for :func:`agreement`.

    Parameters
    ----------
    model_config, train_config, batch_key : of the first model, see :func:`train`.

    Returns
    -------
    Seed → float32 [cells, latent]. ``adata`` holds none of it.

    Raises
    ------
    ScraeError : as :func:`train`.
    """
    model_config, train_config = model_config or ModelConfig(), train_config or TrainConfig()
    codes = {}
    for step in range(1, times + 1):
        other = (seed + step) % _SEEDS
        model, data, _ = fitted(
            adata,
            model_config,
            train_config,
            seed=other,
            batch_key=batch_key,
            device=device,
            on_epoch=on_epoch,
        )
        codes[other] = model.encode(data)
    return codes


def agreement(adata: AnnData, codes: Mapping[int, np.ndarray], *, cluster_key: str = "scrae") -> None:
    """Cluster the codes that other models gave the same cells, at the same number of clusters, and compare.

    Parameters
    ----------
    codes : seed of a model → its codes [cells, latent], as :func:`train_again` returns them.

    Raises
    ------
    ScraeError : no clusters to compare with.

    Notes
    -----
    Writes ``uns["scrae"]["agreement"]``: ``seeds`` [models], this one first; ``ari`` [models, models] of their
    clusters; ``jaccard`` [clusters], each cluster's mean Jaccard index with what is most like it in the other models;
    and, where the number of clusters was chosen, ``n_clusters`` [models], what each model would choose.
    """
    facts = adata.uns.get("scrae", {}).get("clusters", {})
    every = [_labels(adata, cluster_key)]
    n_clusters = [int(facts["n_clusters"])]
    chosen = "candidates" in facts
    beside = {INPUT: adata.obsm[INPUT]} if INPUT in adata.obsm else {}
    for seed, z in codes.items():
        other = AnnData(z, obsm={"X_scrae": z} | beside)
        if chosen:
            cluster(other, method=facts["method"], seed=seed)
            n_clusters.append(int(other.uns["scrae"]["clusters"]["n_clusters"]))
        if n_clusters[-1] != n_clusters[0] or not chosen:
            cluster(other, n_clusters=n_clusters[0], method=facts["method"], seed=seed)
        every.append(_labels(other, "scrae"))
    ari = np.array([[adjusted_rand_score(one, other) for other in every] for one in every])
    found = {
        "seeds": np.array([int(facts["seed"]), *codes]),
        "ari": ari,
        "jaccard": np.mean([jaccard(every[0], other) for other in every[1:]], axis=0),
    }
    adata.uns["scrae"]["agreement"] = found | ({"n_clusters": np.array(n_clusters)} if chosen else {})


def _labels(adata: AnnData, key: str) -> np.ndarray:
    if key not in adata.obs or "clusters" not in adata.uns.get("scrae", {}):
        raise ScraeError(f"expected clusters in obs[{key!r}], found none; use scrae.tl.cluster(adata)")
    return np.asarray(adata.obs[key].cat.codes, dtype=np.int64)
