"""The paper's figures 2 to 8, drawn from records, and from the codes that runs left in the cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.embeddings import split_cells
from benchmarks.paper import plan
from benchmarks.paper.tables import dispersion, systems_of
from benchmarks.records import Record
from benchmarks.run import codes_file
from benchmarks.sets import read_labels
from scrae.pl._colors import MISSING, PALETTE

__all__ = ["bars", "latent_pictures", "pictures", "projections", "selection_bars"]

_MOST_TYPES = 20  # in a legend


def bars(frame: pd.DataFrame, metric: str, latent: tuple[int, ...]) -> Figure:
    """Figures 2 to 5: a panel a latent size, a group a set, a bar a system; whiskers from worst to best seed."""
    frame = dispersion(frame)
    sizes = [size for size in latent if size in set(frame["n_latent"])]
    figure = Figure(figsize=(10, 2.6 * max(1, len(sizes))), layout="constrained")
    for panel, size in zip(np.ravel(figure.subplots(max(1, len(sizes)), 1)), sizes, strict=False):
        here = frame[frame["n_latent"] == size]
        _grouped(
            panel, here, "set", list(here.sort_values("n_cells")["set"].unique()), metric, systems_of(frame)
        )
        panel.set_title(f"{size} latent dimensions", fontsize=9)
    _legend(figure)
    return figure


def selection_bars(frame: pd.DataFrame) -> Figure:
    """Figure 8: NMI by gene selection on Klein and Baron."""
    frame = frame[
        (frame["n_genes"] == 720) & (frame["n_latent"] == 10) & frame["genes"].isin(plan.SELECTIONS)
    ]
    sets = [name for name in plan.SELECTION_SETS if name in set(frame["set"])]
    figure = Figure(figsize=(10, 2.6 * max(1, len(sets))), layout="constrained")
    for panel, name in zip(np.ravel(figure.subplots(max(1, len(sets)), 1)), sets, strict=False):
        _grouped(panel, frame[frame["set"] == name], "genes", list(plan.SELECTIONS), "nmi", systems_of(frame))
        panel.set_xticks(range(len(plan.SELECTIONS)), plan.SELECTIONS.values())
        panel.set_title(name, fontsize=9)
    _legend(figure)
    return figure


def pictures(
    frame: pd.DataFrame, records: list[Record], data: Path, cache: Path, name: str | None
) -> dict[str, Figure]:
    """Figures 6 and 7 of one set: the fifth of the cells that the paper draws, of the first seed.

    With the protocol paper it is the part that was not seen; with label-free the same part, seen like all cells.

    Parameters
    ----------
    frame
        Of `frame_of`; only its runs are drawn, and only where the codes are still in the cache.
    records
        The records that `frame` was made of.
    data
        Folder with the set's labels.
    cache
        The cache of the runs.
    name
        The set; None = the largest with records.
    """
    frame = dispersion(frame)
    frame = frame[frame["seed"] == 0]
    if frame.empty:
        return {}
    chosen = name or str(frame.loc[frame["n_cells"].idxmax(), "set"])
    here = frame[frame["set"] == chosen]
    newest = {  # a later record of the same run takes the place of an earlier one
        record["method"]: record
        for record in records
        if (record["kind"], record.get("protocol"), record.get("seed"))
        == ("quality", frame["protocol"].iloc[0], 0)
        and record["data"]["name"] == chosen
    }
    codes = {(row.system, row.n_latent): _test_codes(newest[row.method], cache) for row in here.itertuples()}
    there = {key: value for key, value in codes.items() if value is not None}
    labels = read_labels(data / f"{chosen}.h5ad")[split_cells(int(here["n_cells"].iloc[0]), 0)[1]]
    drawn = {}
    if flat := {system: there[system, 2] for system in plan.SYSTEMS if (system, 2) in there}:
        drawn["figure6"] = latent_pictures(flat, labels)
    if wide := [there[system, 10] for system in ("scRAE", "scRAE (default)") if (system, 10) in there]:
        drawn["figure7"] = projections(wide[0], labels, seed=0)
    return drawn


def _test_codes(record: Record, cache: Path) -> NDArray[np.float32] | None:
    """Codes of the test part that the run of a record left; None if they are gone."""
    file = codes_file(
        cache,
        sha256=record["data"]["sha256"],
        embedding=record["config"]["embedding"],
        seed=record["seed"],
        code=record["code"],
        protocol=record["protocol"],
    )
    if not file.exists():
        return None
    codes: NDArray[np.float32] = np.load(file)
    return codes if record["protocol"] == "paper" else codes[split_cells(len(codes), record["seed"])[1]]


def latent_pictures(pictures: dict[str, NDArray[np.float32]], labels: NDArray[np.object_]) -> Figure:
    """Figure 6: the two latent dimensions of each system, a point a cell, a colour a type."""
    n_columns = min(4, len(pictures))
    n_rows = -(-len(pictures) // n_columns)
    figure = Figure(figsize=(3 * n_columns, 3 * n_rows), layout="constrained")
    panels = np.ravel(figure.subplots(n_rows, n_columns))
    for panel, (name, codes) in zip(panels, pictures.items(), strict=False):
        _scatter(panel, codes, labels)
        panel.set_title(name, fontsize=9)
    for panel in panels[len(pictures) :]:
        panel.set_axis_off()
    _legend(figure)
    return figure


def projections(codes: NDArray[np.float32], labels: NDArray[np.object_], seed: int) -> Figure:
    """Figure 7: PCA, t-SNE and UMAP of the codes."""
    from scrae import tl

    adata = AnnData(obs=pd.DataFrame(index=[str(i) for i in range(len(codes))]), obsm={"X_scrae": codes})
    tl.project(adata, tsne=True, seed=seed)
    names = {"PCA": "X_pca_scrae", "t-SNE": "X_tsne", "UMAP": "X_umap"}
    return latent_pictures(
        {name: adata.obsm[key] for name, key in names.items() if key in adata.obsm}, labels
    )


def _grouped(
    panel: Axes, frame: pd.DataFrame, by: str, groups: list[str], metric: str, systems: list[str]
) -> None:
    width = 0.8 / max(1, len(systems))
    for i, system in enumerate(systems):
        scores = frame[frame["system"] == system].groupby(by)[metric].agg(["mean", "min", "max"])
        scores = scores.reindex(groups)
        panel.bar(
            np.arange(len(groups)) + (i - (len(systems) - 1) / 2) * width,
            scores["mean"],
            width,
            yerr=np.abs(scores[["min", "max"]].sub(scores["mean"], axis=0).to_numpy().T),
            color=PALETTE[list(plan.SYSTEMS).index(system)],  # the same in every figure
            label=system,
            error_kw={"lw": 0.7},
        )
    panel.set_xticks(range(len(groups)), groups)
    panel.set_xlim(-0.5, len(groups) - 0.5)  # systems without a run keep their room
    panel.set_ylabel(metric.upper() if len(metric) == 3 else metric, fontsize=9)
    panel.set_ylim(0, 1)
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)


def _scatter(panel: Axes, codes: NDArray[np.float32], labels: NDArray[np.object_]) -> None:
    types = sorted({str(label) for label in labels if label is not None})
    colours = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(types)}
    order = np.random.default_rng(0).permutation(len(codes))  # so that no type covers another
    panel.scatter(
        *codes[order, :2].T,
        s=6,
        lw=0,
        c=[MISSING if labels[i] is None else colours[str(labels[i])] for i in order],
        rasterized=True,
    )
    for name in types[:_MOST_TYPES]:
        panel.scatter([], [], color=colours[name], s=12, label=name)
    panel.set_xticks([])
    panel.set_yticks([])


def _legend(figure: Figure) -> None:
    """One legend for all panels, that of the first."""
    handles, names = figure.axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, names, loc="outside right upper", fontsize=8, frameon=False)
