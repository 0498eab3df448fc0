"""The one path, called from Python."""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad
from scipy import sparse

import scrae
from scrae import ScraeError, ScraeWarning, Settings
from scrae.config import from_dict, to_dict
from scrae.pipeline.results import Progress, peak_memory_mb

SMALL = Settings(
    preprocess=scrae.PreprocessConfig(min_cells=3, n_top_genes=20, gene_selection="deviance"),
    model=scrae.ModelConfig(n_latent=2, encoder_layers=(8,), decoder_layers=(8,)),
    train=scrae.TrainConfig(max_epochs=2, batch_size=32),
    cluster=scrae.ClusterConfig(n_clusters=2),
)


def cells(n: int, genes: list[str], seed: int = 0) -> AnnData:
    rng = np.random.default_rng(seed)
    rates = np.where(
        np.arange(n)[:, None] % 2, np.linspace(0.5, 5, len(genes)), np.linspace(5, 0.5, len(genes))
    )
    made = AnnData(sparse.csr_matrix(rng.poisson(rates).astype(np.float32)))
    made.var_names = genes
    made.obs_names = [f"s{seed}c{i}" for i in range(n)]
    made.obs["half"] = pd.Categorical(np.where(np.arange(n) % 2, "odd", "even"))
    return made


class Heard(Progress):
    """Callbacks that remember."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.stages: list[str] = []
        self.epochs: list[tuple[int, int]] = []

    def on_message(self, text: str) -> None:
        self.said.append(text)

    def on_stage(self, name: str) -> None:
        self.stages.append(name)

    def on_epoch(self, epoch: scrae.core.fit.Epoch, max_epochs: int) -> None:
        self.epochs.append((epoch.epoch, max_epochs))


def test_run_takes_an_anndata_and_tells_how_far_it_is(tmp_path: Path) -> None:
    adata, heard = cells(60, [f"g{i}" for i in range(24)]), Heard()
    scrae.io.use_counts(adata)
    counts = adata.layers["counts"].copy()
    result = scrae.run(adata, tmp_path / "out", SMALL, label_key="half", progress=heard)
    assert result is adata
    assert abs(result.layers["counts"] - counts[:, :]).nnz == 0
    assert heard.epochs == [(1, 2), (2, 2)]
    assert heard.stages == [
        "read", "preprocess", "train", "cluster", "find markers", "project", "write model", "figures", "write",
        "report",
    ]  # fmt: skip
    written = read_h5ad(tmp_path / "out" / "result.h5ad")
    assert np.array_equal(written.obsm["X_scrae"], result.obsm["X_scrae"])
    assert "scrae_colors" in written.uns
    model = scrae.load(tmp_path / "out" / "model")
    assert np.array_equal(model.encode(scrae.tl.count_data(written)), written.obsm["X_scrae"])


def test_clusters_that_are_divided_by_a_column_are_noted(tmp_path: Path) -> None:
    adata = cells(160, [f"g{i}" for i in range(24)])
    adata.obs["donor"] = adata.obs.pop("half")
    scrae.io.use_counts(adata)
    result = scrae.run(adata, tmp_path / "out", SMALL)
    (note,) = [note for note in result.uns["scrae"]["notes"] if note.startswith("Batches: ")]
    assert "most cells have the same “donor”." in note
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert (
        page.count("scrae run INPUT -o OUT_batch --batch-key donor") == 2
    )  # among the warnings and the notes


def test_several_files_are_samples_and_the_record_names_them_all(tmp_path: Path) -> None:
    paths = [tmp_path / "a.h5ad", tmp_path / "b.h5ad"]
    cells(40, [f"g{i}" for i in range(24)], seed=1).write_h5ad(paths[0])
    cells(30, [f"g{i}" for i in range(2, 26)], seed=2).write_h5ad(paths[1])
    result = scrae.run(paths, tmp_path / "out", SMALL)
    assert result.n_vars == 22
    assert dict(result.obs["sample"].value_counts()) == {"a": 40, "b": 30}
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["input"]["path"] == [str(p) for p in paths]
    assert len(set(record["input"]["sha256"])) == 2
    assert record["scores"] is None


def test_our_warnings_reach_the_caller_and_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(adata: AnnData, **_: object) -> None:
        warnings.warn("The genes <are> odd.", ScraeWarning, stacklevel=2)
        adata.var["scrae_selected"] = True

    monkeypatch.setattr(scrae.pp, "select_genes", odd)
    adata = cells(60, [f"g{i}" for i in range(24)])
    scrae.io.use_counts(adata)
    with pytest.warns(ScraeWarning, match="The genes <are> odd"):
        result = scrae.run(adata, tmp_path / "out", SMALL)
    assert result.uns["scrae"]["warnings"] == ["The genes <are> odd."]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "The genes &lt;are&gt; odd." in page


def prepared() -> AnnData:
    adata = cells(60, [f"g{i}" for i in range(24)])
    scrae.io.use_counts(adata)
    return adata


def test_results_are_written_before_a_warning_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(adata: AnnData, **_: object) -> None:
        warnings.warn("The genes are odd.", ScraeWarning, stacklevel=2)
        warnings.warn("A library is old.", FutureWarning, stacklevel=2)
        adata.var["scrae_selected"] = True

    monkeypatch.setattr(scrae.pp, "select_genes", odd)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ScraeWarning, match="The genes are odd"):
            scrae.run(prepared(), tmp_path / "out", SMALL)
    written = read_h5ad(tmp_path / "out" / "result.h5ad")
    assert list(written.uns["scrae"]["warnings"]) == ["The genes are odd."]
    assert {"report.html", "run.json", "clusters.csv", "model"} <= {
        p.name for p in (tmp_path / "out").iterdir()
    }


def test_a_failing_run_raises_the_warnings_that_came_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(adata: AnnData, **_: object) -> None:
        warnings.warn("The genes are odd.", ScraeWarning, stacklevel=2)
        raise ScraeError("no genes")

    monkeypatch.setattr(scrae.pp, "select_genes", broken)
    with pytest.warns(ScraeWarning, match="The genes are odd"), pytest.raises(ScraeError, match="no genes"):
        scrae.run(prepared(), tmp_path / "out", SMALL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ScraeError, match="no genes"):  # not the warning in its place
            scrae.run(prepared(), tmp_path / "out", SMALL)


def test_a_figure_that_fails_costs_only_figures_and_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no font")

    monkeypatch.setattr(scrae.pl, "save_figures", broken)
    with pytest.raises(RuntimeError, match="no font"):
        scrae.run(prepared(), tmp_path / "out", SMALL)
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert names == {"model", "clusters.csv", "markers.csv", "result.h5ad", "run.json"}


def test_the_record_holds_all_settings_and_gives_the_same_run(tmp_path: Path) -> None:
    changes = {"label_key": "half", "also_2d": True, "check_seeds": 1, "seed": 3, "device": "cpu"}
    first = scrae.run(prepared(), tmp_path / "a", SMALL, **changes)
    record = json.loads((tmp_path / "a" / "run.json").read_text(encoding="utf-8"))
    settings = from_dict(Settings, record["config"])
    assert settings == replace(SMALL, **changes)
    assert record["config"] == to_dict(settings)
    written = read_h5ad(tmp_path / "a" / "result.h5ad")
    assert json.loads(written.uns["scrae"]["settings"]) == record["config"]
    again = scrae.run(prepared(), tmp_path / "b", settings)
    for key in ("X_scrae", "X_scrae_2d", "X_umap"):
        assert np.array_equal(first.obsm[key], again.obsm[key])
    assert first.uns["scrae"]["scores"] == again.uns["scrae"]["scores"]


def test_an_unknown_setting_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="lable_key"):
        scrae.run(prepared(), tmp_path / "out", lable_key="half")


def test_peak_memory_is_unknown_without_the_resource_module(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (peak_memory_mb() or 0) > 10
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    assert peak_memory_mb() is None


def test_an_anndata_without_counts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScraeError, match=r"use scrae\.io\.use_counts\(adata\)"):
        scrae.run(cells(10, list("abcdefgh")), tmp_path / "out", SMALL)
    assert not (tmp_path / "out").exists()


def test_the_same_seed_gives_the_same_result_and_another_one_does_not() -> None:
    def codes(seed: int) -> tuple[np.ndarray, list[str]]:
        adata = cells(60, [f"g{i}" for i in range(24)])
        scrae.io.use_counts(adata)
        scrae.analyze(adata, replace(SMALL, seed=seed))
        return np.c_[adata.obsm["X_scrae"], adata.obsm["X_umap"]], list(adata.obs["scrae"])

    first, again, other = codes(5), codes(5), codes(6)
    assert np.array_equal(first[0], again[0])
    assert first[1] == again[1]
    assert not np.array_equal(first[0], other[0])


def test_run_tells_the_model_of_the_batches_and_writes_it_down(tmp_path: Path) -> None:
    adata = cells(60, [f"g{i}" for i in range(24)])
    scrae.io.use_counts(adata)
    scrae.run(adata, tmp_path / "out", SMALL, batch_key="half")
    assert scrae.load(tmp_path / "out" / "model").batch_names == ("even", "odd")
    record = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    assert (record["batch_key"], record["label_key"]) == ("half", None)
    assert "Batch (half)" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
