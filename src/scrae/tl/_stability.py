"""Stability of clusters over subsamples of the cells, and over models trained with other seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from anndata import AnnData
from sklearn.metrics import adjusted_rand_score

from scrae.cluster.graph import NeighborGraph, smooth
from scrae.cluster.leiden import leiden
from scrae.cluster.partition import gmm, kmeans
from scrae.cluster.stability import jaccard
from scrae.cluster.stability import stability as stability_of
from scrae.config import ModelConfig, TrainConfig
from scrae.core.checkpoint import Epoch
from scrae.tl._cluster import cluster
from scrae.tl._codes import cluster_facts, codes_of, input_key, is_chosen, neighbors
from scrae.tl._train import train_model

__all__ = ["agreement", "stability", "train_again"]

_MAX_CELLS = 20_000
"""The check must cost little beside the clustering itself."""
_SHARE = 0.8
_N_INIT = 3
_N_SEEDS = 2**32


def stability(
    adata: AnnData,
    *,
    cluster_key: str = "scrae",
    graph: NeighborGraph | None = None,
    repeats: int = 10,
    seed: int = 0,
) -> None:
    """Assess how stable clusters are when random 80 % of the cells are clustered again, as :func:`cluster` did.

    The model is not trained again and no labels are used. Of more than 20,000 cells a random sample of 20,000 is
    assessed.

    Parameters
    ----------
    adata : AnnData
        Cells clustered by :func:`cluster`.
    cluster_key : str
        Column of ``obs`` with the clusters.
    graph : NeighborGraph, optional
        Result of :func:`neighbors` for these clusters' representation, if it was computed before.
    repeats : int
        Number of subsamples, each clustered with its own seed.
    seed : int
        Seed of the subsamples.

    Raises
    ------
    ScraeError
        No clusters, or not the representation that they were computed from.

    Notes
    -----
    Writes ``uns[cluster_key]["stability"]``: ``repeats``, ``share``, ``n_cells`` assessed, ``ari`` [repeats], the
    adjusted Rand index with the clusters, and ``jaccard`` [clusters], the mean Jaccard index of each cluster with the
    most similar one of each subsample. Hennig (2007, CSDA 52:258) considers clusters stable from 0.75 and does not
    trust those below 0.6.
    """
    facts, labels = cluster_facts(adata, cluster_key), _labels(adata, cluster_key)
    use_rep = str(facts["use_rep"])
    z, second = codes_of(adata, use_rep), _second(adata, facts)
    cells = adata
    if len(z) > _MAX_CELLS:
        rows = np.sort(np.random.default_rng(seed).choice(len(z), _MAX_CELLS, replace=False))
        keys = [use_rep] if second is None else [use_rep, second]
        cells = AnnData(z[rows], obsm={key: codes_of(adata, key)[rows] for key in keys})
        z, labels, graph = z[rows], labels[rows], None
    if facts["method"] in ("kmeans", "gmm"):
        graph = None
    elif graph is None:
        graph = neighbors(cells, use_rep=use_rep, input_rep=second)
    found = stability_of(labels, _recluster(z, graph, facts), seed=seed, repeats=repeats, share=_SHARE)
    adata.uns[cluster_key]["stability"] = {
        "repeats": repeats,
        "share": _SHARE,
        "n_cells": len(z),
        "ari": found.ari,
        "jaccard": found.jaccard,
    }


def _recluster(
    z: np.ndarray, graph: NeighborGraph | None, facts: Mapping[str, Any]
) -> Callable[[np.ndarray, int], np.ndarray]:
    """Return a function that clusters a subsample, on the induced graph; cells without edges get -1."""

    def partition(points: np.ndarray, seed: int) -> np.ndarray:
        most = min(int(facts["n_clusters"]), len(np.unique(points, axis=0)))
        if facts["method"] == "gmm":
            return gmm(points, most, seed=seed)
        return kmeans(points, most, seed=seed, n_init=_N_INIT)

    def recluster(rows: np.ndarray, seed: int) -> np.ndarray:
        if graph is None:
            return partition(z[rows], seed)
        part, labels = graph.subset(rows), np.full(len(rows), -1)
        connected = np.asarray(part.connectivities.sum(axis=1)).ravel() > 0
        if connected.any():
            part = part.subset(connected)
            if facts["method"] == "leiden" and "resolution" in facts:
                labels[connected] = leiden(part.joined, float(facts["resolution"]), seed=seed)
            else:
                labels[connected] = partition(smooth(part), seed)
        return labels

    return recluster


def train_again(
    adata: AnnData,
    model_config: ModelConfig | None = None,
    train_config: TrainConfig | None = None,
    *,
    times: int,
    seed: int = 0,
    batch_key: str | None = None,
    device: torch.device | str = "auto",
    on_epoch: Callable[[Epoch, int], None] | None = None,
) -> dict[int, np.ndarray]:
    """Train more models with consecutive seeds, for :func:`agreement`.

    Parameters
    ----------
    adata, model_config, train_config, batch_key, device, on_epoch
        As for the first model; see :func:`train`. Nothing is written into ``adata``.
    times : int
        Number of models.
    seed : int
        Seed of the first model; the others follow it.

    Returns
    -------
    dict of int to ndarray
        Seed → codes, float32 [cells, latent].

    Raises
    ------
    ScraeError
        As :func:`train`.
    """
    model_config, train_config = model_config or ModelConfig(), train_config or TrainConfig()
    codes = {}
    for step in range(1, times + 1):
        other = (seed + step) % _N_SEEDS
        model, data, _ = train_model(
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
    """Compare clusters with those that models with other seeds give for the same number of clusters.

    Parameters
    ----------
    adata : AnnData
        Cells clustered by :func:`cluster`.
    codes : mapping of int to ndarray
        Seed of each other model → its codes [cells, latent]; see :func:`train_again`.
    cluster_key : str
        Column of ``obs`` with the clusters.

    Raises
    ------
    ScraeError
        No clusters.

    Notes
    -----
    Writes ``uns[cluster_key]["agreement"]``: ``seeds`` [models], starting with this model's; ``ari`` [models, models],
    the adjusted Rand index of their clusters; ``jaccard`` [clusters], the mean Jaccard index of each cluster with the
    most similar one of each other model; and, if the number of clusters was chosen, ``n_clusters`` [models], the
    choice of each model.
    """
    facts = cluster_facts(adata, cluster_key)
    every, n_clusters = [_labels(adata, cluster_key)], [int(facts["n_clusters"])]
    chosen, second = is_chosen(facts), _second(adata, facts)
    joined = {} if second is None else {"X_scrae_input": codes_of(adata, second)}
    for seed, z in codes.items():
        other = AnnData(z, obsm={"X_scrae": z} | joined)
        if chosen:
            cluster(other, method=facts["method"], seed=seed)
            n_clusters.append(int(other.uns["scrae"]["clusters"]["n_clusters"]))
        if n_clusters[-1] != n_clusters[0] or not chosen:
            cluster(other, n_clusters=n_clusters[0], method=facts["method"], seed=seed)
        every.append(_labels(other, "scrae"))
    found = {
        "seeds": np.array([int(facts["seed"]), *codes]),
        "ari": np.array([[adjusted_rand_score(one, other) for other in every] for one in every]),
        "jaccard": np.mean([jaccard(every[0], other) for other in every[1:]], axis=0),
    }
    adata.uns[cluster_key]["agreement"] = found | ({"n_clusters": np.array(n_clusters)} if chosen else {})


def _second(adata: AnnData, facts: Mapping[str, Any]) -> str | None:
    """Return the key of the second representation that the clusters were computed from; 0.1.0 did not record it."""
    return str(facts["input_rep"]) or None if "input_rep" in facts else input_key(adata, facts["use_rep"])


def _labels(adata: AnnData, key: str) -> np.ndarray:
    return np.asarray(adata.obs[key].cat.codes, dtype=np.int64)
