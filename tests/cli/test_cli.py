"""The command line, as a user types it: in this process, and in one of its own where that matters."""

from __future__ import annotations

import inspect
import io
import json
import os
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from anndata import read_h5ad
from helpers.three_kinds import three_kinds
from typer.main import get_command

from scrae import __version__, pp, tl
from scrae.cli import app, main
from scrae.cli.options import OPTIONS, changed
from scrae.cli.progress import Bar
from scrae.config import ClusterConfig, ModelConfig, PreprocessConfig, Settings, TrainConfig
from scrae.core import fit as train
from scrae.core.checkpoint import Epoch
from scrae.core.model_io import load
from scrae.errors import ScraeError, ScraeWarning

SCORES = ["nmi", "ari", "ami", "homogeneity", "completeness"]


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def scrae(*arguments: object) -> Done:
    """Run the command line here, with its own streams and exit status."""
    out, err = io.StringIO(), io.StringIO()
    before, sys.argv = sys.argv, ["scrae", *map(str, arguments)]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main()
        code = 0
    except SystemExit as exit_:
        code = int(exit_.code or 0)
    finally:
        sys.argv = before
    return Done(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """90 cells of three kinds over 60 genes, as an h5ad of raw counts."""
    made = three_kinds(90, 60, n_marking=15, low=0.4, high=6.0, key="cell_type", seed=11)
    made.obs_names = [f"cell{i}" for i in range(90)]
    made.var_names = [f"gene{i}" for i in range(60)]
    path = tmp_path_factory.mktemp("raw") / "cells.h5ad"
    made.write_h5ad(path)
    return path


@pytest.fixture(scope="session")
def result(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "out"
    done = scrae(
        "run", raw, "-o", folder, "--label-key", "cell_type", "--max-epochs", 20, "--seed", 4, "--also-2d"
    )
    assert done.returncode == 0, done.stderr
    assert "report.html" in done.stdout
    assert "nmi" in done.stdout
    return folder


def test_run_writes_the_contract(result: Path, raw: Path) -> None:
    names = {p.relative_to(result).as_posix() for p in result.rglob("*") if p.is_file()}
    assert {
        "result.h5ad", "clusters.csv", "report.html", "run.json",
        "model/config.json", "model/weights.safetensors", "model/genes.txt",
    } <= names  # fmt: skip
    assert {"figures/umap_clusters.png", "figures/latent_labels.png", "figures/history.png"} <= names
    assert read_h5ad(result / "result.h5ad").obsm["X_scrae_2d"].shape == (90, 2)
    record = json.loads((result / "run.json").read_text())
    assert list(record["scores"]) == SCORES
    assert record["input"]["path"] == str(raw)
    assert record["input"]["n_cells"] == 90
    assert record["input"]["n_genes"] == 60
    assert len(record["input"]["sha256"]) == 64
    assert record["seed"] == 4
    assert record["config"]["seed"] == 4
    assert record["epochs"] <= 20
    assert record["peak_memory_mb"] > 0
    assert {"read", "preprocess", "train", "cluster", "report"} <= set(record["seconds"])
    assert not [p for p in result.iterdir() if p.name.startswith(".")]


def test_the_table_of_clusters_is_that_of_the_result(result: Path) -> None:
    table = pd.read_csv(result / "clusters.csv", index_col="cell", dtype=str)
    adata = read_h5ad(result / "result.h5ad")
    assert list(table["cluster"]) == list(adata.obs["scrae"])
    assert list(table.index) == list(adata.obs_names)


def test_the_same_path_a_step_at_a_time_gives_the_same_codes(result: Path, raw: Path, tmp_path: Path) -> None:
    p, m, e, c = (tmp_path / name for name in ("p.h5ad", "model", "e.h5ad", "c.h5ad"))
    for step in (
        ("preprocess", raw, "-o", p),
        ("train", p, "-o", m, "--max-epochs", 20, "--seed", 4),
        ("embed", p, "--model", m, "-o", e),
        ("cluster", e, "-o", c, "--seed", 4),
    ):
        done = scrae(*step)
        assert done.returncode == 0, done.stderr
    whole, steps = read_h5ad(result / "result.h5ad"), read_h5ad(c)
    assert np.array_equal(whole.obsm["X_scrae"], steps.obsm["X_scrae"])
    assert list(whole.obs["scrae"]) == list(steps.obs["scrae"])
    done = scrae("score", c, "--label-key", "cell_type")
    shown = dict(line.split() for line in done.stdout.splitlines())
    record = json.loads((result / "run.json").read_text())
    assert {k: f"{v:.4f}" for k, v in record["scores"].items()} == shown


def test_new_cells_in_another_gene_order_get_the_same_codes(result: Path, raw: Path, tmp_path: Path) -> None:
    adata = read_h5ad(raw)
    adata[:, ::-1].copy().write_h5ad(tmp_path / "new.h5ad")
    done = scrae("embed", tmp_path / "new.h5ad", "--model", result, "-o", tmp_path / "e.h5ad")
    assert done.returncode == 0, done.stderr
    whole = read_h5ad(result / "result.h5ad")
    assert np.array_equal(read_h5ad(tmp_path / "e.h5ad").obsm["X_scrae"], whole.obsm["X_scrae"])
    done = scrae("embed", tmp_path / "new.h5ad", "--model", result, "-o", tmp_path / "r.h5ad", "--refine")
    assert done.returncode == 0, done.stderr
    assert not np.array_equal(read_h5ad(tmp_path / "r.h5ad").obsm["X_scrae"], whole.obsm["X_scrae"])


def test_train_is_told_of_the_batches(result: Path, tmp_path: Path) -> None:
    options = ("--batch-key", "cell_type", "--max-epochs", 1)
    done = scrae("train", result / "result.h5ad", "-o", tmp_path / "model", *options)
    assert done.returncode == 0, done.stderr
    assert len(load(tmp_path / "model").batch_names) == 3


def test_genes_writes_a_table(raw: Path, tmp_path: Path) -> None:
    done = scrae("genes", raw, "-o", tmp_path / "genes.csv", "--gene-selection", "m3drop", "--n-top-genes", 7)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "genes.csv")
    assert list(table.columns) == ["gene", "score", "rank", "selected"]
    assert table["selected"].sum() == 7
    assert list(table["rank"]) == sorted(table["rank"])


@pytest.mark.parametrize("more", [(), ("--fdr", 0.2), ("--batch-key", "cell_type", "--n-top-genes", 9)])
def test_genes_of_a_file_that_stays_on_disk(raw: Path, tmp_path: Path, more: tuple[object, ...]) -> None:
    tables = {}
    for how in ("whole", "--backed"):
        options = (*more, "--backed") if how == "--backed" else more
        done = scrae(
            "genes", raw, "-o", tmp_path / "g.csv", "--gene-selection", "nbumi", "--min-cells", 3, *options
        )
        assert done.returncode == 0, done.stderr
        tables[how] = pd.read_csv(tmp_path / "g.csv"), done.stdout
    pd.testing.assert_frame_equal(tables["--backed"][0], tables["whole"][0], rtol=1e-9)
    assert set(tables["--backed"][1].splitlines()) <= set(tables["whole"][1].splitlines())
    assert "genes by nbumi." in tables["--backed"][1]


def test_preprocess_of_a_file_that_stays_on_disk_leaves_the_selected_genes(raw: Path, tmp_path: Path) -> None:
    options = ("--gene-selection", "seurat_v3", "--n-top-genes", 7, "--min-cells", 3)
    for name, more in (("whole", ()), ("ours", ("--backed",))):
        done = scrae("preprocess", raw, "-o", tmp_path / f"{name}.h5ad", *options, *more)
        assert done.returncode == 0, done.stderr
    ours, whole = (read_h5ad(tmp_path / f"{name}.h5ad") for name in ("ours", "whole"))
    chosen = whole.var_names[whole.var["scrae_selected"]]
    assert list(ours.var_names) == list(chosen)
    assert abs(ours.layers["counts"] - whole[:, chosen].layers["counts"]).nnz == 0
    assert "The counts were read block by block." in done.stdout


def test_genes_of_a_file_are_chosen_by_some_methods_only(raw: Path, tmp_path: Path) -> None:
    done = scrae("genes", raw, "-o", tmp_path / "g.csv", "--gene-selection", "scmarker", "--backed")
    assert done.returncode == 1
    assert done.stderr.startswith("scrae: scmarker needs the counts in memory, and these are in a file;")
    done = scrae("genes", raw, "-o", tmp_path / "g.csv", "--transpose", "--backed")
    assert done.stderr.startswith("scrae: --backed reads h5ad and zarr, and --transpose is for csv and tsv:")
    assert not (tmp_path / "g.csv").exists()


def test_plot_and_report_can_be_made_again(result: Path, tmp_path: Path) -> None:
    (result / "report.html").unlink()
    assert scrae("report", result).returncode == 0
    assert "cell_type" in (result / "report.html").read_text(encoding="utf-8")
    done = scrae("plot", result / "result.h5ad", "-o", tmp_path / "figures", "--label-key", "cell_type")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "figures" / "umap_labels.svg").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--label-key", "celltype"),
            "found no 'celltype'; there is cell_type; did you mean 'cell_type'?",
        ),
        (
            ("--batch-key", "celltype"),
            "batch_key: expected a column of obs, found no 'celltype'; there is 'cell_type'; did you mean 'cell_type'?",
        ),
        (
            ("--n-clusters", "many"),
            "--n-clusters: expected a whole number of at least 1 or None, found 'many'",
        ),
        (
            ("--preset", "papr"),
            "preset: expected 'default' or 'paper', found 'papr'; did you mean 'paper'?",
        ),
        (("--gene-selection", "m3dorp"), "'scmarker', found 'm3dorp'; did you mean 'm3drop'?"),
        (("--cluster-method", "laiden"), "found 'laiden'; did you mean 'leiden'?"),
        (("--n-latent", "0"), "--n-latent: expected a whole number from 1 to 65536, found 0"),
        (("--gene-selection", "best"), "--gene-selection: expected one of 'seurat_v3'"),
        (("--device", "tpu"), "--device: expected one of 'auto', 'cpu', 'cuda', found 'tpu'"),
        (("--layer", "spliced"), "spliced"),
        (("--n-clusters", "500"), "expected at most as many clusters as cells (90), found 500"),
    ],
)
def test_a_known_error_is_one_line_and_leaves_nothing(
    raw: Path, tmp_path: Path, arguments: tuple[str, str], message: str
) -> None:
    done = scrae("run", raw, "-o", tmp_path / "out", "--max-epochs", 1, *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.startswith("scrae: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_stopped_run_goes_on_with_resume(
    result: Path, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    command = (
        "run",
        raw,
        "-o",
        out,
        "--label-key",
        "cell_type",
        "--max-epochs",
        20,
        "--seed",
        4,
        "--also-2d",
    )

    def stop(self: Bar, epoch: Epoch, max_epochs: int) -> None:
        if epoch.epoch == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Bar, "on_epoch", stop)
    done = scrae(*command)
    assert done.returncode == 143
    assert done.stderr == (
        f"scrae: stopped: the training up to epoch 3 is saved in {out}/model/training.safetensors; "
        "resume it by the same command with --resume\n"
    )
    monkeypatch.undo()
    done = scrae(*command)
    assert done.returncode == 1
    assert "found an unfinished training; pass --resume to continue it" in done.stderr
    done = scrae(*command, "--resume")
    assert done.returncode == 0, done.stderr
    whole, resumed = read_h5ad(result / "result.h5ad"), read_h5ad(out / "result.h5ad")
    assert np.array_equal(whole.obsm["X_scrae"], resumed.obsm["X_scrae"])
    assert np.array_equal(whole.obsm["X_scrae_2d"], resumed.obsm["X_scrae_2d"])
    assert sorted(p.name for p in (out / "model").iterdir()) == [
        "config.json", "density.safetensors", "genes.txt", "weights.safetensors",
    ]  # fmt: skip


def test_a_training_that_breaks_keeps_what_was_good_and_ends_with_one(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert scrae("preprocess", raw, "-o", tmp_path / "p.h5ad").returncode == 0
    original = train.training_step

    def breaking(*args: Any, **options: Any) -> Any:
        step = original(*args, **options)
        count = args[2].critic.state_dict()["state"][0]["step"]  # one step an epoch
        return step._replace(critic=step.critic * np.nan) if count > 3 else step

    monkeypatch.setattr(train, "training_step", breaking)
    with pytest.warns(ScraeWarning, match="Training"):
        done = scrae("train", tmp_path / "p.h5ad", "-o", tmp_path / "m", "--max-epochs", 9)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("scrae: training ended early: critic=nan at step 1 of epoch 4 (")
    assert done.stderr.endswith(f"weights of epoch 3 were kept and written to {tmp_path / 'm'}\n")
    load(tmp_path / "m")


def test_a_run_again_from_its_record_gives_the_same_and_options_override(
    result: Path, tmp_path: Path
) -> None:
    done = scrae("run", "--config", result / "run.json", "-o", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    first, again = (json.loads((folder / "run.json").read_text()) for folder in (result, tmp_path / "again"))
    assert again["config"] == first["config"]
    assert (again["input"], again["scores"]) == (first["input"], first["scores"])
    for key in ("X_scrae", "X_scrae_2d"):
        assert np.array_equal(
            read_h5ad(result / "result.h5ad").obsm[key],
            read_h5ad(tmp_path / "again" / "result.h5ad").obsm[key],
        )
    options = ("--label-key", "none", "--no-also-2d", "--prior-weight", 0.5, "--encoder-layers", "16,8")
    done = scrae("run", "--config", result / "run.json", "-o", tmp_path / "b", *options, "--n-clusters", 3)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "b" / "run.json").read_text())["config"]
    expected = first["config"] | {"label_key": None, "also_2d": False}
    expected["model"] |= {"encoder_layers": [16, 8]}
    expected["train"] |= {"prior_weight": 0.5}
    expected["cluster"] |= {"n_clusters": 3}
    assert found == expected


def test_settings_are_read_from_yaml(raw: Path, tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("model: {n_latent: 3, likelihood: nb}\ntrain:\n  max_epochs: 1\n  patience: null\n")
    assert scrae("preprocess", raw, "-o", tmp_path / "p.h5ad").returncode == 0
    done = scrae("train", tmp_path / "p.h5ad", "-o", tmp_path / "m", "--config", file, "--n-latent", 4)
    assert done.returncode == 0, done.stderr
    config = load(tmp_path / "m").config
    assert (config.n_latent, config.likelihood) == (4, "nb")


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("{", (), "--config: expected JSON or YAML in"),
        ("[1]", (), "--config: expected a mapping of settings in"),
        ('{"model": {"latent": 3}}', (), "model: unknown setting 'latent'"),
        (
            "{}",
            ("--preset", "paper"),
            "--preset and --config both give the settings to start from: leave one out",
        ),
    ],
)
def test_a_wrong_config_file_is_an_error(
    raw: Path, tmp_path: Path, text: str, options: tuple[str, ...], message: str
) -> None:
    (tmp_path / "c.json").write_text(text)
    done = scrae("run", raw, "-o", tmp_path / "out", "--config", tmp_path / "c.json", *options)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_run_without_input_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text("{}")
    assert scrae("run", "-o", tmp_path / "out").returncode == 2
    done = scrae("run", "-o", tmp_path / "out", "--config", tmp_path / "c.json")
    assert done.returncode == 2
    assert "INPUTS" in done.stderr


