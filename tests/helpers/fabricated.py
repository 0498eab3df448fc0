"""A run folder and an AnnData as the pipeline writes them, generated from a seed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from scrae import tl

N_EPOCHS = 24
BEST_EPOCH = 17
STOPPED = "held-out likelihood did not improve for 7 epochs; weights of epoch 17 were kept"


def fabricate(
    n_cells: int = 400,
    n_genes: int = 120,
    n_clusters: int = 5,
    *,
    seed: int = 0,
    label_names: list[str] | None = None,
    levels: bool = False,
) -> ad.AnnData:
    """Clusters of falling size; of the first half of the genes, gene ``i`` marks cluster ``i % n_clusters``."""
    rng = np.random.default_rng(seed)
    share = 0.75 ** np.arange(n_clusters)
    cluster = np.sort(rng.choice(n_clusters, n_cells, p=share / share.sum()))
    cluster[:n_clusters] = np.arange(n_clusters)
    cluster = np.unique(cluster, return_inverse=True)[1]
    cluster = np.argsort(np.argsort(-np.bincount(cluster), kind="stable"))[cluster]
    rate = rng.gamma(0.6, 1.0, n_genes)
    program = np.ones((n_clusters, n_genes))
    markers = np.arange(n_genes // 2)
    program[markers % n_clusters, markers] = 12.0
    depth = rng.lognormal(0.0, 0.35, n_cells)
    mean = depth[:, None] * rate * program[cluster]
    counts = csr_matrix(rng.poisson(mean * rng.gamma(2.0, 0.5, mean.shape)).astype(np.int32))
    total = np.asarray(counts.sum(axis=1)).ravel().astype(float)
    x = csr_matrix(
        np.log1p(counts.toarray() / np.maximum(total, 1)[:, None] * np.median(total)), dtype=np.float32
    )
    center = rng.normal(0, 6, (n_clusters, 10))
    latent = center[cluster] + rng.normal(0, 1, (n_cells, 10))

    obs = pd.DataFrame(index=[f"CELL{i:06d}-1" for i in range(n_cells)])
    names = label_names or [f"type {chr(65 + i % 26)}{i // 26 or ''}" for i in range(n_clusters)]
    noisy = np.where(rng.random(n_cells) < 0.1, rng.integers(0, len(names), n_cells), cluster % len(names))
    obs["cell_type"] = pd.Categorical.from_codes(noisy, names)
    obs["sample"] = pd.Categorical(np.where(rng.random(n_cells) < 0.5, "donor 1", "donor 2"))
    obs["scrae_n_counts"] = total
    obs["scrae_n_genes"] = counts.getnnz(axis=1)
    obs["scrae_mito"] = rng.beta(2, 40, n_cells)
    obs["scrae_size_factor"] = total / np.median(total)
    obs["scrae"] = pd.Categorical.from_codes(cluster, [str(i) for i in range(n_clusters)])

    score = np.asarray(x.power(2).mean(axis=0) - np.power(x.mean(axis=0), 2)).ravel()
    rank = np.argsort(np.argsort(-score, kind="stable"))
    var = pd.DataFrame(
        {"scrae_selected": rank < n_genes // 2, "scrae_score": score, "scrae_rank": rank},
        index=[f"Gene{i}" for i in range(n_genes)],
    )
    adata = ad.AnnData(x, obs=obs, var=var, layers={"counts": counts})
    adata.obsm["X_scrae"] = latent.astype(np.float32)
    for name in ("pca_scrae", "tsne", "umap"):
        turn = np.linalg.qr(rng.normal(size=(10, 10)))[0]
        adata.obsm[f"X_{name}"] = (latent @ turn)[:, :2].astype(np.float32)
    adata.uns["scrae"] = facts(n_genes, n_clusters, counts)
    if len(adata.obs["scrae"].cat.categories) > 1:
        tl.markers(adata)
    if levels:
        tl.cluster_levels(adata)
    return adata


def facts(n_genes: int, n_clusters: int, counts: csr_matrix) -> dict[str, Any]:
    epoch = np.arange(N_EPOCHS)
    fall = 210 + 160 * np.exp(-epoch / 4.0)
    mean = np.asarray(counts.mean(axis=0)).ravel()
    return {
        "notes": ["12 genes seen in fewer than 10 cells were dropped.", "3 antibody features were left out."],
        "filter": {
            "n_cells_before": counts.shape[0] + 12, "n_cells_after": counts.shape[0],
            "n_genes_before": n_genes + 12, "n_genes_after": n_genes,
            "min_cells": 10, "min_genes": 1, "cells_dropped": {"min_genes": 9, "no_gene_left": 3},
        },
        "gene_selection": {
            "method": "m3drop", "n_selected": n_genes // 2, "mean": mean,
            "statistic": 1 - counts.getnnz(axis=0) / counts.shape[0], "statistic_name": "drop-out rate",
            "expected": 0.9 / (0.9 + mean),
        },
        "history": {
            "epoch": epoch, "reconstruction": fall, "validation": fall + 4 + 0.02 * (epoch - BEST_EPOCH) ** 2,
            "library": 0.4 * np.exp(-epoch / 3.0), "critic": -1.5 + 0.1 * np.sin(epoch),
            "generator": 0.2 + 0.1 * np.cos(epoch),
            "encoder": -0.3 + 0.05 * np.sin(epoch / 2), "gradient_penalty": 0.3 * np.exp(-epoch / 6.0),
            "learning_rate": 1e-3 * (1 + np.cos(np.pi * epoch / N_EPOCHS)) / 2 + 1e-5,
        },
        "train": {"best_epoch": BEST_EPOCH, "epochs": N_EPOCHS, "stopped_because": STOPPED},
        "clusters": {
            "n_clusters": n_clusters, "method": "kmeans", "runs": np.full(3, n_clusters),
            "use_rep": "X_scrae", "input_rep": "",
        },
        "stability": {
            "repeats": 3, "share": 0.8, "n_cells": counts.shape[0], "ari": np.array([0.9, 0.95, 1.0]),
            "jaccard": np.linspace(0.99, 0.8, n_clusters),
        },
        "scores": {"nmi": 0.8123, "ari": 0.7456, "ami": 0.8101, "homogeneity": 0.8222, "completeness": 0.8033},
        "seed": 0,
    }  # fmt: skip


def run_record(adata: ad.AnnData) -> dict[str, Any]:
    return {
        "version": "0.1.0",
        "command": "scrae run cells.h5ad -o out --label-key cell_type",
        "input": {
            "path": "cells.h5ad",
            "sha256": "0f" * 32,
            "n_cells": adata.n_obs + 12,
            "n_genes": adata.n_vars + 12,
        },
        "label_key": "cell_type",
        "seed": 0,
        "device": "cpu",
        "config": {
            "preprocess": {"min_cells": 10, "gene_selection": "m3drop"},
            "model": {"n_latent": 10, "encoder_layers": [256], "likelihood": "zinb"},
            "train": {"batch_size": 128, "prior_weight": 1.0},
        },
        "n_clusters": len(adata.obs["scrae"].cat.categories),
        "epochs": N_EPOCHS,
        "stopped_because": STOPPED,
        "scores": adata.uns["scrae"].get("scores"),
        "seconds": {"read": 0.4, "preprocess": 0.9, "train": 21.5, "cluster": 1.2, "figures": 4.0},
        "peak_memory_mb": 812.5,
        "versions": {"scrae": "0.1.0", "torch": "2.13.0", "scanpy": "1.11.5", "numpy": "2.4.0"},
    }


def write_run(folder: Path, adata: ad.AnnData, record: dict[str, Any] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    adata.write_h5ad(folder / "result.h5ad")
    (folder / "run.json").write_text(
        json.dumps(run_record(adata) if record is None else record), encoding="utf-8"
    )
    return folder
