"""A small prepared file, and the epoch that an interrupted training saved."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from safetensors import safe_open
from scipy import sparse

from scrae import io


def prepared(path: Path) -> None:
    """Write 300 cells of three kinds over 60 genes, ready for training."""
    rng = np.random.default_rng(11)
    rates = np.full((3, 60), 0.4)
    for kind in range(3):
        rates[kind, 15 * kind : 15 * kind + 15] = 6.0
    adata = AnnData(sparse.csr_matrix(rng.poisson(rates[np.arange(300) % 3]).astype(np.float32)))
    adata.obs_names = [f"cell{i}" for i in range(300)]
    adata.var = pd.DataFrame({"scrae_selected": True}, index=[f"gene{i}" for i in range(60)])
    io.use_counts(adata)
    io.write_h5ad(adata, path)


def warm_up() -> None:
    """Let torch import what it imports at the first step; nothing that starts a thread."""
    weight = torch.nn.Parameter(torch.zeros(1))
    weight.grad = torch.zeros(1)
    torch.optim.AdamW([weight], fused=True).step()


def epoch_of(file: Path) -> int:
    if not file.exists():
        return 0
    with safe_open(file, framework="pt") as content:
        return int(json.loads(content.metadata()["training"])["epoch"])
