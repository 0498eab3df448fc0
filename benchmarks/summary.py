"""`python -m benchmarks summary`: the tables of the README and of `docs/results.md`, K unknown beside K known.

Every row has the same sets and seeds, so a missing record is an error and not an empty cell.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.options import Into, Markdown, names, print_tables

if TYPE_CHECKING:
    import pandas as pd

    from benchmarks.render import Table

__all__ = ["summary"]

_SPLITS = Path(__file__).parent / "splits.json"
_ROWS = {
    "**scrae, default**": ("scrae-auto", "scrae-cluster"),
    "15 principal components, same clustering, no network": ("pca15:scrae-auto", "pca15:scrae"),
    "scanpy: 50 principal components, Leiden": ("leiden", "leiden-k"),
}
_SCVI, _RECIPE = "scvi", "scvi+n_layers=2+n_latent=30+gene_likelihood=nb"
_SCVI_ROWS = {
    "scVI, its defaults, Leiden": (f"{_SCVI}:leiden", f"{_SCVI}:leiden-k"),
    "scVI, its defaults, our clustering": (f"{_SCVI}:scrae-auto", f"{_SCVI}:scrae"),
    "scVI, 2 layers, 30 dimensions, nb, Leiden": (f"{_RECIPE}:leiden", f"{_RECIPE}:leiden-k"),
    "scVI, 2 layers, 30 dimensions, nb, our clustering": (f"{_RECIPE}:scrae-auto", f"{_RECIPE}:scrae"),
}
_CODES = {"scrae": "scrae", "15 principal components": "pca15"}
_SCVI_CODES = {"scVI, its defaults": _SCVI, "scVI, 2 layers, 30 dimensions, nb": _RECIPE}
_METRICS = ("nmi", "ari")


def summary(
    files: Annotated[list[Path], typer.Argument(help="Files of records.")],
    sets: Annotated[str | None, typer.Option(help="Only these sets, comma separated.")] = None,
    details: Annotated[
        bool, typer.Option(help="Also differences, codes alone, kinds of labels, and each set.")
    ] = False,
    markdown: Markdown = False,
    into: Into = None,
) -> None:
    """Print the scores of the default, its control and scanpy, with K unknown and K known, over all sets."""
    from benchmarks import records
    from benchmarks.table import per_set, tidy

    frame = tidy([record for file in files for record in records.read(file)], "label-free")
    splits = json.loads(_SPLITS.read_text())
    wanted = names(sets) if sets else [*splits["development"], *splits["confirmation"]]
    groups = {f"{len(wanted)} sets": wanted}
    if details:
        independent = [name for name in wanted if name in splits["independent_labels"]]
        groups["development sets"] = [name for name in wanted if name in splits["development"]]
        groups["confirmation sets"] = [name for name in wanted if name in splits["confirmation"]]
        groups["sets whose labels do not come from RNA clustering"] = independent
        groups["other sets"] = [name for name in wanted if name not in independent]
    drawn = _tables(frame, _ROWS, _CODES, groups, details=details)
    with_scvi = [
        name for name in wanted if name in set(frame.loc[frame["method"] == f"{_SCVI}:leiden", "set"])
    ]
    if with_scvi:
        title = {f"the {len(with_scvi)} sets on which scVI was run": with_scvi}
        drawn += _tables(frame, _ROWS | _SCVI_ROWS, _CODES | _SCVI_CODES, title, details=details)
    if details:
        own = _methods(_ROWS, _CODES)
        part = frame[frame["method"].isin(own) & frame["set"].isin(wanted)]
        drawn += [per_set(part, metric, []) for metric in _METRICS]
    print_tables(drawn, markdown, into)


def _methods(rows: dict[str, tuple[str, str]], codes: dict[str, str]) -> list[str]:
    return [method for pair in rows.values() for method in pair] + list(codes.values())


def _tables(
    frame: pd.DataFrame,
    rows: dict[str, tuple[str, str]],
    codes: dict[str, str],
    groups: dict[str, list[str]],
    *,
    details: bool,
) -> list[Table]:
    """Return a table of scores for each group of sets, and with details the differences over the first group."""
    sets, methods = next(iter(groups.values())), _methods(rows, codes)
    frame = frame[frame["set"].isin(sets) & frame["method"].isin(methods)]
    _check_complete(frame, sets, methods)
    drawn = [_scores(frame, rows, title, group) for title, group in groups.items() if group]
    return [*drawn, _differences(frame, rows, sets), _codes(frame, codes, sets)] if details else drawn


def _check_complete(frame: pd.DataFrame, sets: list[str], methods: list[str]) -> None:
    from scrae.errors import ScraeError

    found = set(zip(frame["set"], frame["method"], strict=True))
    missing = [f"{method} on {name}" for method in methods for name in sets if (name, method) not in found]
    if missing or not sets:
        raise ScraeError(
            f"expected records of every method on every set, found none of {missing[0] if missing else 'any set'} "
            f"({len(missing)} missing); run `quality` for them"
        )


def _means(frame: pd.DataFrame, sets: list[str], method: str, metric: str) -> float:
    part = frame[frame["set"].isin(sets) & (frame["method"] == method)]
    return float(part.groupby("set")[metric].mean().mean())


def _scores(frame: pd.DataFrame, rows: dict[str, tuple[str, str]], title: str, sets: list[str]) -> Table:
    from benchmarks.render import Table

    cells = [
        [name, *(f"{_means(frame, sets, method, metric):.3f}" for method in pair for metric in _METRICS)]
        for name, pair in rows.items()
    ]
    seeds = frame.groupby(["method", "set"])["seed"].nunique()
    few, many = int(seeds.min()), int(seeds.max())
    return Table(
        title=f"Mean NMI and ARI: {title}",
        header=["method", "K unknown: NMI", "ARI", "K known: NMI", "ARI"],
        rows=cells,
        note=f"{', '.join(sets)}; {few if few == many else f'{few} to {many}'} seeds. K unknown: the number that each "
        "method chooses, for scanpy's Leiden at resolution 1. K known: the number of published types.",
    )


def _differences(frame: pd.DataFrame, rows: dict[str, tuple[str, str]], sets: list[str]) -> Table:
    """Pair the first row with each other one."""
    from benchmarks.render import Table
    from benchmarks.table import compare, difference_cells

    part = frame[frame["set"].isin(sets)]
    (_, own), *others = rows.items()
    cells = []
    for name, pair in others:
        for when, method, against in zip(("unknown", "known"), own, pair, strict=True):
            row = [f"{name}; K {when}"]
            for metric in _METRICS:
                row += difference_cells(compare(part, method, against, metric))
            cells.append(row)
    return Table(
        title=f"The default minus each other method, {len(sets)} sets",
        header=["against", "NMI", "wins", "worst set", "ARI", "wins", "worst set"],
        rows=cells,
        note="Paired over sets (means over seeds), with 95 % bootstrap intervals over sets.",
    )


def _codes(frame: pd.DataFrame, codes: dict[str, str], sets: list[str]) -> Table:
    from benchmarks.render import Table
    from benchmarks.table import compare, difference_cells

    part, (own, *_) = frame[frame["set"].isin(sets)], codes.values()
    cells = []
    for name, method in codes.items():
        row = [name, *(f"{_means(frame, sets, method, metric):.3f}" for metric in _METRICS)]
        for metric in _METRICS:
            found = None if method == own else compare(part, own, method, metric)
            row.append("" if found is None else difference_cells(found)[0])
        cells.append(row)
    return Table(
        title=f"Codes alone: K-means with the true K, as in the paper, {len(sets)} sets",
        header=["codes", "NMI", "ARI", "NMI of scrae minus this", "ARI of scrae minus this"],
        rows=cells,
        note="",
    )
