"""`python -m benchmarks prior run`: what the prior changes. The same training without prior, with N(0, I), and learned.

A fifth of the cells, drawn with the seed, is not seen in training. Each model is judged by its clusters, by the cells
that it generates, by cells of which most molecules were removed, and by how many ordinary cells it calls unlike.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.judges import judge
from benchmarks.options import Busy, Data, Output, Sets, TorchThreads
from benchmarks.records import Record, append, head, read

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData

    from scrae import SCRAE

__all__ = ["DEPTHS", "PRIORS", "novelty", "run", "split", "table"]

_UNSEEN_SHARE = 0.2
PRIORS = ("none", "normal", "learned")
DEPTHS = (0.05, 0.1, 0.25, 0.5)
_PRIOR_DRAWS = 5000
_RARE, _COVERED, _LEFT_OUT = 0.01, 0.1, 0.08


def run(
    data: Data,
    output: Output,
    sets: Sets,
    seeds: Annotated[int, typer.Option(min=1, help="Run seeds 0 to this minus 1.")] = 5,
    threads: TorchThreads = 2,
    busy: Busy = False,
) -> None:
    """Train with each prior, and judge clusters, generated cells, shallow cells and the flag of unlike cells."""
    import torch

    from benchmarks.sets import find_sets

    torch.set_num_threads(threads)
    done = {(r["set"], r["seed"], r["prior"]) for r in read(output) if r["kind"] == "prior_arms"}
    for seed in range(seeds):
        for one in find_sets(data, sets.split(",")):
            for prior in PRIORS:
                if (one.name, seed, prior) in done:
                    continue
                found = _run(one.path, seed, prior)
                facts = {"set": one.name, "seed": seed, "prior": prior}
                append(output, head("prior_arms", threads=threads, device="cpu", busy=busy) | facts | found)
                auc, flagged = found["generated"]["density"]["auc"], found["flagged"]
                print(
                    f"{one.name:14} seed {seed}  {prior:8} AUC {auc:.3f}  flagged {flagged:.3f}", flush=True
                )


def split(path: Path, seed: int) -> tuple[AnnData, AnnData, np.ndarray]:
    """Return four fifths of the cells, the others, and the types of the first."""
    import numpy as np

    from benchmarks.genes import prepare
    from benchmarks.sets import read_counts, read_labels
    from scrae.config import PreprocessConfig

    cells, labels = read_counts(path), read_labels(path)
    prepare(cells, PreprocessConfig())
    order = np.random.default_rng(seed).permutation(cells.n_obs)
    n_unseen = round(_UNSEEN_SHARE * cells.n_obs)
    unseen, seen = np.sort(order[:n_unseen]), np.sort(order[n_unseen:])
    return cells[seen].copy(), cells[unseen].copy(), labels[seen]


def _run(path: Path, seed: int, prior: Any) -> dict[str, Any]:
    import numpy as np

    from scrae import tl
    from scrae.config import ModelConfig

    train, test, labels = split(path, seed)
    model = tl.train(train, ModelConfig(prior=prior), seed=seed, device="cpu")
    tl.cluster(train, n_clusters=len(np.unique(labels)), seed=seed)
    tl.map(test, train, model)
    flagged = float(test.obs["scrae_unseen"].mean())
    rng = np.random.default_rng([seed, 1])
    shallow = {str(depth): _shallow(test, train, model, depth, rng) for depth in DEPTHS}
    return {
        "clusters": _scores(train, labels, seed),
        "generated": _generated(test, train, model, labels, seed),
        "shallow": shallow,
        "flagged": round(flagged, 4),
    }


def _scores(train: AnnData, labels: np.ndarray, seed: int) -> dict[str, float]:
    """Labels are read here, when everything else is fixed."""
    import numpy as np
    from sklearn.cluster import KMeans

    from scrae.cluster.metrics import score

    codes = train.obsm["X_scrae"]
    kmeans = KMeans(len(np.unique(labels)), n_init=10, random_state=seed).fit_predict(codes)
    found = {}
    for name, clusters in (("default", train.obs["scrae"].cat.codes.to_numpy()), ("kmeans", kmeans)):
        scores = score(labels, clusters)
        found |= {f"nmi_{name}": round(scores.nmi, 4), f"ari_{name}": round(scores.ari, 4)}
    return found


def _shallow(
    test: AnnData, train: AnnData, model: SCRAE, depth: float, rng: np.random.Generator
) -> dict[str, dict[str, float]]:
    """Agreement with the clusters of all molecules, and likelihood of the removed molecules, in nats per molecule."""
    import numpy as np

    from scrae import tl
    from scrae.core.mixture import Density, fit_mixture

    cells = test.copy()
    counts = test.layers["counts"].copy()
    kept = counts.copy()
    kept.data = rng.binomial(counts.data.astype(np.int64), depth).astype(counts.dtype)
    cells.layers["counts"] = kept
    removed = (counts - kept)[:, test.var["scrae_selected"].to_numpy()]
    density = model.density
    densities = {"encoder": None, "refined": density}
    if model.config.prior != "none" and density is not None:
        draws = model.sample_prior(_PRIOR_DRAWS).detach().cpu().numpy().astype(np.float64)
        mixture = fit_mixture(np.column_stack([draws, rng.normal(size=len(draws))]), seed=0)
        densities["refined by the prior"] = Density(mixtures=(mixture,), theta=density.theta)
    found = {}
    for name, chosen in densities.items():
        model.density = density if chosen is None else chosen
        tl.map(cells, train, model, refine=chosen is not None, key_added="found")
        same = float((cells.obs["found"].astype(str) == test.obs["scrae"].astype(str)).mean())
        found[name] = {
            "agreement": round(same, 4),
            "nats": round(_nats(cells.obsm["X_found"], removed, model), 5),
        }
    model.density = density
    return found


def _nats(codes: np.ndarray, molecules: Any, model: SCRAE) -> float:
    """Mean log-probability of a molecule, from the shares that the decoder gives."""
    import numpy as np
    import torch

    with torch.no_grad():
        shares = torch.log_softmax(
            model.decoder(torch.from_numpy(codes.astype(np.float32)))[0].double(), dim=1
        )
    return float(molecules.multiply(shares.numpy()).sum() / molecules.sum())


def _generated(
    test: AnnData, train: AnnData, model: SCRAE, labels: np.ndarray, seed: int
) -> dict[str, dict[str, float]]:
    """How generated cells differ from unseen ones: AUC, total variation of the clusters, coverage of the types."""
    import numpy as np

    from scrae import tl
    from scrae.cluster.transfer import vote

    modeled = train.var["scrae_selected"].to_numpy()
    real = test.layers["counts"][:, modeled].toarray()
    rng = np.random.default_rng(seed)
    again = train.layers["counts"][rng.choice(train.n_obs, test.n_obs, replace=False)][:, modeled].toarray()
    found = {"real": judge(real, again)}
    types = np.unique(labels, return_inverse=True)[1]
    clusters = train.obs["scrae"].cat.codes.to_numpy().astype(np.int64)
    for source in ("density", "prior") if model.config.prior != "none" else ("density",):
        made = tl.generate(model, test.n_obs, source=source, seed=seed)
        codes = made.obsm["X_scrae"]
        drawn, shown = (vote(codes, train.obsm["X_scrae"], groups) for groups in (clusters, types))
        share = np.bincount(types) / len(types)
        covered = np.bincount(shown, minlength=len(share)) / len(shown) >= _COVERED * share
        n_clusters = int(clusters.max()) + 1
        difference = _shares(drawn, n_clusters) - _shares(test.obs["scrae"].cat.codes.to_numpy(), n_clusters)
        found[source] = {
            **judge(real, made.X.toarray()),
            "total_variation": round(float(abs(difference).sum() / 2), 4),
            "covered": round(float(covered[share > _RARE].mean()), 4),
        }
    return found


def _shares(groups: np.ndarray, n_groups: int) -> np.ndarray:
    import numpy as np

    return np.bincount(groups, minlength=n_groups) / len(groups)


def novelty(
    data: Data,
    output: Output,
    sets: Sets,
    threads: TorchThreads = 2,
    busy: Busy = False,
) -> None:
    """Leave two types of about 8 % out of the training, and count the flagged cells."""
    import torch

    from benchmarks.sets import find_sets

    torch.set_num_threads(threads)
    done = {r["set"] for r in read(output) if r["kind"] == "novelty"}
    for one in find_sets(data, sets.split(",")):
        if one.name in done:
            continue
        for left_out, found in _left_out(one.path).items():
            facts = {"set": one.name, "seed": 0, "left_out": left_out}
            append(output, head("novelty", threads=threads, device="cpu", busy=busy) | facts | found)
            print(one.name, left_out, *(f"{name} {value:.3f}" for name, value in found.items()), flush=True)


def _left_out(path: Path) -> dict[str, dict[str, float]]:
    import numpy as np

    from benchmarks.genes import prepare
    from benchmarks.sets import read_counts, read_labels
    from scrae import tl
    from scrae.config import PreprocessConfig

    cells, labels = read_counts(path), read_labels(path)
    prepare(cells, PreprocessConfig())
    unseen = np.random.default_rng(0).random(len(labels)) < _UNSEEN_SHARE
    types, n_cells = np.unique(labels, return_counts=True)
    found = {}
    for left_out in types[np.argsort(abs(n_cells / len(labels) - _LEFT_OUT), kind="stable")][:2]:
        new = labels == left_out
        train, test = cells[~new & ~unseen].copy(), cells[new | unseen].copy()
        model = tl.train(train, device="cpu")
        tl.cluster(train)
        tl.map(test, train, model)
        flagged, of_left_out = test.obs["scrae_unseen"].to_numpy(), new[new | unseen]
        found[str(left_out)] = {
            "ordinary": round(float(flagged[~of_left_out].mean()), 4),
            "power": round(float(flagged[of_left_out].mean()), 4),
        }
    return found


def table(files: Annotated[list[Path], typer.Argument(help="Files of records of run and novelty.")]) -> None:
    """Print the means over sets, and paired differences of the learned prior from the others, as Markdown."""
    import pandas as pd

    from benchmarks.table import compare, difference_cells

    records = [record for file in files for record in read(file)]
    arms = pd.DataFrame([_flat(record) for record in records if record["kind"] == "prior_arms"])
    print(f"{arms['set'].nunique()} sets, seeds {sorted(arms['seed'].unique().tolist())}\n")
    print("| | " + " | ".join(PRIORS) + " | learned minus none | learned minus normal |")
    print("|---|" + "---:|" * (len(PRIORS) + 2))
    for measure in arms.columns.drop(["set", "seed", "method"]):
        means = [arms.loc[arms["method"] == prior, measure].mean() for prior in PRIORS]
        against = ["", ""]
        if not math.isnan(means[0]):
            found = [compare(arms, "learned", prior, measure) for prior in ("none", "normal")]
            against = [difference_cells(difference)[0] for difference in found]
        print(f"| {measure} | " + " | ".join([*(f"{mean:.3f}" for mean in means), *against]) + " |")
    print()
    for record in records:
        if record["kind"] == "novelty":
            names = ("ordinary", "power")
            print(
                f"| {record['set']} | {record['left_out']} | "
                + " | ".join(f"{record[n]:.2f}" for n in names)
                + " |"
            )


def _flat(record: Record) -> dict[str, Any]:
    """One row of the table: the nested measures of a record under one name each."""
    row = {
        "set": record["set"],
        "seed": record["seed"],
        "method": record["prior"],
        "flagged": record["flagged"],
    }
    row |= record["clusters"]
    for part in ("generated", "shallow"):
        for case, ways in record[part].items():
            for way, value in ways.items():
                values = value if isinstance(value, dict) else {"": value}
                row |= {f"{part} {case} {way} {name}".strip(): number for name, number in values.items()}
    return row
