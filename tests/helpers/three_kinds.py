"""Cells of three kinds, and settings that train a model on them in a moment."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

import scrae

SMALL = scrae.Settings(
    preprocess=scrae.PreprocessConfig(min_cells=3, n_top_genes=20, gene_selection="deviance"),
    model=scrae.ModelConfig(n_latent=3, encoder_layers=(8,), decoder_layers=(8,)),
    train=scrae.TrainConfig(max_epochs=3, batch_size=32),
)


def three_kinds(
    n_cells: int, n_genes: int, *, n_marking: int, low: float, high: float, key: str = "kind", seed: int = 0
) -> AnnData:
    """Return Poisson counts of mean ``low``, ``high`` in the genes that mark the kind in ``obs[key]``."""
    kind = np.arange(n_cells) % 3
    rates = np.full((3, n_genes), low)
    for k in range(3):
        rates[k, n_marking * k : n_marking * (k + 1)] = high
    counts = np.random.default_rng(seed).poisson(rates[kind]).astype(np.float32)
    adata = AnnData(sparse.csr_matrix(counts))
    adata.obs[key] = pd.Categorical(np.array(["T", "B", "NK"])[kind])
    return adata
