"""`python -m benchmarks columns`: columns of obs that are reported as dividing the clusters, real and random ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.options import Output
from benchmarks.records import append, head, read

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData
    from numpy.typing import NDArray

__all__ = ["app"]

_MOST_CATEGORIES = 8
_KEPT = ("scrae", "batch", "donor", "sample", "cell_type")

app = typer.Typer(
    help="Columns along which clusters are divided.", no_args_is_help=True, add_completion=False
)


@app.command()
def study(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs.")],
    output: Output,
    columns: Annotated[int, typer.Option(min=1, help="Random columns of each kind for a run.")] = 200,
) -> None:
    """Try random columns on the clusters of runs, and their own ones; one record a run."""
    import json

    import anndata as ad
    import numpy as np

    from scrae.report._batches import divided_by

    done = {record["name"] for record in read(output)}
    for folder in runs:
        about = json.loads((folder / "run.json").read_text())
        if folder.name in done:
            continue
        adata = ad.read_h5ad(folder / "result.h5ad")
        label_key = next((key for key in (about["label_key"], "cell_type") if key in adata.obs), None)
        adata = ad.AnnData(obs=adata.obs[[key for key in _KEPT if key in adata.obs]].copy())
        counts = ad.read_h5ad(folder / "result.h5ad", backed="r").obs["scrae_n_counts"].to_numpy()
        found = divided_by(adata, label_key=label_key)
        rng = np.random.default_rng(0)
        alarms = {
            kind: sum(_reported(adata, _column(rng, counts, kind), label_key) for _ in range(columns))
            for kind in ("random", "by depth")
        }
        facts = {
            "name": folder.name,
            "input_sha256": about["input"].get("sha256"),
            "batch_key": about["batch_key"],
            "own_columns": sorted(set(adata.obs.columns) - {"scrae", label_key}),
            "reported": {column: len(names) for column, names in found.items()},
            "columns": columns,
            "false_alarms": alarms,
        }
        append(output, head("columns", threads=1, device="cpu", busy=True) | facts)
        print(folder.name, facts["reported"], alarms)


def _column(rng: np.random.Generator, counts: NDArray[np.float64], kind: str) -> NDArray[np.int64]:
    """Return a category for each cell: of unequal shares; "by depth" its share depends on the counts of the cell."""
    import numpy as np

    n_categories = int(rng.integers(2, _MOST_CATEGORIES + 1))
    share = rng.dirichlet(np.ones(n_categories))
    if kind == "random":
        return rng.choice(n_categories, len(counts), p=share)
    rank = counts.argsort().argsort() / len(counts)
    slope = rng.normal(0, 2, n_categories)
    weight = share * np.exp(np.outer(rank - 0.5, slope))
    place = (weight / weight.sum(axis=1, keepdims=True)).cumsum(axis=1)
    return np.asarray((rng.random(len(counts))[:, None] > place).sum(axis=1).clip(max=n_categories - 1))


def _reported(adata: AnnData, column: NDArray[np.int64], label_key: str | None) -> bool:
    import anndata as ad
    import pandas as pd

    from scrae.report._batches import divided_by

    keys = ["scrae"] + ([label_key] if label_key else [])
    obs = adata.obs[keys].assign(made=pd.Categorical(column.astype(str)))
    return "made" in divided_by(ad.AnnData(obs=obs), label_key=label_key)
