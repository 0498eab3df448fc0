"""Damage files of every format at random, and read them in processes of their own.

``python tests/long/fuzz_readers.py --cases 10000`` prints one JSON line. Each case must end with counts that are
counts, or with a known error of one line. HDF5 files are read as the command line does: after the probe.
A crash, a hang, a traceback or too much memory is a failure; the damaged file is kept in the folder.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy import sparse

sys.path.insert(0, str(Path(__file__).parent.parent))
from helpers.count_files import CELLS, GENES, counts, table, write_10x_v2, write_10x_v3, write_mtx

import scrae
from scrae import ModelConfig, ScraeError, TrainConfig, io
from scrae.core.checkpoint import Checkpoint
from scrae.core.data import CountData
from scrae.core.model import SCRAE
from scrae.io import probe

FINE, BAD = 0, 9
_FILES_A_PROCESS = 200
MEMORY = 8 << 30  # bytes of address space
_SMALL = ModelConfig(n_latent=2, encoder_layers=(4,), decoder_layers=(4,))
_SHORT = TrainConfig(max_epochs=2, batch_size=4)


def make(folder: Path) -> dict[str, Path]:
    """Write one good file or folder of every format."""
    folder.mkdir(parents=True, exist_ok=True)
    adata, data = table(), CountData(counts(), GENES)
    adata.layers["counts"] = adata.X.copy()
    adata.uns["colors"] = np.array(["#aa0000", "#00bb00"])
    adata.obsm["X_pca"] = np.ones((10, 2), dtype=np.float32)
    adata.write_h5ad(folder / "a.h5ad")
    adata.write_h5ad(folder / "packed.h5ad", compression="gzip")
    write_10x_v3(folder / "v3.h5", counts(), features=[(n, "Gene Expression") for n in GENES], cells=CELLS)
    write_10x_v2(folder / "v2.h5", counts())
    write_mtx(folder / "mtx", version=3, gz=False)
    write_mtx(folder / "mtx.gz", version=2, gz=True)
    adata.to_df().to_csv(folder / "a.csv")
    adata.to_df().to_csv(folder / "a.tsv.gz", sep="\t")
    adata.write_zarr(folder / "a.zarr")
    scrae.save(SCRAE.for_data(data, _SMALL), folder / "model")
    fit_with(folder / "training.safetensors", data)
    return {path.name: path for path in sorted(folder.iterdir())}


def fit_with(file: Path, data: CountData) -> None:
    model = SCRAE.for_data(data, _SMALL)
    scrae.fit(model, data, _SHORT, checkpoint=Checkpoint(path=file, resume=True, seconds=0))


def check_counts(path: Path) -> None:
    adata = io.read(path, min_counts=0)
    found = adata.layers["counts"]
    assert sparse.issparse(found)
    assert found.dtype.kind == "i"
    assert found.shape == adata.shape
    found.check_format(full_check=True)
    assert found.data.min() > 0
    assert adata.obs_names.is_unique
    assert adata.var_names.is_unique
    assert "" not in set(adata.var_names)


def check_model(path: Path) -> None:
    model = scrae.load(path)
    model.encode(CountData(np.ones((3, len(model.genes)), dtype=int), model.genes))


def check_training(path: Path) -> None:
    fit_with(path, CountData(counts(), GENES))


def reader(name: str) -> Callable[[Path], None]:
    if name == "model":
        return check_model
    return check_training if name == "training.safetensors" else check_counts


def damage(path: Path, rng: np.random.Generator) -> None:
    """Change some bytes of the file, or of one file of the folder; or cut it, or mix its blocks."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    victim = files[int(rng.integers(len(files)))]
    content = bytearray(victim.read_bytes())
    how = rng.random()
    if len(content) == 0 or how > 0.98:
        victim.unlink()
        return
    if how > 0.9:
        content = content[: rng.integers(len(content))]
    elif how > 0.85:
        start = int(rng.integers(len(content)))
        content[start : start + int(rng.integers(1, 64))] = bytes(
            rng.integers(0, 256, rng.integers(64), dtype=np.uint8)
        )
    else:
        for at in rng.integers(len(content), size=rng.integers(1, 6)):
            content[at] ^= int(rng.integers(1, 256))
    victim.write_bytes(content)


def limit(seconds: int) -> None:
    """Bound the processor time of what follows, so that a busy machine does not count."""
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + seconds + 1, resource.RLIM_INFINITY))
    signal.alarm(100 * seconds)  # by the clock only against a deadlock


def forked(work: Callable[[], int]) -> int:
    """Run in a fork that is silent; return its exit status, or minus the signal that ended it."""
    sys.stdout.flush()
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    status = BAD
    try:
        status = work()
    finally:
        os._exit(status)


def end_of(name: str, path: Path, said: Path) -> str:
    """Read; say how it ended. What is wrong is written to ``said``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader(name)(path)
    except ScraeError as error:
        if "\n" not in str(error):
            return "known error"
        said.write_text(str(error))
    except BaseException:
        said.write_text(traceback.format_exc())
    else:
        return "read"
    return "FAILED"


def read_on(work: Path, good: dict[str, Path], cases: range, seed: int, seconds: int) -> int:
    """Damage and read one file after the other; note each case before and after in ``log``."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with (work / "log").open("a") as log:
        for case in cases:
            name = list(good)[case % len(good)]
            path = work / f"{case}_{name}"
            (shutil.copytree if good[name].is_dir() else shutil.copyfile)(good[name], path)
            damage(path, np.random.default_rng([seed, case]))
            log.write(f"{case}\t{name}\t")
            log.flush()
            limit(seconds)
            end = end_of(name, path, work / f"{case}_said")
            log.write(f"{end}\n")
            log.flush()
            if end != "FAILED":
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return FINE


def tried(path: Path, seconds: int) -> bool:
    """Whether the probe crashes on a file too, or refuses it."""

    def walk() -> int:
        limit(seconds)
        return probe.walk(str(path))

    return path.name.endswith((".h5ad", ".h5")) and forked(walk) != 0


def fuzz(work: Path, cases: int, seed: int, seconds: int) -> dict[str, object]:
    """Read ``cases`` damaged files; return how many ended how."""
    good = make(work / "good")
    (work / "log").unlink(missing_ok=True)
    done = 0
    while done < cases:
        batch = range(done, min(done + _FILES_A_PROCESS, cases))
        status = forked(lambda batch=batch: read_on(work, good, batch, seed, seconds))
        done = batch.stop
        if status != FINE:  # it died in the last case that it began
            last = (work / "log").read_text().rsplit("\n", 1)[-1]
            case, name = last.split("\t")[:2]
            path = work / f"{case}_{name}"
            words = "refused by the probe" if tried(path, seconds) else f"FAILED {status}"
            with (work / "log").open("a") as log:
                log.write(f"{words}\n")
            if not words.startswith("FAILED"):
                path.unlink()
            done = int(case) + 1
    ends: dict[str, Counter[str]] = {name: Counter() for name in good}
    failed = []
    for line in (work / "log").read_text().splitlines():
        case, name, end = line.split("\t")
        ends[name][end] += 1
        if end.startswith("FAILED"):
            failed.append(f"{case}_{name}")
    return {"cases": cases, "seed": seed, "ends": {n: dict(c) for n, c in ends.items()}, "failed": failed}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=int, default=10)
    given = parser.parse_args()
    torch.set_num_threads(1)
    seen = fuzz(given.folder, given.cases, given.seed, given.seconds)
    print(json.dumps(seen))
    sys.exit(bool(seen["failed"]))