class TestOptions:
    def test_every_setting_is_an_option_of_run_with_its_description(self) -> None:
        parameters = {one.name: one for one in get_command(app).commands["run"].params}
        names = {field.name for field in fields(Settings)} - {"preprocess", "model", "train", "cluster"}
        for cls in (PreprocessConfig, ModelConfig, TrainConfig):
            names |= {field.name for field in fields(cls)}
        names |= {"cluster_method", "n_clusters", "resolution"}
        assert names == parameters.keys() - {
            "inputs",
            "output",
            "config",
            "preset",
            "resume",
            "overwrite",
            "help",
        }
        for name in names:
            assert parameters[name].help, name
            assert parameters[name].default is None, name  # so that the file and the preset count

    def test_the_everyday_ones_come_first(self) -> None:
        panels = [one.rich_help_panel for one in get_command(app).commands["run"].params[1:]]
        assert panels.index("Advanced") == len(panels) - panels.count("Advanced")
        assert 20 < panels.count("Advanced") < 26

    @pytest.mark.parametrize("option", OPTIONS)
    def test_a_default_that_is_typed_is_the_default(self, option: str) -> None:
        setting = OPTIONS[option]
        typed = (
            setting.default
            if isinstance(setting.default, bool)
            else setting.parse(setting._text(setting.default))
        )
        assert typed == setting.default
        assert type(typed) is type(setting.default)
        assert changed(Settings(), {option: typed}) == Settings()

    def test_a_default_is_the_same_everywhere(self) -> None:
        for function, names in (
            (pp.filter, ("min_cells", "min_genes", "min_counts", "max_mito", "mito_prefix")),
            (pp.preprocess_backed, ("min_cells", "min_genes", "min_counts", "max_mito", "mito_prefix")),
            (pp.preprocess_backed, ("n_top_genes",)),
            (pp.select_genes, ("n_top_genes",)),
            (pp.select_genes_of_file, ("n_top_genes", "min_cells")),
        ):
            parameters = inspect.signature(function).parameters
            for name in names:
                assert parameters[name].default == OPTIONS[name].default, (function, name)
        for function in (pp.select_genes, pp.select_genes_of_file, pp.preprocess_backed):
            assert (
                inspect.signature(function).parameters["method"].default == OPTIONS["gene_selection"].default
            )
        for name in ("method", "n_clusters", "resolution"):
            assert inspect.signature(tl.cluster).parameters[name].default == getattr(ClusterConfig, name)


