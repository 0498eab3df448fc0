"""Damage files of every format at random, and read them in processes of their own.

``python tests/long/fuzz_readers.py --cases 10000`` prints one JSON line. Each case must end with counts that are
counts, or with a known error of one line. HDF5 files are read as the command line does: after the trial process.
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

sys.path.insert(0, str(Path(__file__).parent.parent / "io"))
from written import CELLS, GENES, counts, table, write_10x_v2, write_10x_v3, write_mtx

import scrae
from scrae import ModelConfig, ScraeError, TrainConfig, io
from scrae.counts import CountData
from scrae.io import _walk
from scrae.model import SCRAE
from scrae.resume import Checkpoint

FINE, KNOWN, TRIED, BAD = 0, 3, 4, 9
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
    """Bound the processor time, so that a busy machine does not count; by the clock only against a deadlock."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    signal.alarm(100 * seconds)


def outcome(name: str, path: Path, seconds: int) -> int:
    """Read in a fork; return how it ended: FINE, KNOWN, or what it died of. What it says goes to ``said``."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said = os.open(path.parent / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    limit(seconds)
    status = BAD
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader(name)(path)
        status = FINE
    except ScraeError as error:
        status = KNOWN if "\n" not in str(error) else BAD
        print(error)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def tried(path: Path, seconds: int) -> bool:
    """What the trial process would say of a file that the reader did not survive: whether it dies too, or refuses."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    limit(seconds)
    status = 0
    try:
        status = _walk.walk(str(path))
    finally:
        os._exit(status)


def fuzz(work: Path, cases: int, seed: int, seconds: int) -> dict[str, object]:
    """Read ``cases`` damaged files; return how many ended how."""
    rng = np.random.default_rng(seed)
    good = make(work / "good")
    ends: dict[str, Counter[str]] = {name: Counter() for name in good}
    kept: list[str] = []
    for case in range(cases):
        name = list(good)[case % len(good)]
        path = work / name
        (shutil.copytree if good[name].is_dir() else shutil.copyfile)(good[name], path)
        damage(path, rng)
        status = outcome(name, path, seconds)
        words = {FINE: "read", KNOWN: "known error"}.get(status)
        if words is None and name.endswith((".h5ad", ".h5")) and status < 0 and tried(path, seconds):
            words = "refused by the trial process"
        if words is None:
            words = f"FAILED {status}"
            kept.append(f"{case}_{name}")
            path.replace(work / kept[-1])
            (work / "said").replace(work / f"{case}_said")
        ends[name][words] += 1
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return {"cases": cases, "seed": seed, "ends": {n: dict(c) for n, c in ends.items()}, "failed": kept}


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
