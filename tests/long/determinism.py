"""Run the whole path with several hash seeds and numbers of threads, and compare the bits of each stage.

``python tests/long/determinism.py`` prints one JSON line: for each number of threads whether every stage has the bits
of one thread, and if not, the largest difference of the codes relative to their spread. Hash seeds must not matter.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

STAGES = ("selected", "weights", "codes", "clusters", "umap")


def one(path: Path, threads: int, cells: int) -> None:
    """Run the path here; write the codes to ``path`` and print a digest of each stage."""
    import torch
    from anndata import AnnData
    from scipy import sparse

    import scrae.pipeline.run as pipeline
    from scrae import ClusterConfig, PreprocessConfig, Settings, TrainConfig, io

    torch.set_num_threads(threads)
    rng = np.random.default_rng(0)
    rates = rng.gamma(0.5, size=(4, 900)) * 2
    adata = AnnData(sparse.csr_matrix(rng.poisson(rates[np.arange(cells) % 4]).astype(np.float32)))
    adata.var_names = [f"gene {i}" for i in range(900)]
    io.use_counts(adata)
    settings = Settings(
        preprocess=PreprocessConfig(n_top_genes=600),
        train=TrainConfig(max_epochs=5),
        cluster=ClusterConfig(n_clusters=4),
    )
    model, _ = pipeline.analyze(adata, settings)
    weights = b"".join(value.numpy().tobytes() for value in model.state_dict().values())
    found = {
        "selected": adata.var["scrae_selected"].to_numpy().tobytes(),
        "weights": weights,
        "codes": adata.obsm["X_scrae"].tobytes(),
        "clusters": "".join(adata.obs["scrae"]).encode(),
        "umap": adata.obsm["X_umap"].tobytes(),
    }
    adata.obsm["X_scrae"].tofile(path)
    print(json.dumps({name: hashlib.sha256(content).hexdigest() for name, content in found.items()}))


def ask(folder: Path, hash_seed: int, threads: int, cells: int) -> tuple[dict[str, str], np.ndarray]:
    """Run :func:`one` in a process of its own."""
    environment = os.environ | {"PYTHONHASHSEED": str(hash_seed), "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, "--one", str(folder / "codes"), str(threads), "--cells", str(cells)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    codes = np.fromfile(folder / "codes", dtype=np.float32).reshape(cells, -1)
    return json.loads(done.stdout.splitlines()[-1]), codes


def compare(cells: int, hash_seeds: list[int], threads: list[int]) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as name:
        first, codes = ask(Path(name), hash_seeds[0], 1, cells)
        for seed in hash_seeds[1:]:
            other = ask(Path(name), seed, 1, cells)[0]
            assert other == first, [stage for stage in STAGES if other[stage] != first[stage]]
        found: dict[str, object] = {"cells": cells, "hash seeds": hash_seeds}
        for number in threads:
            other, others = ask(Path(name), hash_seeds[0], number, cells)
            differ = [stage for stage in STAGES if other[stage] != first[stage]]
            distance = float(np.abs(others - codes).max() / codes.std())
            found[f"{number} threads"] = {
                "stages that differ": differ,
                "largest difference of codes": distance,
            }
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one", nargs=2, metavar=("FILE", "THREADS"))
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--hash-seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, nargs="*", default=[2, 4])
    given = parser.parse_args()
    if given.one:
        one(Path(given.one[0]), int(given.one[1]), given.cells)
    else:
        print(json.dumps(compare(given.cells, given.hash_seeds, given.threads)))
