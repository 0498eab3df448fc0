"""Trainings by several processes and by one, for ``test_distributed.py``; the results are printed as JSON.

The processes are forks of this one, which has imported everything and started no thread. They communicate by gloo.
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
from reference.cells import cells

from helpers.interrupted_training import epoch_of, prepared, warm_up
from scrae import cli
from scrae.cli import progress  # noqa: F401  imported before the forks
from scrae.cluster.partition import kmeans
from scrae.config import ModelConfig, TrainConfig
from scrae.core import checkpoint
from scrae.core import fit as training
from scrae.core.data import CountData
from scrae.core.distributed import Processes, joined
from scrae.core.fit import fit
from scrae.core.model import SCRAE
from scrae.errors import ScraeError

COUNTS = cells(240, 40, seed=4)
SMALL: dict[str, Any] = {"encoder_layers": (16,), "decoder_layers": (16,), "generator_layers": (8,)}
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # settings of the model, of the training
    **{f"seed {seed}": ({}, {"max_epochs": 30}) for seed in range(3)},
    "separate": (
        SMALL | {"library": "inferred", "dropout": 0.2},
        {"max_epochs": 30, "prior_update": "separate", "n_critic": 2},
    ),
    "uneven": (SMALL | {"likelihood": "nb"}, {"batch_size": 50, "max_epochs": 30}),
    "batches": (SMALL | {"library": "inferred"}, {"max_epochs": 30}),
    "early stopping": (SMALL, {"max_epochs": 60, "patience": 1, "learning_rate": 0.03}),
}
BATCHES = {"batch_names": ("a", "b", "c"), "batch_codes": np.arange(240) % 7 % 3}
TRAINING = {"max_epochs": "7", "seed": "3"}
STEPS = 3  # of an epoch, for each of two processes


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


def shard(processes: Processes, **batches: Any) -> CountData:
    """The cells of one process: every second one of two."""
    rows = slice(processes.rank, None, processes.size)
    if batches:
        batches["batch_codes"] = batches["batch_codes"][rows]
    return CountData(COUNTS[rows], **batches)


def trained(name: str, processes: Processes) -> dict[str, Any]:
    """Return the history of one variant, and the clusters of all cells."""
    model, training = VARIANTS[name]
    batches = BATCHES if name == "batches" else {}
    config = TrainConfig(**({"patience": None, "batch_size": 60} | training))
    data = shard(processes, **batches)
    seed = int(name.removeprefix("seed ")) if name.startswith("seed ") else 0
    made = SCRAE.for_data(data, ModelConfig(**model), seed=seed)
    result = fit(made, data, config, seed=seed, processes=processes)
    history = {name: column.tolist() for name, column in result.history.items()}
    clusters = kmeans(made.encode(shard(Processes(), **batches)), 3, seed=0).tolist()
    return {"history": history, "why": result.stopped_because, "clusters": clusters}


def losses(folder: Path, number: int) -> list[dict[str, Any]]:
    """Train every variant by ``number`` processes; return what each process saw."""

    def work(rank: int) -> None:
        with joined("cpu") as processes:
            seen = {name: trained(name, processes) for name in VARIANTS}
        (folder / f"seen{rank}").write_text(json.dumps(seen))

    if any(fork(number, work, folder / "said")):
        raise RuntimeError("\n".join(said(folder, number)))
    return [json.loads((folder / f"seen{rank}").read_text()) for rank in range(number)]


def unequal(folder: Path) -> list[str]:
    """Give the second process one cell less, for which alone more epochs would be planned; return their numbers."""

    def work(rank: int) -> None:
        with joined("cpu") as processes:
            data, config = CountData(COUNTS[:239][rank::2]), TrainConfig(batch_size=60, patience=None)
            made = SCRAE.for_data(data, ModelConfig(**SMALL, prior="none"))
            print(fit(made, data, config, processes=processes).epochs)

    fork(2, work, folder / "said")
    return said(folder, 2)


def differing(folder: Path, what: str) -> dict[str, Any]:
    """Give the second process one gene less, or another batch."""

    def work(rank: int) -> None:
        with joined("cpu") as processes:
            data = CountData(COUNTS[:, rank:])
            if what == "batches":
                data = CountData(COUNTS, batch_names=("a", "bc"[rank]), batch_codes=np.arange(240) % 2)
            try:
                fit(SCRAE.for_data(data, ModelConfig(**SMALL)), data, TrainConfig(), processes=processes)
            except ScraeError as error:
                sys.exit(str(error))

    statuses = fork(2, work, folder / "said")
    return {"statuses": statuses, "said": said(folder, 2)}


def command(folder: Path, number: int, *options: str, lost: int | None = None) -> dict[str, Any]:
    """Train by ``scrae train``; the process ``lost`` is killed in the third epoch that it runs."""

    def work(rank: int) -> None:
        steps = 0
        original = training.training_step

        def fragile(*arguments: Any, **named: Any) -> Any:
            nonlocal steps
            steps += 1
            if rank == lost and steps == 3 * STEPS - 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **named)

        training.training_step = fragile
        checkpoint.Checkpoint.__init__.__kwdefaults__["seconds"] = 0.0  # save every epoch
        sys.argv = ["scrae", "train", str(folder / "p.h5ad"), "-o", str(folder / "model"), *options]
        sys.argv += [
            text for name, value in TRAINING.items() for text in (f"--{name.replace('_', '-')}", value)
        ]
        cli.main()

    statuses = fork(number, work, folder / "said")
    kept = epoch_of(folder / "model" / checkpoint.TRAINING_FILE)
    return {"statuses": statuses, "said": said(folder, number), "kept": kept}


def said(folder: Path, number: int) -> list[str]:
    """What each process printed, its warnings of torch's left out."""
    texts = [(folder / f"said.{rank}").read_text().splitlines() for rank in range(number)]
    return ["\n".join(line for line in lines if "[W" not in line and "[Gloo]" not in line) for lines in texts]


def main(folder: Path) -> dict[str, Any]:
    """Run everything; return what was seen."""
    prepared(folder / "p.h5ad")
    warm_up()
    seen: dict[str, Any] = {
        "one": losses(folder, 1),
        "two": losses(folder, 2),
        "differing": [differing(folder, what) for what in ("genes", "batches")],
        "unequal": unequal(folder),
    }
    seen["second lost"] = command(folder, 2, lost=1)
    seen["not resumed"] = command(folder, 2)
    seen["by one"] = command(folder, 1, "--resume")
    seen["resumed"] = command(folder, 2, "--resume")
    seen["left"] = sorted(path.name for path in (folder / "model").iterdir())
    return seen


if __name__ == "__main__":
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "The .future.infer_string. option", DeprecationWarning)  # anndata
    torch.set_num_threads(1)
    print(json.dumps(main(Path(sys.argv[1]))))
