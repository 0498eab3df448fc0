"""Simulated cells beside the measured ones: a run with three separate kinds of cells."""

from __future__ import annotations

import json
import re
from pathlib import Path

import anndata
import numpy as np
import pytest

import scrae
from scrae import report
from scrae.errors import ScraeError


def run_folder(folder: Path, batch_key: str | None) -> Path:
    rng, kind = np.random.default_rng(0), np.repeat([0, 1, 2], [60, 30, 30])
    rate = np.ones((3, 60))
    for k in range(3):
        rate[k, 20 * k : 20 * (k + 1)] = 12
    adata = anndata.AnnData(rng.poisson(rate[kind]).astype(np.float32))
    adata.obs["sample"] = np.where(np.arange(120) % 3, "a", "b")
    scrae.io.use_counts(adata)
    scrae.pp.normalize(adata)
    scrae.pp.select_genes(adata, n_top_genes=60)
    config = scrae.TrainConfig(max_epochs=60, batch_size=32)
    model = scrae.tl.train(adata, train_config=config, batch_key=batch_key)
    scrae.tl.cluster(adata, n_clusters=3)
    adata.obsm["X_umap"] = adata.obsm["X_scrae"][:, :2]
    folder.mkdir()
    adata.write_h5ad(folder / "result.h5ad")
    scrae.save(model, folder / "model")
    (folder / "run.json").write_text(json.dumps({"seed": 3, "batch_key": batch_key}))
    return folder


@pytest.mark.parametrize("batch_key", [None, "sample"])
def test_simulated_cells_have_the_shares_of_the_measured(tmp_path: Path, batch_key: str | None) -> None:
    folder = run_folder(tmp_path / "out", batch_key)
    page = report.build(folder, generate=300).read_text(encoding="utf-8")
    section = page[page.index('id="generated"') :]
    section = section[: section.index("</section>")]
    assert "300 simulated cells" in section
    assert float(re.search(r"total variation distance is (0\.\d+)", section)[1]) < 0.15
    (folder / "model" / "config.json").unlink()
    with pytest.raises(ScraeError, match="model"):
        report.build(folder, generate=300)
