"""What earlier versions wrote is loaded by this one. The folders in ``tests/data`` are never written again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import anndata
import numpy as np
import pytest

import scrae
from scrae import Settings, io, tl
from scrae.config import from_dict
from scrae.report import build

DATA = Path(__file__).parent.parent / "data"
VERSIONS = ["0.1.0"]


@pytest.fixture(params=VERSIONS)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the folder of a run of that version: 30 cells, 12 genes, labels and batches."""
    return Path(shutil.copytree(DATA / f"version_{request.param.replace('.', '_')}", tmp_path / "run"))


def test_the_model_gives_the_same_codes(run: Path) -> None:
    adata, model = io.read_h5ad(run / "result.h5ad"), scrae.load(run / "model")
    assert model.batch_names == ("a", "b")
    codes = model.encode(tl.count_data(adata, batch_key="batch"))
    np.testing.assert_allclose(codes, adata.obsm["X_scrae"], atol=1e-5)


def test_the_result_can_be_clustered_scored_reported_and_written_again(run: Path) -> None:
    adata = io.read_h5ad(run / "result.h5ad")
    clusters = adata.obs["scrae"].copy()
    assert len(clusters) == 30
    tl.cluster(adata, n_clusters=3, method="kmeans", seed=0)
    tl.score(adata, "kind")
    io.write_h5ad(adata, run / "again.h5ad")
    assert anndata.read_h5ad(run / "again.h5ad").obs["scrae"].nunique() == 3
    build(run)
    assert (run / "report.html").read_text(encoding="utf-8").rstrip().endswith("</html>")


def test_the_record_gives_the_settings(run: Path) -> None:
    settings = from_dict(Settings, json.loads((run / "run.json").read_text(encoding="utf-8"))["config"])
    assert (settings.label_key, settings.batch_key) == ("kind", "batch")
    assert settings.model.n_latent == 2
