"""`python -m benchmarks prior generate`: tell simulated cells from cells that training did not see.

A fifth of the cells, drawn with the seed, is held out. A random forest on 30 principal components of the log-normalized
counts of the modeled genes tells as many simulated cells from them; its area under the ROC curve is .5 if it cannot.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.records import append, head, read

if TYPE_CHECKING:
    import numpy as np

__all__ = ["generate"]

_UNSEEN_SHARE = 0.2
_COMPONENTS, _TREES, _FOLDS = 30, 200, 5
_PRIORS = ("learned", "normal", "none")


def generate(
    data: Annotated[Path, typer.Option(help='Folder of h5ad files: counts in X, types in obs["cell_type"].')],
    output: Annotated[Path, typer.Option("--output", "-o", help="File of records (JSON lines) to add to.")],
    sets: Annotated[str, typer.Option(help="Names of sets, comma separated.")],
    seeds: Annotated[int, typer.Option(min=1, help="Run seeds 0 to this minus 1.")] = 3,
    priors: Annotated[str, typer.Option(help="Priors of the models, comma separated.")] = ",".join(_PRIORS),
    threads: Annotated[int, typer.Option(min=1, help="Threads for torch.")] = 2,
    busy: Annotated[bool, typer.Option("--busy", help="Mark the seconds as not comparable.")] = False,
) -> None:
    """Train, simulate cells from the density and from the prior, and tell them from held-out cells."""
    import torch

    from benchmarks.sets import find_sets

    torch.set_num_threads(threads)
    done = {(r["set"], r["seed"], r["prior"]) for r in read(output)}
    for seed in range(seeds):
        for one in find_sets(data, sets.split(",")):
            for prior in priors.split(","):
                if (one.name, seed, prior) in done:
                    continue
                found = _run(one.path, seed, prior)
                facts = {"set": one.name, "seed": seed, "prior": prior, "auc": found}
                append(output, head("generation", threads=threads, device="cpu", busy=busy) | facts)
                shown = "  ".join(f"{name} {value:.3f}" for name, value in found.items())
                print(f"{one.name:14} seed {seed}  {prior:8} {shown}", flush=True)


def _run(path: Path, seed: int, prior: Any) -> dict[str, float]:
    import numpy as np

    from benchmarks.genes import prepare
    from benchmarks.sets import read_counts
    from scrae import tl
    from scrae.config import ModelConfig, PreprocessConfig

    counts = read_counts(path)
    prepare(counts, PreprocessConfig())
    rng = np.random.default_rng(seed)
    order = rng.permutation(counts.n_obs)
    n_unseen = round(_UNSEEN_SHARE * counts.n_obs)
    unseen, seen = np.sort(order[:n_unseen]), np.sort(order[n_unseen:])
    train = counts[seen].copy()
    model = tl.train(train, ModelConfig(prior=prior), seed=seed, device="cpu")
    modeled = counts.layers["counts"][:, counts.var["scrae_selected"].to_numpy()]
    real = modeled[unseen].toarray()
    found = {
        "real": _auc(real, modeled[rng.choice(seen, n_unseen, replace=False)].toarray()),
        "density": _auc(real, tl.generate(model, n_unseen, seed=seed).X.toarray()),
    }
    if prior != "none":
        found["prior"] = _auc(real, tl.generate(model, n_unseen, source="prior", seed=seed).X.toarray())
    return {name: round(value, 4) for name, value in found.items()}


def _auc(real: np.ndarray, made: np.ndarray) -> float:
    import numpy as np
    from sklearn.decomposition import PCA
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import cross_val_predict

    counts = np.vstack([real, made]).astype(np.float64)
    total = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    points = PCA(_COMPONENTS, random_state=0).fit_transform(np.log1p(counts / total * np.median(total)))
    is_made = np.repeat([0, 1], [len(real), len(made)])
    forest = RandomForestClassifier(_TREES, min_samples_leaf=3, random_state=0)
    share = cross_val_predict(forest, points, is_made, cv=_FOLDS, method="predict_proba")[:, 1]
    return float(roc_auc_score(is_made, share))
