"""`python -m benchmarks markers`: discoveries of marker tests where one population was cut in two, and their cost."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.options import Busy, Data, Into, Markdown, Output, print_tables
from benchmarks.records import append, cost_of, head, read

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData
    from scipy import sparse

    from benchmarks.render import Table

__all__ = ["app", "made_cells"]

_FDR = 0.05

app = typer.Typer(help="False discoveries of marker genes.", no_args_is_help=True, add_completion=False)


@app.command()
def study(
    data: Data,
    output: Output,
    sets: Annotated[int, typer.Option(min=1, help="Sets of each kind.")] = 20,
    busy: Busy = False,
) -> None:
    """Cut sets of one population in two and test all genes; one record a kind, for those that have none yet."""
    import numpy as np

    from benchmarks.sets import find_sets

    done = {record["name"] for record in read(output)}
    files = {one.name: one.sha256 for one in find_sets(data)}
    for name, (source, make) in _plan(data).items():
        if name in done:
            continue
        start = time.perf_counter()
        found = [_discoveries(_cut(make(np.random.default_rng(seed)), seed), seed) for seed in range(sets)]
        facts = {
            "name": name,
            "data": {"name": source, "sha256": files[source]} if source else None,
            "seeds": sets,
            "fdr": _FDR,
            "discoveries": found,
            "seconds": round(time.perf_counter() - start, 1),
        }
        append(output, head("markers", threads=1, device="cpu", busy=busy) | facts)
        print(name, {key: [one[key] for one in found] for key in ("ours", "wilcoxon")})


def _plan(data: Path) -> dict[str, tuple[str | None, Callable[[np.random.Generator], sparse.csr_matrix]]]:
    from functools import partial

    from benchmarks.one_population import SIMULATED, SORTED

    plan: dict[str, Any] = {"depth gradient": (None, SIMULATED["depth gradient"])}
    for name, (file, _) in SORTED.items():
        plan[f"{name}, simulated"] = (file, partial(_like_sorted, data, name))
    return plan


def _like_sorted(data: Path, name: str, rng: np.random.Generator) -> sparse.csr_matrix:
    """Negative binomial counts with the rates, dispersions and depths of sorted cells, and no other structure."""
    import numpy as np
    from scipy import sparse

    from benchmarks.one_population import sorted_cells
    from scrae.tl._marker_test import sum_by_cluster

    counts = sorted_cells(data, name, rng)
    counts = counts[:, np.asarray((counts > 0).sum(axis=0)).ravel() >= 10].astype(np.int32)
    sums = sum_by_cluster(counts, np.zeros(counts.shape[0], np.int64), 1)
    phi = np.maximum(sums.dispersion(), 1e-6)
    mean = np.asarray(counts.sum(axis=1), dtype=float).reshape(-1, 1) * sums.rate
    return sparse.csr_matrix(rng.poisson(mean * rng.gamma(1 / phi, phi, mean.shape)).astype(np.int32))


def _cut(counts: sparse.csr_matrix, seed: int) -> AnnData:
    """Cells in two clusters, cut at the median of the first principal component."""
    import anndata as ad
    import numpy as np
    import pandas as pd
    import scanpy as sc
    from sklearn.decomposition import PCA

    adata = ad.AnnData(counts.astype(np.float32), layers={"counts": counts.astype(np.int32)})
    sc.pp.filter_genes(adata, min_cells=10)
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    first = PCA(1, random_state=seed).fit_transform(adata.X.toarray()).ravel()
    adata.obs["scrae"] = pd.Categorical(np.where(first > np.median(first), "1", "0"))
    return adata


def _discoveries(adata: AnnData, seed: int) -> dict[str, int]:
    """Return the number of genes at 5 % FDR, of our test and of scanpy's with Wilcoxon's, and of all tests."""
    import scanpy as sc

    from scrae import tl

    tl.markers(adata, seed=seed)
    ours = int((adata.uns["scrae"]["markers"]["fdr"] <= _FDR).sum())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sc.tl.rank_genes_groups(adata, "scrae", method="wilcoxon")
    table = sc.get.rank_genes_groups_df(adata, None)
    usual = int(((table["pvals_adj"] <= _FDR) & (table["scores"] > 0)).sum())
    return {"ours": ours, "wilcoxon": usual, "genes": adata.n_vars}


@app.command()
def cost(
    data: Data,
    output: Output,
    cells: Annotated[int, typer.Option(min=1, help="Cells to make.")] = 100_000,
    genes: Annotated[int, typer.Option(min=2, help="Genes of each.")] = 20_000,
    clusters: Annotated[int, typer.Option(min=2, help="Types, each a cluster.")] = 20,
    sets: Annotated[str, typer.Option(help="Sets whose cells are the profiles.")] = "baron,zheng_facs",
    depth: Annotated[
        float, typer.Option(help="Factor for the molecules of each cell; 1: one gene in twenty.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the cells.")] = 0,
    busy: Busy = False,
) -> None:
    """Measure time and memory of tl.markers on made cells; one record."""
    from scrae import tl

    paths = [data / f"{name}.h5ad" for name in sets.split(",")]
    adata = made_cells(paths, cells, genes=genes, clusters=clusters, depth=depth, seed=seed)
    spent = cost_of(lambda: tl.markers(adata))
    facts = {
        "name": "cost",
        "cells": cells,
        "genes": genes,
        "clusters": adata.obs["scrae"].nunique(),
        "share_above_zero": round(adata.layers["counts"].nnz / cells / genes, 4),
        "depth": depth,
        "seed": seed,
        **spent,
    }
    append(output, head("markers-cost", threads=1, device="cpu", busy=busy) | facts)
    print(facts)


def made_cells(
    paths: list[Path], cells: int, *, genes: int, clusters: int, depth: float = 1.0, seed: int = 0
) -> AnnData:
    """Cells drawn around those of the most frequent types of some sets, as in `scale`; each type is a cluster."""
    from collections import Counter

    import anndata as ad
    import numpy as np
    import pandas as pd
    from scipy import sparse

    from benchmarks.scale import draw, read_profiles

    profiles = read_profiles(paths, genes)
    known = np.isin(profiles.types, [name for name, _ in Counter(profiles.types).most_common(clusters)])
    profiles = profiles._replace(
        counts=profiles.counts[known], types=profiles.types[known], depth=depth * profiles.depth
    )
    rng, rows = np.random.default_rng(seed), 5000
    parts = [draw(profiles, min(rows, cells - at), rng) for at in range(0, cells, rows)]
    counts = sparse.vstack([part.astype(np.int32) for part, _ in parts], format="csr")
    obs = pd.DataFrame({"scrae": pd.Categorical(np.concatenate([types for _, types in parts]))})
    obs.index = obs.index.astype(str)
    return ad.AnnData(
        obs=obs, layers={"counts": counts}, var=pd.DataFrame(index=[f"g{i}" for i in range(genes)])
    )


@app.command()
def table(
    file: Annotated[Path, typer.Argument(help="File of records.")],
    markdown: Markdown = False,
    into: Into = None,
) -> None:
    """Print how many sets had any discovery, all of which are false, and how many genes."""
    records = [record for record in read(file) if record["kind"] == "markers"]
    print_tables([_table(records)], markdown, into)


def _table(records: list[dict[str, Any]]) -> Table:
    from statistics import median

    from benchmarks.render import Table

    rows = []
    for record in records:
        found = record["discoveries"]
        row = [record["name"], str(record["seeds"]), f"{median(one['genes'] for one in found):.0f}"]
        for key in ("ours", "wilcoxon"):
            numbers = [one[key] for one in found]
            row += [f"{sum(number > 0 for number in numbers)}", f"{sum(numbers) / len(numbers):.1f}"]
        rows.append(row)
    header = [
        "population",
        "sets",
        "genes",
        "tl.markers: sets",
        "genes a set",
        "Wilcoxon: sets",
        "genes a set",
    ]
    note = "Sets with any gene at 5 % FDR, and such genes a set. There are no true markers, so that all are false."
    return Table(title="One population cut in two", header=header, rows=rows, note=note)
