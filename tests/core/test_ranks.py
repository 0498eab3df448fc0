"""Training by several processes: real ones that meet over gloo, against a single one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cli.test_cli import scrae
from long.kill_training import prepared
from reference.cells import cells
from sklearn.metrics import adjusted_rand_score

from scrae.core.data import CountData
from scrae.core.model_io import load
from scrae.core.ranks import Ranks, joined
from scrae.core.state import Epoch
from scrae.errors import ScraeError

SCRIPT = Path(__file__).parent.parent / "several_processes.py"
OFFSET = "the critic's offset changes no gradient of wasserstein, so rounding alone moves it"


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("ranks")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found | {"file": str(folder / "model" / "training.safetensors")}


def test_the_first_fifty_losses_are_those_of_one_process(seen: dict[str, Any]):
    one, two = (seen[number][0]["default"]["history"] for number in ("one", "two"))
    assert len(one["epoch"]) == 50  # of one step each
    for name in set(Epoch._fields) - {"generator", "encoder"}:
        np.testing.assert_allclose(two[name], one[name], rtol=1e-4, atol=1e-4, err_msg=name)
    both = [np.asarray(h["generator"]) + np.asarray(h["encoder"]) for h in (one, two)]
    np.testing.assert_allclose(both[1], both[0], rtol=1e-4, atol=1e-4, err_msg=OFFSET)


@pytest.mark.parametrize("variant", ["all noise, separate", "uneven", "batches", "early stopping"])
def test_in_double_precision_all_losses_are_those_of_one_process(seen: dict[str, Any], variant: str):
    one, two = (seen[number][0][variant] for number in ("one", "two"))
    for name in Epoch._fields:
        np.testing.assert_allclose(
            two["history"][name], one["history"][name], rtol=1e-7, atol=1e-7, err_msg=name
        )
    assert two["why"] == one["why"]
    assert two["why"].startswith("held-out" if variant == "early stopping" else "all")


def test_all_processes_end_alike(seen: dict[str, Any]):
    first, second = seen["two"]
    assert json.dumps(first) == json.dumps(second)  # NaN in both where a term was not used


def test_clusters_are_those_of_one_process(seen: dict[str, Any]):
    for variant, one in seen["one"][0].items():
        clusters = seen["two"][0][variant]["clusters"]
        assert len(set(clusters)) == 3
        assert adjusted_rand_score(one["clusters"], clusters) >= 0.95, variant


def test_different_counts_are_refused_in_every_process(seen: dict[str, Any]):
    message = (
        "expected the same counts, genes and batches in all 2 processes, found different ones; give them the same "
        "command, and files and folders that all of them see"
    )
    assert seen["differing"] == {"statuses": [1, 1], "said": [message, message]}


def test_a_lost_process_ends_the_others_and_the_training_is_kept(seen: dict[str, Any]):
    found = seen["second lost"]
    assert found["statuses"] == [1, -9]
    assert found["kept"] == 2
    line, other = found["said"]
    assert other == ""
    assert line.startswith("scrae: expected 2 processes to the end of the training, found one lost (")
    assert line.endswith(
        "); go on with --resume, by as many as you like: the training up to epoch 2 is kept in "
        f"{seen['file']}; the same command with --resume goes on"
    )
    assert "\n" not in line


def test_an_unfinished_training_is_not_overwritten(seen: dict[str, Any]):
    assert seen["not resumed"]["statuses"] == [1, 1]
    assert seen["not resumed"]["kept"] == 2
    message = f"{seen['file']}: found a training that was not finished;"
    assert seen["not resumed"]["said"][0].startswith(f"scrae: {message}")
    assert seen["not resumed"]["said"][1].startswith(f"scrae (process 1): {message}")


def test_it_goes_on_by_another_number_of_processes_and_ends_alike(seen: dict[str, Any]):
    assert seen["first lost"]["statuses"] == [-9, 1, 1]
    assert seen["first lost"]["kept"] == 4  # two more epochs, by three processes
    assert "found one lost" in seen["first lost"]["said"][2]
    assert seen["alone"]["statuses"] == seen["resumed"]["statuses"] == [0]
    assert seen["resumed"]["said"] == ["7 epochs: all 7 epochs were run."]
    assert seen["left"] == ["config.json", "genes.txt", "weights.safetensors"]
    assert seen["weights differ by"] < 1e-3


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
        "2 epochs: all 2 epochs were run."
    ]
    assert len(load(tmp_path / "model").genes) == 60


@pytest.mark.parametrize(("n_rows", "size"), [(10, 1), (10, 3), (128, 2), (2, 2), (7, 4)])
def test_shares_are_all_rows_once(n_rows: int, size: int):
    shares = [Ranks(rank=rank, size=size).share(n_rows) for rank in range(size)]
    assert [row for rows, _ in shares for row in range(n_rows)[rows]] == list(range(n_rows))
    np.testing.assert_allclose(
        [weight * n_rows for _, weight in shares], [len(range(n_rows)[r]) for r, _ in shares]
    )
    assert all(rows.stop > rows.start for rows, _ in shares)


def test_fewer_rows_than_processes_are_taken_by_each():
    assert [Ranks(rank=rank, size=3).share(2) for rank in range(3)] == [(slice(0, 2), 1 / 3)] * 3


def test_a_part_of_a_batch_is_the_batch_of_its_rows():
    codes = [0, 1, 2, 0, 1, 2, 2, 1, 2]
    data = CountData(cells(9, 7, seed=2), batch_names=("a", "b", "c"), batch_codes=codes)
    rows = torch.tensor([4, 0, 8, 3, 3])
    whole = data.batch(rows)
    assert whole.part(slice(0, 5)) is whole
    part, expected = whole.part(slice(1, 4)), data.batch(rows[1:4])
    for name in ("start", "total", "batch_code"):
        assert torch.equal(getattr(part, name), getattr(expected, name)), name
    for name, value in expected.nonzeros._asdict().items():
        assert torch.equal(getattr(part.nonzeros, name), value), name
    nameless = CountData(cells(9, 7, seed=2)).batch(rows)
    assert nameless.part(slice(1, 4)).batch_code is None


@pytest.mark.parametrize(
    ("variables", "device", "message"),
    [
        (
            {"WORLD_SIZE": "2"},
            "cpu",
            "environment: expected a whole number as RANK, found ''; start the processes with torchrun",
        ),
        (
            {"WORLD_SIZE": "two"},
            "cpu",
            "environment: expected a whole number as WORLD_SIZE, found 'two'; start the processes with torchrun",
        ),
        (
            {"WORLD_SIZE": "2", "RANK": "0"},
            "mps",
            "--device: expected cpu or cuda for 2 processes, found mps",
        ),
    ],
)
def test_an_environment_that_is_not_torchrun_s_is_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], device: str, message: str
):
    monkeypatch.delenv("RANK", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ScraeError) as error, joined(device):
        pass
    assert str(error.value) == message


def test_processes_without_an_address_are_refused(monkeypatch: pytest.MonkeyPatch):
    for name, value in {"WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with (
        pytest.raises(
            ScraeError, match=r"^expected 2 processes that find each other, found that .*torchrun$"
        ),
        joined("cpu"),
    ):
        pass


def test_other_commands_are_for_one_process(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = scrae("run", "cells.h5ad", "-o", "out")
    assert done.returncode == 1
    assert done.stderr == (
        "scrae: run: expected one process, found the 2 of torchrun (WORLD_SIZE); only train is shared by several\n"
    )
