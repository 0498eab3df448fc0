"""Training by several processes: real ones that communicate by gloo, compared with a single one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.interrupted_training import prepared
from sklearn.metrics import adjusted_rand_score

from scrae.core.distributed import Processes, joined
from scrae.core.model_io import load
from scrae.errors import ScraeError

TESTS = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("processes")
    done = subprocess.run(
        [sys.executable, "-m", "helpers.several_processes", str(folder)],
        capture_output=True, text=True, check=False, cwd=TESTS,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found | {"file": str(folder / "model" / "training.safetensors")}


def test_clusters_of_two_processes_agree_with_those_of_one(seen: dict[str, Any]):
    for seed in range(3):
        one, two = (seen[number][0][f"seed {seed}"]["clusters"] for number in ("one", "two"))
        assert len(set(one)) == len(set(two)) == 3
        assert adjusted_rand_score(one, two) >= 0.95, seed


def test_all_processes_end_with_the_same_history_and_clusters(seen: dict[str, Any]):
    first, second = seen["two"]
    assert json.dumps(first) == json.dumps(second)  # NaN in both for unused terms


def test_the_shards_differ_from_the_whole_and_early_stopping_is_shared(seen: dict[str, Any]):
    one, two = (seen[number][0] for number in ("one", "two"))
    assert one["seed 0"]["history"]["reconstruction"] != two["seed 0"]["history"]["reconstruction"]
    assert two["early stopping"]["why"].startswith("held-out likelihood did not improve")


def test_different_genes_or_batches_are_refused_in_every_process(seen: dict[str, Any]):
    message = "expected the same genes, batches and settings in all 2 processes, found different ones"
    assert seen["differing"] == [{"statuses": [1, 1], "said": [message, message]}] * 2


def test_shards_of_different_size_run_the_same_number_of_epochs(seen: dict[str, Any]):
    """By themselves, 120 cells would be trained for 278 epochs and 119 for 281."""
    assert seen["unequal"] == ["278", "278"]


def test_a_lost_process_ends_the_others_and_the_training_is_saved(seen: dict[str, Any]):
    found = seen["second lost"]
    assert found["statuses"] == [1, -9]
    assert found["kept"] == 2
    lines, other = found["said"]
    assert other == ""
    *progress, line = lines.splitlines()
    assert all(text == "train" or text.startswith("epoch ") for text in progress)
    assert line.startswith("scrae: expected 2 processes until the end of the training, found one lost (")
    assert line.endswith(
        f"the training up to epoch 2 is saved in {seen['file']}; resume it by the same command with --resume"
    )


def test_an_unfinished_training_is_not_overwritten(seen: dict[str, Any]):
    assert seen["not resumed"]["statuses"] == [1, 1]
    assert seen["not resumed"]["kept"] == 2
    message = f"{seen['file']}: found an unfinished training;"
    assert seen["not resumed"]["said"][0].startswith(f"scrae: {message}")


def test_it_is_resumed_by_the_same_number_of_processes_alone(seen: dict[str, Any]):
    assert seen["by one"]["statuses"] == [1]
    assert "the training began with processes=2, found 1" in seen["by one"]["said"][0]
    assert seen["resumed"]["statuses"] == [0, 0]
    lines, other = seen["resumed"]["said"]
    assert lines.splitlines()[-1] == "7 epochs: all 7 epochs were run."
    assert other == ""
    assert seen["left"] == ["config.json", "density.safetensors", "genes.txt", "weights.safetensors"]


def test_a_single_process_joins_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined("cpu") as processes:
        assert processes == Processes(rank=0, size=1, device="cpu")
        assert processes.least(3) == 3
        assert processes.mean(torch.ones(2)).tolist() == [1, 1]


def test_processes_that_do_not_find_each_other_are_named(monkeypatch: pytest.MonkeyPatch):
    for name, value in {"WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(ScraeError, match="expected 2 processes started by torchrun"), joined("cpu"):
        pass


def test_torchrun_trains_and_one_process_speaks(tmp_path: Path):
    prepared(tmp_path / "p.h5ad")
    train = ["train", str(tmp_path / "p.h5ad"), "-o", str(tmp_path / "model"), "--max-epochs", "2"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *torchrun, "-m", "scrae", *train],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if "Gloo" not in line] == [
        "train",
        "2 epochs: all 2 epochs were run.",
    ]
    assert len(load(tmp_path / "model").genes) == 60
