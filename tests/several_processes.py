"""Trainings by several processes and by one, for ``test_ranks.py``; what they did is printed as JSON.

The processes are forks of this one, which has imported everything and started no thread. They meet over gloo.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from long.kill_training import epoch_of, prepared, warm_up
from reference.cells import cells
from torch import Tensor

import scrae
from scrae import cli, resume, train
from scrae.cli import progress  # noqa: F401  imported before the forks
from scrae.clustering import kmeans
from scrae.config import ModelConfig, TrainConfig
from scrae.counts import CountData
from scrae.errors import ScraeError
from scrae.model import SCRAE
from scrae.ranks import Ranks, joined

COUNTS = cells(135, 40, seed=4)  # 14 of them held out: 121 to train on
SMALL: dict[str, Any] = {"encoder_layers": (16,), "decoder_layers": (16,), "generator_layers": (8,)}
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    # name: settings of the model, of the training. Only the first is in single precision: in double, rounding stays
    # small over many steps also where Adam divides small gradients by smaller ones.
    "default": ({}, {"batch_size": 121, "max_epochs": 50}),  # an epoch is a step
    "all noise, separate": (
        SMALL | {"library": "inferred", "dropout": 0.2},
        {"batch_size": 121, "max_epochs": 50, "prior_update": "separate", "n_critic": 2},
    ),
    "uneven": (  # the last batch of an epoch is one cell
        SMALL | {"divergence": "jensen-shannon", "likelihood": "nb"},
        {"batch_size": 30, "max_epochs": 10, "weight_decay": 0.1, "schedule": "constant", "n_critic": 2},
    ),
    "batches": (
        SMALL | {"library": "inferred"},
        {"batch_size": 50, "max_epochs": 15, "prior_update": "separate"},
    ),
    "early stopping": (SMALL, {"batch_size": 50, "max_epochs": 60, "patience": 1, "learning_rate": 0.03}),
}
BATCHES = {"batch_names": ("a", "b", "c"), "batch_codes": np.arange(135) % 7 % 3}
TRAINING = {"max_epochs": "7", "seed": "3"}


def fork(number: int, work: Callable[[int], None], said: Path) -> list[int]:
    """Run ``work`` in forks that have torchrun's environment; return their statuses. What they say is ``said.RANK``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = {
        "WORLD_SIZE": number,
        "LOCAL_WORLD_SIZE": number,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    children = []
    for rank in range(number):
        sys.stdout.flush()
        if child := os.fork():
            children.append(child)
            continue
        os.environ.update(
            {name: str(value) for name, value in (names | {"RANK": rank, "LOCAL_RANK": rank}).items()}
        )
        out = os.open(said.with_suffix(f".{rank}"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        status = 99
        try:
            work(rank)
            status = 0
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
            if status != stop.code:
                print(stop.code)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def trained(name: str, ranks: Ranks) -> dict[str, Any]:
    """Return the history and the clusters of one variant."""
    model, training = VARIANTS[name]
    data = CountData(COUNTS, **BATCHES) if name == "batches" else CountData(COUNTS)
    config = TrainConfig(**({"patience": None} | training))
    made = SCRAE.for_data(data, ModelConfig(**model), seed=0)
    if name != "default":
        torch.set_default_dtype(torch.float64)
        made = made.double()
    result = train.fit(made, data, config, ranks=ranks)
    torch.set_default_dtype(torch.float32)
    history = {name: column.tolist() for name, column in result.history.items()}
    clusters = kmeans(made.encode(data), 3, seed=0).tolist()
    return {"history": history, "why": result.stopped_because, "clusters": clusters}


def losses(folder: Path, number: int) -> list[dict[str, Any]]:
    """Train every variant by so many processes, the first one first; return what each process saw."""

    def work(rank: int) -> None:
        with joined("cpu") as ranks:
            seen = {name: trained(name, ranks) for name in VARIANTS}
        (folder / f"seen{rank}").write_text(json.dumps(seen))

    if any(fork(number, work, folder / "said")):
        raise RuntimeError("\n".join(said(folder, number)))
    return [json.loads((folder / f"seen{rank}").read_text()) for rank in range(number)]


def differing(folder: Path) -> dict[str, Any]:
    """Give the second process other counts."""

    def work(rank: int) -> None:
        with joined("cpu") as ranks:
            data = CountData(COUNTS + rank)
            try:
                train.fit(SCRAE.for_data(data, ModelConfig(**SMALL)), data, TrainConfig(), ranks=ranks)
            except ScraeError as error:
                sys.exit(str(error))

    statuses = fork(2, work, folder / "said")
    return {"statuses": statuses, "said": said(folder, 2)}


def command(folder: Path, number: int, *options: str, lost: int | None = None) -> dict[str, Any]:
    """Train by ``scrae train``; the process ``lost`` is killed in the third epoch that it runs."""

    def work(rank: int) -> None:
        steps = 0
        original = train.training_step

        def fragile(*arguments: Any, **named: Any) -> Any:
            nonlocal steps
            steps += 1
            if rank == lost and steps == 3 * 3 - 1:  # three steps an epoch
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **named)

        train.training_step = fragile
        resume.Checkpoint.__init__.__kwdefaults__["seconds"] = 0.0  # keep every epoch
        sys.argv = ["scrae", "train", str(folder / "p.h5ad"), "-o", str(folder / "model"), *options]
        sys.argv += [
            text for name, value in TRAINING.items() for text in (f"--{name.replace('_', '-')}", value)
        ]
        cli.main()

    statuses = fork(number, work, folder / "said")
    kept = epoch_of(folder / "model" / resume.TRAINING_FILE)
    return {"statuses": statuses, "said": said(folder, number), "kept": kept}


def said(folder: Path, number: int) -> list[str]:
    """What each process printed, its warnings of torch's left out."""
    texts = [(folder / f"said.{rank}").read_text().splitlines() for rank in range(number)]
    return ["\n".join(line for line in lines if "[W" not in line and "[Gloo]" not in line) for lines in texts]


def weights(folder: Path) -> Tensor:
    """All weights of a model folder, one after the other, but for the critic's offset: no loss depends on it."""
    state = scrae.load(folder).state_dict()
    return torch.cat([value.reshape(-1) for name, value in state.items() if name != "critic.value.bias"])


def main(folder: Path) -> dict[str, Any]:
    """Run everything; return what was seen."""
    prepared(folder / "p.h5ad")
    warm_up()
    seen: dict[str, Any] = {
        "one": losses(folder, 1),
        "two": losses(folder, 2),
        "differing": differing(folder),
    }
    seen["alone"] = command(folder, 1)
    whole = weights(folder / "model")
    (folder / "model").rename(folder / "whole")
    seen["second lost"] = command(folder, 2, lost=1)
    seen["not resumed"] = command(folder, 2)
    seen["first lost"] = command(folder, 3, "--resume", lost=0)
    seen["resumed"] = command(folder, 1, "--resume")
    seen["weights differ by"] = float((weights(folder / "model") - whole).abs().max())
    seen["left"] = sorted(path.name for path in (folder / "model").iterdir())
    return seen


if __name__ == "__main__":
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "The .future.infer_string. option", DeprecationWarning)  # anndata 0.13 on pandas 3
    torch.set_num_threads(1)
    print(json.dumps(main(Path(sys.argv[1]))))
