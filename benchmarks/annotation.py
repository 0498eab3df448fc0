"""`python -m benchmarks annotation`: how many cells get a name of the right lineage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.options import Data, Into, Markdown, Output, print_tables
from benchmarks.records import append, head, read

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from benchmarks.render import Table

__all__ = ["LINEAGES", "TISSUES", "app"]

_T, _B, _NK, _MONO, _DC = "T cell", "B cell", "NK cell", "monocyte", "dendritic cell"
_PANCREAS = {
    "beta": "beta cell", "alpha": "alpha cell", "delta": "delta cell", "gamma": "gamma cell",
    "epsilon": "epsilon cell", "ductal": "ductal cell", "acinar": "acinar cell",
    "endothelial": "endothelial cell", "activated_stellate": "stromal cell", "quiescent_stellate": "stromal cell",
    "macrophage": "macrophage", "mast": "mast cell", "schwann": "Schwann cell", "t_cell": _T, "T_cell": _T,
    "B_cell": _B,
}  # fmt: skip
LINEAGES: dict[str, dict[str, str]] = {
    "pbmc3k": {
        "Naive CD4 T": _T, "Memory CD4 T": _T, "CD8 T": _T, "CD14+ Mono": _MONO, "FCGR3A+ Mono": _MONO, "B": _B,
        "NK": _NK, "DC": _DC, "Platelet": "megakaryocyte",
    },
    "ifnb": {
        "CD14 Mono": _MONO, "CD16 Mono": _MONO, "CD4 Naive T": _T, "CD4 Memory T": _T, "CD8 T": _T,
        "T activated": _T, "B": _B, "B Activated": _B, "NK": _NK, "DC": _DC, "pDC": _DC, "Mk": "megakaryocyte",
        "Eryth": "erythroid",
    },
    "baron": _PANCREAS,
    "bremsc_pbmc": {
        "CD4+ T cells": _T, "CD8+ T cells": _T, "NK cells": _NK, "CD14+ monocytes": _MONO,
        "CD16+ monocytes": _MONO, "B cells": _B,
    },
    "zheng_facs": {
        "CD19+ B": _B, "CD34+": "progenitor", "CD56+ NK": _NK, "CD8+ Cytotoxic T": _T, "CD4+ T Helper2": _T,
        "CD4+/CD45RO+ Memory": _T, "CD8+/CD45RA+ Naive Cytotoxic": _T, "CD4+/CD25 T Reg": _T,
        "CD4+/CD45RA+/CD25- Naive T": _T, "CD14+ Monocyte": _MONO,
    },
    "baron_mouse": _PANCREAS,
    "zheng_mudan": {
        "nk": _NK, "bcells": _B, "memoryt": _T, "regulatoryt": _T, "thelper": _T, "cytotoxict": _T,
        "monocytes": _MONO, "naivet": _T, "naivecytotoxic": _T,
    },
}  # fmt: skip
"""Set → published type → lineage of the package's lists; cells of other types are not scored."""
TISSUES = {"baron": "pancreas", "baron_mouse": "pancreas"}

app = typer.Typer(help="Names of cell types: right lineages.", no_args_is_help=True, add_completion=False)


@app.command()
def study(
    data: Data,
    output: Output,
    runs: Annotated[Path, typer.Option(help="Folder with a run of `scrae run` for each set, by its name.")],
    sets: Annotated[str, typer.Option(help="Only these sets, comma separated.")] = ",".join(LINEAGES),
) -> None:
    """Name the clusters of a run, and the published types as clusters; one record a set."""
    from benchmarks.sets import find_sets, read_labels

    for one in find_sets(data, sets.split(",")):
        facts: dict[str, Any] = {"name": one.name, "data": {"name": one.name, "sha256": one.sha256}}
        for kind, adata in _clusterings(one.path, runs / one.name / "result.h5ad"):
            labels = read_labels(one.path)  # the run keeps all cells of these sets
            for tissue in dict.fromkeys([None, TISSUES.get(one.name)]):
                at = kind if tissue is None else f"{kind}, {tissue}"
                facts[at] = _score(adata, labels, LINEAGES[one.name], tissue)
        append(output, head("annotation", threads=1, device="cpu", busy=True) | facts)
        print(
            one.name,
            {key: value for key, value in facts.items() if isinstance(value, dict) and "right" in value},
        )