def test_without_a_terminal_training_is_reported_in_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar() as bar:
        bar.on_stage("train")
        for number in range(1, 41):
            bar.on_epoch(Epoch(number, 1.5, 0, 0, 0, 0, 0, float("nan"), 0), 40)
    written = capsys.readouterr()
    assert written.out == "train\n"
    lines = written.err.splitlines()
    assert lines[:2] == ["epoch 4 of 40, loss 1.5", "epoch 8 of 40, loss 1.5"]
    assert len(lines) >= 10


def test_debug_shows_the_traceback(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(ScraeError, match="found 'papr'"):
        scrae("--debug", "run", raw, "-o", tmp_path, "--preset", "papr")


def test_version() -> None:
    assert scrae("--version").stdout.strip() == __version__


def test_usage_errors_end_with_two_and_a_suggestion() -> None:
    assert scrae("run").returncode == 2
    assert scrae("fly").returncode == 2
    done = scrae("run", "cells.h5ad", "-o", "out", "--labelkey", "x")
    assert done.returncode == 2
    assert "--label-key" in done.stderr


def test_the_batch_key_of_genes_is_suggested(raw: Path, tmp_path: Path) -> None:
    done = scrae("genes", raw, "-o", tmp_path / "g.csv", "--batch-key", "Celltype")
    assert done.returncode == 1
    assert done.stderr == (
        "scrae: batch_key: expected a column of obs, found no 'Celltype' among 'cell_type', 'scrae_n_counts', "
        "'scrae_n_genes', 'scrae_mito', 'scrae_size_factor'; did you mean 'cell_type'?\n"
    )


COMPLETED = {
    "scrae ru": ["run"],
    "scrae run {raw} -o out --label-key cell": ["cell_type"],
    "scrae score {raw} --label-key ": ["cell_type"],
    "scrae run {raw} --gene-selection nbumi_": ["nbumi_high_variance"],
    "scrae run {raw} --cluster-method lei": ["leiden"],
    "scrae run {raw} --preset p": ["paper"],
    "scrae run {raw} --device cu": ["cuda"],
    "scrae run missing.h5ad --label-key ": [],
    "scrae run --label-key ": [],
}
COMPLETE = """
import json, os, sys
from contextlib import redirect_stdout, suppress
from io import StringIO
from scrae.cli import app
for typed in json.loads(sys.argv[1]):
    os.environ |= {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    with redirect_stdout(StringIO()) as shown, suppress(SystemExit):
        app(prog_name="scrae")
    print(json.dumps(shown.getvalue().split()))
"""


def test_the_shell_completes(raw: Path) -> None:
    typed = [words.format(raw=raw) for words in COMPLETED]
    done = subprocess.run(
        [sys.executable, "-c", COMPLETE, json.dumps(typed)],
        env=os.environ | {"_SCRAE_COMPLETE": "complete_bash"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [json.loads(line) for line in done.stdout.splitlines()] == list(COMPLETED.values())


def test_the_program_reports_its_status_to_the_shell(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scrae", "run", "nowhere.h5ad", "-o", "out"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("scrae: ")
    assert "nowhere.h5ad" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, scrae.cli; print(sorted({'torch','scanpy','anndata','pandas','matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
