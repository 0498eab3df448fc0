"""Train by the command line in processes that are stopped at random moments, until none is left to stop.

``python tests/long/kill_training.py FOLDER --kills 60`` prints one JSON line. Every training must end with the bits
of one that nobody stopped, and after every stop the model folder must hold a whole model, the old or the new one.
The processes are forks of this one, which has imported everything: only their training is stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import torch  # noqa: F401  imported before the forks

sys.path.insert(0, str(Path(__file__).parent.parent))
from helpers.interrupted_training import epoch_of, prepared, warm_up

import scrae
from scrae.cli import main, progress  # noqa: F401
from scrae.core import checkpoint

SIGNALS = {"KILL": signal.SIGKILL, "TERM": signal.SIGTERM, "INT": signal.SIGINT}


def start(folder: Path, *arguments: object) -> int:
    """Fork a process that trains into ``folder``; return its number. What it says goes to ``said``."""
    sys.stdout.flush()
    if child := os.fork():
        return child
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    said = os.open(folder.parent / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    checkpoint.Checkpoint.__init__.__kwdefaults__["seconds"] = 0.0  # save every epoch
    sys.argv = ["scrae", "train", str(folder.parent / "p.h5ad"), "-o", str(folder), *map(str, arguments)]
    status = 0
    try:
        main()
    except SystemExit as stop:
        status = int(stop.code or 0)
    except BaseException:
        status = 99
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def status_of(child: int) -> int:
    """Wait; return the exit status, or minus the signal that ended it."""
    code = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(code)


def bits(folder: Path) -> str:
    """Checksum of a finished model."""
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["config.json", "density.safetensors", "genes.txt", "weights.safetensors"], names
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in names)).hexdigest()


def killed(work: Path, kills: int, seed: int, epochs: int) -> dict[str, object]:
    """Stop trainings at ``kills`` random moments; return what was seen."""
    rng = np.random.default_rng(seed)
    prepared(work / "p.h5ad")
    warm_up()
    options = ("--max-epochs", epochs, "--seed", 3)
    began = time.monotonic()
    assert status_of(start(work / "whole", *options)) == 0, (work / "said").read_text()
    usual = time.monotonic() - began
    expected, folder = bits(work / "whole"), work / "model"
    assert status_of(start(folder, "--max-epochs", 1, "--seed", 8)) == 0
    old = bits(folder)
    done, finished, at, statuses = 0, 0, [], Counter()
    while done < kills or (folder / checkpoint.TRAINING_FILE).exists() or not finished:
        child = start(folder, *options, "--resume")
        name = list(SIGNALS)[int(rng.integers(3))] if done % 2 else "KILL"
        if done < kills:
            time.sleep(rng.uniform(0, 1.1 * usual))
            os.kill(child, SIGNALS[name])
        status = status_of(child)
        statuses[str(status)] += 1
        text = (work / "said").read_text()
        assert "Traceback" not in text, text
        scrae.load(folder)  # whole
        if status == 0:
            assert bits(folder) == expected, "another model than that of a training that was not stopped"
            finished += 1
            assert status_of(start(folder, "--max-epochs", 1, "--seed", 8)) == 0  # the old one again
            assert bits(folder) == old
            continue
        assert done < kills, (status, text)
        assert status in (-SIGNALS[name], 128 + SIGNALS[name]), (status, text)
        if status > 0:
            assert text.splitlines()[-1].startswith("scrae: stopped"), text
        done += 1
        at.append(epoch_of(folder / checkpoint.TRAINING_FILE))
    # a kill between the two renames of the model folder may be the last one: the next run removes what it left
    assert status_of(start(folder, "--max-epochs", 1, "--seed", 8)) == 0, (work / "said").read_text()
    left = sorted(path.name for path in work.iterdir())
    assert left == ["model", "p.h5ad", "said", "whole"], left
    return {
        "kills": done,
        "trainings finished with equal bits": finished,
        "exit statuses": dict(statuses),
        "epochs kept at the kills": at,
        "seconds of one training": round(usual, 2),
    }


if __name__ == "__main__":
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "The .future.infer_string. option", DeprecationWarning)  # anndata
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    print(json.dumps(killed(given.folder, given.kills, given.seed, given.epochs)))