def _clusterings(path: Path, result: Path) -> list[tuple[str, AnnData]]:
    import anndata as ad

    from benchmarks.sets import read_counts, read_labels
    from scrae import io

    types = read_counts(path)
    io.use_counts(types)
    types.obs["scrae"] = read_labels(path)
    found = [("types", types)]
    if result.exists():
        found.append(("clusters", ad.read_h5ad(result)))
    return found


def _score(adata: AnnData, labels: Any, lineages: dict[str, str], tissue: str | None) -> dict[str, float]:
    """Return shares of the cells with a name of the right lineage, with the best names possible, and so on."""
    import numpy as np
    import pandas as pd

    from scrae import tl

    if len(labels) != adata.n_obs:
        raise typer.BadParameter(f"expected all {len(labels)} cells in the run, found {adata.n_obs}")
    lists = tl.cell_types(tissue)
    truth = pd.Series(labels).map(lineages).to_numpy()
    known = pd.notna(truth)
    clusters = adata.obs["scrae"].astype(str).to_numpy()
    table = pd.crosstab(clusters[known], truth[known])
    tl.annotate(adata, tissue=tissue)
    given = adata.obs["scrae_name"].map(dict(zip(lists["type"], lists["lineage"], strict=True))).to_numpy()
    named = pd.notna(given)
    scores = {
        "right": np.mean((given == truth)[known]),
        "attainable": table.max(axis=1).sum() / known.sum(),
        "unknown": np.mean(~named[known]),
        "without_own": _named_without_own(adata, truth, known, lists),
    }
    return {key: round(float(value), 4) for key, value in scores.items()}


def _named_without_own(adata: AnnData, truth: Any, known: Any, lists: pd.DataFrame) -> float:
    """Return the share of cells with a name after the types of their cluster's main lineage are taken off the lists."""
    import pandas as pd

    from scrae import tl

    species = max(
        ("human", "mouse"), key=lambda one: lists[one].str.split().explode().isin(adata.var_names).sum()
    )
    clusters = adata.obs["scrae"].astype(str).to_numpy()
    main = pd.Series(truth[known]).groupby(clusters[known]).agg(lambda part: part.mode()[0])
    n_named = 0
    for lineage in main.unique():
        rest = lists[(lists["lineage"] != lineage) & (lists["tissue"] != "any")]
        tl.annotate(adata, markers=dict(zip(rest["type"], rest[species].str.split(), strict=True)))
        own = known & pd.Series(clusters).isin(main.index[main == lineage]).to_numpy()
        n_named += int((adata.obs["scrae_name"].astype(str).to_numpy() != "unknown")[own].sum())
    return n_named / int(known.sum())


@app.command()
def table(
    file: Annotated[Path, typer.Argument(help="File of records.")],
    markdown: Markdown = False,
    into: Into = None,
) -> None:
    """Print the share of cells with a name of the right lineage."""
    print_tables([_table(read(file))], markdown, into)


def _table(records: list[dict[str, Any]]) -> Table:
    from benchmarks.render import Table

    newest = {record["name"]: record for record in records}
    rows = [
        [name, kind, *(f"{scores[key]:.3f}" for key in ("right", "attainable", "unknown", "without_own"))]
        for name, record in newest.items()
        for kind, scores in record.items()
        if isinstance(scores, dict) and "right" in scores
    ]
    header = ["set", "named", "right lineage", "attainable", "unknown", "named without own types"]
    note = (
        "Shares of the cells. types: the published types as clusters; clusters: those of scrae run. Attainable: each "
        "cluster is named after its main lineage."
    )
    return Table(title="Suggested names", header=header, rows=rows, note=note)
