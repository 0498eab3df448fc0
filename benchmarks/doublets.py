"""`python -m benchmarks doublets`: made doublets of two sorted types, found by tl.doublets and Scrublet; its cost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.options import Busy, Data, Output, Sets
from benchmarks.records import append, cost_of, head, read

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from anndata import AnnData
    from numpy.typing import NDArray

__all__ = ["app"]

_SHARE = 0.06
"""Doublets among the cells of a made set."""
_MOST_PAIRS, _FEWEST = 10, 50
"""Pairs of types of a set whose sums are a cluster, and the fewest cells of such a type."""

app = typer.Typer(help="Made doublets, found again.", no_args_is_help=True, add_completion=False)


@app.command()
def study(
    data: Data,
    output: Output,
    sets: Sets = "zheng_facs,zheng_mudan,bremsc_pbmc,celseq2_5cl",
    seeds: Annotated[int, typer.Option(min=1, help="Made sets of each set.")] = 3,
    busy: Busy = False,
) -> None:
    """Add sums of two cells of different types to sets; one record a set, for those that have none yet."""
    from benchmarks.sets import find_sets

    done = {record["name"] for record in read(output)}
    for one in find_sets(data, sets.split(",")):
        if one.name in done:
            continue
        start = time.perf_counter()
        facts = {
            "name": one.name,
            "data": {"name": one.name, "sha256": one.sha256},
            "share": _SHARE,
            "cells": [_cells(one.path, seed) for seed in range(seeds)],
            "clusters": _clusters(one.path),
            "seconds": round(time.perf_counter() - start, 1),
        }
        append(output, head("doublets", threads=1, device="cpu", busy=busy) | facts)
        print(one.name, facts["cells"][0], facts["clusters"])


def _read(path: Path) -> tuple[AnnData, NDArray[np.object_]]:
    """Return the cells with a type, and their types."""
    import numpy as np

    from benchmarks.sets import read_counts, read_labels
    from scrae import io

    adata, labels = read_counts(path), read_labels(path)
    known = np.array([label is not None for label in labels])
    adata = adata[known].copy()
    io.use_counts(adata)
    return adata, labels[known]


def _with_sums(adata: AnnData, first: NDArray[np.int64], second: NDArray[np.int64]) -> AnnData:
    """Return the cells, and after them the sums of the counts of pairs of cells."""
    import anndata as ad
    from scipy import sparse

    counts = adata.layers["counts"]
    counts = sparse.vstack([counts, counts[first] + counts[second]], format="csr")
    made = ad.AnnData(counts.astype("float32"), layers={"counts": counts}, var=adata.var[[]])
    made.obs["doublet"] = [False] * adata.n_obs + [True] * len(first)
    return made


def _cells(path: Path, seed: int) -> dict[str, Any]:
    """Return AUC, precision and recall of the scores and calls of cells; null for Scrublet where it cannot be run."""
    import numpy as np

    from scrae import tl

    adata, labels = _read(path)
    rng = np.random.default_rng(seed)
    pairs = rng.integers(0, adata.n_obs, (2, 4 * adata.n_obs))
    pairs = pairs[:, labels[pairs[0]] != labels[pairs[1]]][:, : round(_SHARE / (1 - _SHARE) * adata.n_obs)]
    made = _with_sums(adata, *pairs)
    tl.doublets(made, seed=seed)
    truth = made.obs["doublet"].to_numpy()
    found = {"ours": _rates(truth, made.obs["scrae_doublet_score"], made.obs["scrae_doublet"])}
    return found | {"scrublet": _scrublet(made, truth, seed)}


def _scrublet(made: AnnData, truth: NDArray[np.bool_], seed: int) -> dict[str, float] | None:
    """Scanpy's Scrublet with its defaults and the same expected share."""
    import warnings

    import scanpy as sc

    other = made.copy()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of scanpy, for its own version
            sc.pp.scrublet(other, expected_doublet_rate=_SHARE, random_state=seed, verbose=False)
    except (ImportError, AttributeError, TypeError, ValueError) as error:  # of other versions
        print(f"scrublet: {error}")
        return None
    return _rates(truth, other.obs["doublet_score"], other.obs["predicted_doublet"])


def _rates(truth: NDArray[np.bool_], score: Any, called: Any) -> dict[str, float]:
    import numpy as np
    from sklearn.metrics import roc_auc_score

    called = np.asarray(called, dtype=bool)
    return {
        "auc": round(float(roc_auc_score(truth, score)), 4),
        "precision": round(float(truth[called].mean()), 4) if called.any() else 0.0,
        "recall": round(float(called[truth].mean()), 4),
    }


def _clusters(path: Path) -> dict[str, int]:
    """Make a cluster of sums of two types, for pairs of types, and count the alerts for it and for the types."""
    import itertools

    import numpy as np
    import pandas as pd

    from scrae import tl

    adata, labels = _read(path)
    names, sizes = np.unique(labels.astype(str), return_counts=True)
    rng = np.random.default_rng(0)
    pairs = list(itertools.combinations(names[sizes >= _FEWEST], 2))
    chosen = [pairs[i] for i in rng.permutation(len(pairs))[:_MOST_PAIRS]]
    found = {"pairs": len(chosen), "hits": 0, "right_pair": 0, "types": 0, "false_alerts": 0}
    for pair in chosen:
        cells = [rng.choice(np.flatnonzero(labels == name), _FEWEST) for name in pair]
        made = _with_sums(adata, *cells)
        made.obs["scrae"] = pd.Categorical([*labels.astype(str), *["sums"] * _FEWEST])
        tl.doublets(made)
        tl.doublet_clusters(made)
        table = made.uns["scrae"]["doublets"].set_index("cluster")
        hit = bool(table.loc["sums", "doublets"])
        found["hits"] += hit
        found["right_pair"] += hit and {table.loc["sums", "first"], table.loc["sums", "second"]} == set(pair)
        found["types"] += len(table) - 1
        found["false_alerts"] += int(table["doublets"].drop("sums").sum())
    return found


@app.command()
def cost(
    data: Data,
    output: Output,
    cells: Annotated[int, typer.Option(min=100, help="Cells to make.")] = 100_000,
    busy: Busy = False,
) -> None:
    """Measure time and memory of tl.doublets on made cells with 20,000 genes; one record."""
    from benchmarks.markers import made_cells
    from scrae import tl

    paths = [data / f"{name}.h5ad" for name in ("baron", "zheng_facs")]
    adata = made_cells(paths, cells, genes=20_000, clusters=20)
    spent = cost_of(lambda: tl.doublets(adata))
    facts = {
        "name": "cost",
        "cells": cells,
        **spent,
    }
    append(output, head("doublets-cost", threads=1, device="cpu", busy=busy) | facts)
    print(facts)
