"""Run odd AnnData objects through the path: a result that reads back, or one known error before training.

``python tests/long/fuzz_anndata.py FOLDER --cases 5000`` prints one JSON line: how many ended how, and the places of
failures. The cases come in blocks; ``FOLDER/blocks.jsonl`` holds those that are done, and the same command goes on
after the last one.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import traceback
import warnings
from collections import Counter
from pathlib import Path

import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent.parent))
from helpers.odd_anndata import odd_anndatas
from helpers.one_epoch import through_the_path

BLOCK = 50  # cases


def place_of(error: BaseException) -> str:
    """The error and where it was raised in the package or in the path."""
    frames = [
        f
        for f in traceback.extract_tb(error.__traceback__)
        if "scrae" in f.filename or "one_epoch" in f.filename
    ]
    where = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in frames[:-4:-1])
    return f"{type(error).__name__}: {' '.join(str(error).split())[:150]} ({where})"


def block(folder: Path, cases: int, number: int) -> dict[str, Counter[str]]:
    """Run some cases; a failure is counted and does not end the run."""
    ends: Counter[str] = Counter()
    failures: Counter[str] = Counter()

    @seed(number)
    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(odd_anndatas(), st.sampled_from(["memory", "h5ad", "zarr"]), st.integers(0, 3), st.integers(0, 3))
    def case(adata: object, ending: str, label: int, batch: int) -> None:
        work = folder / "case"
        work.mkdir(parents=True)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ends[f"{ending}: {through_the_path(adata, work, ending, label, batch)}"] += 1
        except Exception as error:
            failures[place_of(error)] += 1
        finally:
            shutil.rmtree(work)

    case()
    return {"ends": ends, "failures": failures}


def fuzz(folder: Path, cases: int, first: int) -> dict[str, object]:
    """Run the blocks that are not done, with the seeds ``first``, ``first + 1``, ...; return the sums of all."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / "case", ignore_errors=True)
    with (folder / "blocks.jsonl").open("a+") as log:
        log.seek(0)
        done = [json.loads(line) for line in log]
        for number in range(first + len(done), first + -(-cases // BLOCK)):
            done.append(block(folder, BLOCK, number))
            log.write(f"{json.dumps(done[-1])}\n")
            log.flush()
    ends, failures = (sum((Counter(d[kind]) for d in done), Counter()) for kind in ("ends", "failures"))
    return {"cases": ends.total() + failures.total(), "blocks": len(done), "seed": first,
            "ends": dict(sorted(ends.items())), "failures": dict(failures.most_common())}  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    given_arguments = parser.parse_args()
    torch.set_num_threads(1)
    seen = fuzz(given_arguments.folder, given_arguments.cases, given_arguments.seed)
    print(json.dumps(seen))
    sys.exit(bool(seen["failures"]))
