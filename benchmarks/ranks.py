"""`torchrun --nproc-per-node N -m benchmarks.ranks prepared.h5ad`: time of a training step by N processes.

Without torchrun it is one process. Each runs what `scrae train` runs, for so many epochs, at each size of the
minibatch. The seconds are the median over the epochs after the first. Processor time is that of each process, and
on a busy machine it says more.
"""

from __future__ import annotations

import argparse
import statistics
import time
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import torch

import scrae
from benchmarks.records import append, head
from scrae.config import ModelConfig, TrainConfig
from scrae.core.data import CountData
from scrae.core.ranks import Ranks, joined

__all__ = ["main"]


def step_ms(data: CountData, batch_size: int, epochs: int, ranks: Ranks) -> dict[str, float]:
    """Milliseconds of one step: of the clock, and of this process's processor time."""
    config = TrainConfig(batch_size=batch_size, max_epochs=epochs, patience=None)
    model = scrae.SCRAE.for_data(data, ModelConfig(), seed=0)
    clock, processor = [], []

    def note(*_: object) -> None:
        clock.append(time.perf_counter())
        processor.append(time.process_time())

    scrae.fit(model, data, config, ranks=ranks, on_epoch=note)
    n_trained = len(data) - -(-len(data) // 10)  # a tenth is held out
    steps = -(-n_trained // batch_size)
    if ranks.rank:
        return {}

    def median(times: list[float]) -> float:
        return round(statistics.median(b - a for a, b in pairwise(times)) / steps * 1e3, 1)

    return {"clock": median(clock), "processor": median(processor)}


def main() -> None:
    """Train, print and record; the first process alone does the last two."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ranks", description=__doc__)
    parser.add_argument("file", type=Path, help="written by scrae preprocess")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[128, 1024])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--busy", action="store_true", help="other work shares the machine")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    with joined(given.device) as ranks:
        data = scrae.tl.count_data(scrae.io.read_h5ad(given.file), device=ranks.device)
        found = {str(size): step_ms(data, size, given.epochs, ranks) for size in given.batch_sizes}
    if ranks.rank:
        return
    made = {
        "data": {
            "name": given.file.stem,
            "sha256": sha256(given.file.read_bytes()).hexdigest(),
            "n_cells": len(data),
            "n_genes": data.n_genes,
        },
        "processes": ranks.size,
        "epochs": given.epochs,
        "step_ms": found,
    }
    print(f"{ranks.size} processes of {torch.get_num_threads()} threads, ms a step: {found}")
    if given.output:
        facts = head("ranks", threads=torch.get_num_threads(), device=given.device, busy=given.busy)
        append(given.output, facts | made)


if __name__ == "__main__":
    main()
