"""Kill processes at random moments while they write the results of a run over those of another.

``python tests/long/kill_writing.py FOLDER --kills 200`` prints one JSON line, after Ctrl-C too. After each kill, and
after the lock that the next run takes, all files are those of the old run, or all those of the new one. The figures are
small text files, so that the time goes into what the package writes itself.
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
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))
from helpers.count_files import table

import scrae
from scrae import io, pl, report
from scrae.files import exclusive_lock
from scrae.pipeline import run as pipeline

SETTINGS = scrae.Settings(
    preprocess=scrae.PreprocessConfig(min_cells=1, gene_selection="deviance", n_top_genes=5),
    model=scrae.ModelConfig(n_latent=2, encoder_layers=(4,), decoder_layers=(4,)),
    train=scrae.TrainConfig(max_epochs=1, batch_size=8),
    cluster=scrae.ClusterConfig(n_clusters=2),
)


def small_figures(adata: Any, folder: Path, **_: Any) -> None:
    folder.mkdir(parents=True)
    for name in ("umap.svg", "loss.svg"):
        (folder / name).write_text(f"{name} {adata.uns['scrae']['seed']}" * 1000)


def small_report(folder: Path) -> Path:
    io.read_h5ad(folder / "result.h5ad")
    scrae.files.write_text(folder / "report.html", "<html></html>")
    return folder / "report.html"


def analyzed(seed: int) -> tuple[Any, ...]:
    adata = table()
    io.use_counts(adata)
    model, _ = scrae.analyze(adata, replace(SETTINGS, seed=seed))
    adata.uns["scrae"]["seed"] = seed
    adata.obs["padding"] = np.random.default_rng(seed).random(adata.n_obs)
    adata.uns["large"] = np.random.default_rng(seed).random((300, 1000))  # so that writing takes a while
    record = {"seed": seed, "label_key": None}
    return adata, model, record


def write(parts: tuple[Any, ...], folder: Path) -> None:
    with exclusive_lock(folder):
        pipeline._write(*parts[:2], dict(parts[2]), folder, pipeline.Clock(pipeline.Progress()))


def marks(folder: Path) -> dict[str, str]:
    """Checksum of each file or folder of a run, apart from the record, which holds times: its seed."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.name == "run.json":
            found[path.name] = str(json.loads(path.read_text())["seed"])
        elif path.name != ".scrae.lock":
            files = [path] if path.is_file() else sorted(path.rglob("*"))
            found[path.name] = hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()
    return found


def killed(folder: Path, kills: int, seed: int) -> dict[str, object]:
    """Kill `kills` writers; return what was seen."""
    rng = np.random.default_rng(seed)
    runs = [analyzed(0), analyzed(1)]
    pl.save_figures, report.build = small_figures, small_report
    whole = []
    for parts in runs:
        began = time.monotonic()
        write(parts, folder)
        usual = time.monotonic() - began
        whole.append(marks(folder))
    assert all(whole[0][name] != whole[1][name] for name in ("model", "figures", "result.h5ad", "run.json"))
    ends: Counter[str] = Counter()
    with suppress(KeyboardInterrupt):
        for number in range(kills):
            if not (child := os.fork()):
                try:
                    write(runs[number % 2], folder)
                finally:
                    os._exit(0)
            time.sleep(rng.uniform(0, 1.2 * usual))
            os.kill(child, signal.SIGKILL)
            ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            with exclusive_lock(folder):
                pass
            seen = marks(folder)
            assert seen.keys() == whole[0].keys(), seen.keys()
            anndata.read_h5ad(folder / "result.h5ad")
            scrae.load(folder / "model")
            assert seen in whole, seen
            new = "new" if seen == whole[number % 2] else "old"
            ends[f"{'killed' if ended else 'finished'}, {new} files"] += 1
    return {"kills": ends.total(), "ends": dict(ends), "seconds of one writing": round(usual, 2)}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(json.dumps(killed(given.folder, given.kills, given.seed)))
