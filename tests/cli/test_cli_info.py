"""What ``scrae info`` says of files and folders, and what it advises."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse
from typer.testing import CliRunner

from scrae import errors
from scrae.cli import app
from scrae.config import ModelConfig
from scrae.core.data import CountData
from scrae.core.model import SCRAE
from scrae.core.model_io import save
from scrae.errors import ScraeError


def info(*arguments: object) -> list[str]:
    done = CliRunner().invoke(app, ["info", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output.splitlines()


@pytest.fixture(autouse=True)
def _no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """These files are sound; the trial in a process of its own has tests of its own."""
    monkeypatch.setattr("scrae.io.try_hdf5", lambda *files: None)


@pytest.fixture
def cells() -> AnnData:
    """Forty cells: four with 5, the others with 3 counts in a gene; MT-1 has 2 in the last ten."""
    counts = np.zeros((40, 6), dtype=np.int32)
    counts[np.arange(40), np.arange(40) % 4] = 3
    counts[:4, 4] = 2
    counts[30:, 5] = 2
    made = AnnData(sparse.csr_matrix(counts))
    made.var_names = ["A", "B", "C", "D", "E", "MT-1"]
    made.obs_names = [f"cell{i}" for i in range(40)]
    return made


def test_it_says_what_is_there_and_what_to_run(cells: AnnData, tmp_path: Path) -> None:
    cells.obs["donor"] = np.where(np.arange(40) < 30, "d1", "d2")
    cells.obs["Cell type"] = pd.Categorical(["T", "B"] * 19 + [None, "T"])
    cells.obs["depth"] = np.arange(40) * 1.5
    cells.obs["barcode"] = [f"b{i}" for i in range(40)]
    cells.obs["nothing"] = np.nan
    cells.write_h5ad(tmp_path / "my cells.h5ad")
    file = tmp_path / "my cells.h5ad"
    assert info(file) == [
        f"{file}: 40 cells x 6 genes, 22.5% nonzero",
        "  a cell has 3 counts of 1 genes (medians)",
        "  mitochondrial share: median 0.0%, above 20 % in 10 cells",
        "- Counts were found in X: 40 cells x 6 genes.",
        "  obs 'donor': 2 different values: d1 (30), d2 (10)",
        "  obs 'Cell type': 2 different values: T (20), B (19), 1 missing",
        "  obs 'depth': 40 different values, numbers from 0 to 58.5",
        "  obs 'barcode': 40 different values: b0 (1), b1 (1), b2 (1), b3 (1), ...",
        "  obs 'nothing': no values",
        "",
        f"Try: scrae run '{file}' -o out --label-key 'Cell type'",
        "obs 'donor' may be batches. If types of cells are the same in all batches, correct for them:",
        f"  scrae run '{file}' -o out_batch --label-key 'Cell type' --batch-key donor",
    ]


@pytest.mark.parametrize(
    ("columns", "label"),
    [
        (("leiden", "batch", "annotation"), "annotation"),
        (("orig.ident", "group", "louvain"), "group"),
        (("group", "bulk_labels"), "bulk_labels"),
        (("leiden", "sample_type"), None),
        (("scrae",), None),
        ((), None),
    ],
)
def test_the_likeliest_column_of_labels(
    cells: AnnData, tmp_path: Path, columns: tuple[str, ...], label: str | None
) -> None:
    for name in columns:
        cells.obs[name] = ["a", "b"] * 20
    cells.write_h5ad(tmp_path / "c.h5ad")
    (advice,) = [line for line in info(tmp_path / "c.h5ad") if line.startswith("Try: ")]
    option = f" --label-key {label}" if label else ""
    assert advice == f"Try: scrae run {tmp_path / 'c.h5ad'} -o out{option}"


def test_mitochondrial_genes_by_their_prefix(cells: AnnData, tmp_path: Path) -> None:
    cells.var_names = ["A", "B", "C", "D", "E", "chrM:1"]
    cells.write_h5ad(tmp_path / "c.h5ad")
    assert not [line for line in info(tmp_path / "c.h5ad") if "mitochondrial share" in line]
    lines = info(tmp_path / "c.h5ad", "--mito-prefix", "chrM:")
    assert "  mitochondrial share: median 0.0%, above 20 % in 10 cells" in lines
    assert lines[-1] == f"Try: scrae run {tmp_path / 'c.h5ad'} -o out --mito-prefix chrM:"


def test_columns_that_look_like_batches(cells: AnnData, tmp_path: Path) -> None:
    cells.obs["Plate no"] = np.arange(40) % 3
    cells.obs["stim"] = ["a", "b"] * 20
    cells.obs["donor"] = pd.Categorical(["a", None] * 20)  # every cell needs a batch
    cells.obs["barcode_sample"] = [f"b{i}" for i in range(40)]
    cells.write_h5ad(tmp_path / "c.h5ad")
    assert info(tmp_path / "c.h5ad")[-2:] == [
        "obs 'Plate no', 'stim' may be batches. If types of cells are the same in all batches, correct for them:",
        f"  scrae run {tmp_path / 'c.h5ad'} -o out_batch --batch-key 'Plate no'",
    ]


def test_an_unfiltered_matrix_is_said(cells: AnnData, tmp_path: Path) -> None:
    deep = cells.X.toarray()
    deep[0, 0] = 900
    cells.X = sparse.csr_matrix(deep)
    cells.write_h5ad(tmp_path / "c.h5ad")
    *_, why, advice = info(tmp_path / "c.h5ad")
    assert why == (
        "Most barcodes are nearly empty, as in an unfiltered 10x matrix: give the filtered one, or a threshold."
    )
    assert advice == f"Try: scrae run {tmp_path / 'c.h5ad'} -o out --min-counts 500"


def test_a_table_with_genes_in_rows(cells: AnnData, tmp_path: Path) -> None:
    cells.to_df().T.to_csv(tmp_path / "c.csv")
    assert (
        info(tmp_path / "c.csv", "--transpose")[-1]
        == f"Try: scrae run {tmp_path / 'c.csv'} -o out --transpose"
    )


def test_files_of_earlier_steps(cells: AnnData, tmp_path: Path) -> None:
    cells.var["scrae_selected"] = True
    cells.write_h5ad(tmp_path / "p.h5ad")
    assert (
        info(tmp_path / "p.h5ad")[-1]
        == f"Its genes are selected. Try: scrae train {tmp_path / 'p.h5ad'} -o model"
    )
    cells.obsm["X_scrae"] = np.ones((40, 2), dtype=np.float32)
    cells.write_h5ad(tmp_path / "e.h5ad")
    assert info(tmp_path / "e.h5ad")[-2:] == [
        f"  scrae cluster {tmp_path / 'e.h5ad'} -o clustered.h5ad",
        f"  scrae plot {tmp_path / 'e.h5ad'} -o figures",
    ]


def test_folders_of_models_and_runs(cells: AnnData, tmp_path: Path) -> None:
    data = CountData(cells.X, list(cells.var_names))
    save(
        SCRAE.for_data(data, ModelConfig(n_latent=3, encoder_layers=(4,), decoder_layers=(4,)), seed=1),
        tmp_path / "m",
    )
    assert info(tmp_path / "m") == [
        f"{tmp_path / 'm'}: a model of scrae: 6 genes (A, B, C, ...), 3 latent dimensions, prior learned",
        "",
        f"New cells: scrae embed NEW.h5ad --model {tmp_path / 'm'} -o new_codes.h5ad",
    ]
    record = {
        "version": "0.1.0", "command": "scrae run c.h5ad -o out", "n_cells": 40, "n_clusters": 4, "epochs": 7,
        "stopped_because": "no better", "label_key": "kind", "scores": {"nmi": 0.5},
    }  # fmt: skip
    (tmp_path / "run.json").write_text(json.dumps(record))
    assert info(tmp_path) == [
        f"{tmp_path}: a run of scrae 0.1.0: 40 cells, 4 clusters, 7 epochs (no better)",
        "  nmi 0.500 against kind",
        "  made by: scrae run c.h5ad -o out",
        "",
        f"Look: {tmp_path / 'report.html'}",
        f"New cells: scrae embed NEW.h5ad --model {tmp_path} -o new_codes.h5ad",
    ]
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(ScraeError, match=r"run.json: expected the record of a run, found something else$"):
        info(tmp_path)


def test_the_nearest_name_is_suggested_and_only_a_near_one() -> None:
    assert errors.did_you_mean("celltype", ["batch", "cell_type"]) == "; did you mean 'cell_type'?"
    assert errors.did_you_mean("CELL_TYPE", ["batch", "Cell_Type"]) == "; did you mean 'Cell_Type'?"
    assert errors.did_you_mean("x", ["batch", "cell_type"]) == ""
    assert errors.did_you_mean("x", []) == ""
    assert errors.did_you_mean(3, [4, None]) == ""
