from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

TYPES = ["alpha", "beta", "gamma"]


def make_set(path: Path, *, seed: int, n_cells: int = 60, n_genes: int = 40) -> ad.AnnData:
    """Three types of unequal size, ten genes each of their own; the cells' names give their types away."""
    generator = np.random.default_rng(seed)
    labels = np.sort(generator.choice(3, size=n_cells, p=[0.5, 0.3, 0.2]))
    labels[:3] = [0, 1, 2]
    rates = np.full((n_cells, n_genes), 2.0)
    for kind in range(3):
        rates[labels == kind, kind * 10 : kind * 10 + 10] = 12.0
    names = [TYPES[kind] for kind in labels]
    cells = pd.Index([f"{name}-{i}" for i, name in enumerate(names)])
    data = ad.AnnData(
        sparse.csr_matrix(generator.poisson(rates).astype(np.float32)),
        obs=pd.DataFrame({"cell_type": pd.Categorical(names)}, index=cells),
        var=pd.DataFrame(index=pd.Index([f"gene{i}" for i in range(n_genes)])),
        uns={"source": {"repository": "made here"}},
    )
    data.write_h5ad(path)
    return data


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """A folder with the sets `large` (90 cells) and `small` (60 cells)."""
    folder = tmp_path / "sets"
    folder.mkdir()
    make_set(folder / "large.h5ad", seed=1, n_cells=90)
    make_set(folder / "small.h5ad", seed=2)
    return folder
