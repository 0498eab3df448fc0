"""`python -m benchmarks prior overview`: three priors at a glance, from the records of `prior run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.arms import DEPTHS, PRIORS
from benchmarks.records import Record, read

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["overview"]

_COLORS = {"none": "#4D4D4D", "normal": "#D55E00", "learned": "#0072B2"}
_SOURCES = {"real": "real cells", "density": "density fitted\nafter training", "prior": "prior"}


def overview(
    file: Annotated[Path, typer.Argument(help="File of records of run.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Picture to write, png or svg.")],
) -> None:
    """Draw clusters, generated cells and cells with few molecules of models with the three priors."""
    from matplotlib.figure import Figure

    records = [record for record in read(file) if record["kind"] == "prior_arms"]
    drawn = Figure(figsize=(11, 3.4), layout="constrained")
    clusters, generated, shallow = drawn.subplots(1, 3)
    _dots(clusters, records)
    _sources(generated, records)
    _depths(shallow, records)
    drawn.savefig(output, dpi=150)


def _dots(axes: Axes, records: list[Record]) -> None:
    """NMI of each set with each prior, joined by lines."""
    for name in sorted({record["set"] for record in records}):
        values = [_mean(records, name, prior, "clusters", "nmi_default") for prior in PRIORS]
        axes.plot(PRIORS, values, color="#BBBBBB", lw=1, zorder=1)
        axes.scatter(PRIORS, values, c=[_COLORS[prior] for prior in PRIORS], s=22, zorder=2)
    axes.set(title="Clusters: NMI of each data set", xlabel="prior", ylim=(0.5, 1))


def _sources(axes: Axes, records: list[Record]) -> None:
    """AUC of a classifier of real and generated cells: one dot for each set."""
    for shift, prior in enumerate(PRIORS):
        for place, source in enumerate(_SOURCES):
            values = [
                r["generated"][source]["auc"]
                for r in records
                if r["prior"] == prior and source in r["generated"]
            ]
            label = prior if not place else None
            x = [place + 0.2 * (shift - 1)] * len(values)
            axes.scatter(x, values, color=_COLORS[prior], s=18, alpha=0.8, label=label)
    axes.axhline(0.5, color="#888888", lw=0.8, ls="--")
    axes.set_xticks(range(len(_SOURCES)), list(_SOURCES.values()), fontsize=8)
    axes.set(title="Generated cells: AUC (0.5 is perfect)", ylim=(0, 1.03))
    axes.legend(title="prior of the model", fontsize=8, title_fontsize=8, loc="lower right")


def _depths(axes: Axes, records: list[Record]) -> None:
    """Agreement with the clusters of all molecules, mean over sets."""
    import numpy as np

    for prior in PRIORS:
        chosen = [record["shallow"] for record in records if record["prior"] == prior]
        for way, style in (("encoder", "--"), ("refined", "-")):
            values = [np.mean([found[str(depth)][way]["agreement"] for found in chosen]) for depth in DEPTHS]
            axes.plot(DEPTHS, values, style, color=_COLORS[prior], marker="o", ms=4, label=f"{prior}, {way}")
    axes.set_xscale("log")
    axes.set_xticks(DEPTHS, [f"{depth:.0%}" for depth in DEPTHS])
    axes.minorticks_off()
    axes.set(title="Few molecules: agreement", xlabel="molecules kept")
    axes.legend(fontsize=7)


def _mean(records: list[Record], name: str, prior: str, part: str, measure: str) -> float:
    values = [r[part][measure] for r in records if r["set"] == name and r["prior"] == prior]
    return sum(values) / len(values) if values else float("nan")
