"""`python -m benchmarks prior`: what the weight of the prior does, from none to overwhelming (the paper's thesis).

A fifth of the cells, drawn with the seed, is not seen in training. There is no early stopping, so that every weight
is judged after the same number of steps.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks import arms, arms_figure, arms_peers
from benchmarks.options import Busy, Data, Output, Sets, TorchThreads
from benchmarks.records import Record, append, head, read

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["app"]

_WEIGHTS = (1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1000.0)
_MOST_UNSEEN = 2000
_WITHIN = 0.01
_UNSEEN_SHARE = 0.2
_IDENTITY = ("set", "seed", "prior", "weight", "n_cells")
_PANELS = {
    "nll": "minus log-likelihood a cell",
    "nmi_kmeans": "NMI, K-means on the codes",
    "nmi_smoothed": "NMI, default clustering",
}

app = typer.Typer(
    help="Sweep the weight of the prior, and draw the sweep.", no_args_is_help=True, add_completion=False
)

app.command()(arms.run)
app.command()(arms.novelty)
app.command()(arms_peers.peers)
app.command()(arms.table)
app.command()(arms_figure.overview)


@app.command()
def sweep(
    data: Data,
    output: Output,
    sets: Sets = "cao",
    cells: Annotated[str, typer.Option(help="Numbers of training cells, comma separated; 0: all.")] = "0",
    seeds: Annotated[int, typer.Option(min=1, help="Run seeds 0 to this minus 1.")] = 3,
    threads: TorchThreads = 2,
    busy: Busy = False,
) -> None:
    """Train with every weight and seed that has no record yet."""
    import torch

    from benchmarks.sets import find_sets, read_labels

    torch.set_num_threads(threads)
    done = [{key: r.get(key, 0) for key in _IDENTITY} for r in read(output)]
    priors = [("none", 0.0)] + [(prior, weight) for weight in _WEIGHTS for prior in ("learned", "normal")]
    for seed, number in product(range(seeds), map(int, cells.split(","))):
        for one in find_sets(data, sets.split(",")):
            labels = read_labels(one.path)
            for prior, weight in priors:
                facts = dict(zip(_IDENTITY, (one.name, seed, prior, weight, number), strict=True))
                if facts in done:
                    continue
                found = _run(one.path, labels, seed=seed, prior=prior, weight=weight, n_cells=number)
                append(output, head("prior", threads=threads, device="cpu", busy=busy) | facts | found)
                shown = "  ".join(f"{name} {value:.3f}" for name, value in found.items())
                print(f"{one.name:12} {number:5} seed {seed}  {prior:8} {weight:6g}  {shown}", flush=True)


def _run(
    path: Path, labels: np.ndarray, *, seed: int, prior: str, weight: float, n_cells: int
) -> dict[str, float]:
    import numpy as np
    import torch

    from benchmarks.genes import prepare
    from benchmarks.sets import read_counts
    from scrae import tl
    from scrae.config import ModelConfig, PreprocessConfig, TrainConfig, from_dict
    from scrae.core.fit import fit
    from scrae.core.model import SCRAE

    counts = read_counts(path)
    prepare(counts, PreprocessConfig())
    order = np.random.default_rng(seed).permutation(counts.n_obs)
    n_unseen = round(_UNSEEN_SHARE * counts.n_obs)
    seen = order[n_unseen:] if not n_cells else order[n_unseen : n_unseen + n_cells]
    parts = {"unseen": np.sort(order[: min(n_unseen, _MOST_UNSEEN)]), "seen": np.sort(seen)}
    ready = {name: tl.count_data(counts[cells]) for name, cells in parts.items()}
    model = SCRAE.for_data(ready["seen"], from_dict(ModelConfig, {"prior": prior}), seed=seed)
    config = TrainConfig(prior_weight=weight, validation_fraction=0.0, patience=None)
    fit(model, ready["seen"], config, seed=seed)
    n_types = len(np.unique(labels))
    found = {}
    for name, cells in parts.items():
        found[f"nll_{name}"] = model.held_out_loss(ready[name], torch.arange(len(cells)))
        found |= _scores(model.encode(ready[name]), labels[cells], n_types, seed, name)
    return {name: round(value, 5) for name, value in found.items()}


def _scores(codes: np.ndarray, labels: np.ndarray, n_types: int, seed: int, part: str) -> dict[str, float]:
    """Labels are read here, when everything else is fixed."""
    from benchmarks import clusterers, own
    from benchmarks.methods import CLUSTERERS
    from scrae.cluster.metrics import score

    found = {}
    for name, cluster, key in (("kmeans", clusterers.kmeans, "kmeans"), ("smoothed", own.cluster, "scrae")):
        clusters = cluster(codes, n_clusters=n_types, seed=seed, config=CLUSTERERS[key][1]).clusters
        scores = score(labels, clusters)
        found |= {f"nmi_{name}_{part}": scores.nmi, f"ari_{name}_{part}": scores.ari}
    return found


@app.command()
def width(files: Annotated[list[Path], typer.Argument(help="Files of records of sweep.")]) -> None:
    """Print over how many decades of the weight each prior stays within 1 % of its best, as Markdown."""
    import pandas as pd

    frame = pd.DataFrame([r for file in files for r in read(file) if r["kind"] == "prior" and r["weight"]])
    frame["n_cells"] = frame.get("n_cells", pd.Series(0, frame.index)).fillna(0).astype(int)
    print("| set | cells | measure | learned | normal |\n|---|---:|---|---:|---:|")
    for (name, number), group in frame.groupby(["set", "n_cells"]):
        for measure, sign in (("nmi_smoothed_unseen", 1), ("nmi_smoothed_seen", 1), ("nll_unseen", -1)):
            found = [
                _decades(group[group["prior"] == prior], measure, sign) for prior in ("learned", "normal")
            ]
            print(f"| {name} | {number or 'all'} | {measure} | {found[0]} | {found[1]} |")


def _decades(group: pd.DataFrame, measure: str, sign: int) -> int:
    """Decades between the smallest and the largest weight in one run of weights around the best, mean over seeds."""
    values = sign * group.groupby("weight")[measure].mean()
    near = (values >= values.max() - _WITHIN * abs(values.max())).to_numpy()
    best = int(values.to_numpy().argmax())
    first, last = best, best
    while first > 0 and near[first - 1]:
        first -= 1
    while last + 1 < len(near) and near[last + 1]:
        last += 1
    return last - first


@app.command()
def figure(
    file: Annotated[Path, typer.Argument(help="File of records.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Picture to write, png or svg.")],
) -> None:
    """Draw likelihood and NMI of seen and unseen cells against the weight of the prior."""
    from matplotlib.figure import Figure

    records = [record for record in read(file) if record["kind"] == "prior"]
    sets = list(dict.fromkeys(record["set"] for record in records))
    drawn = Figure(figsize=(4 * len(_PANELS), 3 * len(sets)), layout="constrained")
    axes = drawn.subplots(len(sets), len(_PANELS), squeeze=False)
    for row, name in zip(axes, sets, strict=True):
        here = [record for record in records if record["set"] == name]
        for panel, (key, title) in zip(row, _PANELS.items(), strict=True):
            _draw(panel, here, key)
            panel.set_title(f"{name}: {title}", fontsize=9)
    axes[0, 0].legend(fontsize=7)
    for panel in axes[-1]:
        panel.set_xlabel("weight of the prior λ (0: none)")
    drawn.savefig(output, dpi=150)


def _draw(panel: Axes, records: list[Record], key: str) -> None:
    """Means over seeds; bars from the lowest to the highest seed."""
    import numpy as np

    styles: dict[str, Any] = {
        "seen": {"color": "#0072B2", "marker": "o"},
        "unseen": {"color": "#D55E00", "marker": "s"},
    }
    for part, style in styles.items():
        for learned in (True, False):
            chosen = [record for record in records if (record["prior"] != "normal") == learned]
            weights = sorted({record["weight"] for record in chosen})
            values = [[r[f"{key}_{part}"] for r in chosen if r["weight"] == weight] for weight in weights]
            means = np.asarray([np.mean(v) for v in values])
            spread = np.asarray([[m - min(v), max(v) - m] for m, v in zip(means, values, strict=True)]).T
            panel.errorbar(
                weights,
                means,
                spread,
                ls="-" if learned else "",
                mfc=style["color"] if learned else "white",
                ms=4,
                lw=1,
                label=f"{part} cells, {'learned prior' if learned else 'normal prior'}",
                **style,
            )
    panel.set_xscale("symlog", linthresh=0.1)
    panel.tick_params(labelsize=8)
