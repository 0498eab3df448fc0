"""`python -m benchmarks prior peers`: cells simulated by others, judged as those of `prior run` on the same cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from benchmarks.arms import split
from benchmarks.judges import judge
from benchmarks.options import Busy, Data, Output, Sets, TorchThreads
from benchmarks.records import append, head, read

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["peers"]


def peers(
    data: Data,
    output: Output,
    sets: Sets,
    sources: Annotated[str, typer.Option(help="scvi and clusters, comma separated.")] = "scvi,clusters",
    seeds: Annotated[int, typer.Option(min=1, help="Run seeds 0 to this minus 1.")] = 1,
    threads: TorchThreads = 2,
    busy: Busy = False,
) -> None:
    """Simulate by scVI's prior, and by a zero-inflated negative binomial of each cluster without latent space."""
    import torch

    from benchmarks.sets import find_sets

    torch.set_num_threads(threads)
    done = {(r["set"], r["seed"], r["source"]) for r in read(output) if r["kind"] == "prior_peers"}
    for seed in range(seeds):
        for one in find_sets(data, sets.split(",")):
            train, test, _ = split(one.path, seed)
            genes = train.var["scrae_selected"].to_numpy()
            seen, real = train.layers["counts"][:, genes].toarray(), test.layers["counts"][:, genes].toarray()
            for source in sources.split(","):
                if (one.name, seed, source) in done:
                    continue
                made = _scvi(seen, len(real), seed) if source == "scvi" else _clusters(train, len(real), seed)
                found = judge(real, made)
                facts = {"set": one.name, "seed": seed, "source": source}
                append(output, head("prior_peers", threads=threads, device="cpu", busy=busy) | facts | found)
                print(f"{one.name:14} seed {seed}  {source:8} AUC {found['auc']:.3f}", flush=True)


def _scvi(seen: np.ndarray, n_cells: int, seed: int) -> np.ndarray:
    """Draw codes from scVI's prior N(0, I) and library sizes of the training cells, at scvi-tools' defaults."""
    import anndata
    import scvi
    import torch

    scvi.settings.seed = seed
    cells = anndata.AnnData(seen.astype(np.float32))
    scvi.model.SCVI.setup_anndata(cells)
    model = scvi.model.SCVI(cells)
    model.train(accelerator="cpu", enable_progress_bar=False)
    rng = np.random.default_rng(seed)
    library = np.log(np.maximum(seen.sum(axis=1), 1))[rng.integers(len(seen), size=n_cells)]
    with torch.no_grad():
        drawn = model.module.generative(
            z=torch.randn(n_cells, model.module.n_latent),
            library=torch.from_numpy(library.astype(np.float32))[:, None],
            batch_index=torch.zeros(n_cells, 1, dtype=torch.long),
        )["px"].sample()
    return np.asarray(drawn.numpy())


def _clusters(train: AnnData, n_cells: int, seed: int) -> np.ndarray:
    """Draw each gene on its own: means and dispersions of the clusters, zeros beyond the negative binomial's."""
    from scrae import tl

    tl.train(train, seed=seed, device="cpu")
    tl.cluster(train, seed=seed)
    groups = train.obs["scrae"].cat.codes.to_numpy()
    seen = train.layers["counts"][:, train.var["scrae_selected"].to_numpy()].toarray()
    rng = np.random.default_rng(seed)
    rows = rng.integers(len(seen), size=n_cells)
    library = seen.sum(axis=1, dtype=np.float64)
    made = np.zeros((n_cells, seen.shape[1]))
    for group in np.unique(groups[rows]):
        inside, drawn = groups == group, np.flatnonzero(groups[rows] == group)
        share = seen[inside].sum(axis=0) / library[inside].sum()
        mean = library[inside, None] * share
        excess = ((seen[inside] - mean) ** 2 - mean).sum(axis=0)
        theta = np.clip((mean**2).sum(axis=0) / np.maximum(excess, 1e-12), 1e-3, 1e6)
        zeros = (seen[inside] == 0).mean(axis=0)
        expected = ((theta / (theta + mean)) ** theta).mean(axis=0)
        dropout = np.clip((zeros - expected) / np.maximum(1 - expected, 1e-12), 0, 0.99)
        rate = rng.gamma(theta, 1 / theta, size=(len(drawn), len(theta)))
        rate *= library[rows[drawn], None] * share / (1 - dropout)
        made[drawn] = rng.poisson(rate) * (rng.random(rate.shape) >= dropout)
    return made
