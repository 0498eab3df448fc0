"""Doublets: a score for each cell, and clusters that look like the sum of two others."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import logit
from scipy.stats import median_abs_deviation
from sklearn.decomposition import TruncatedSVD
from sklearn.mixture import GaussianMixture

from scrae.cluster.neighbors import NeighborIndex
from scrae.io.notes import add_note, remove_notes
from scrae.pp._counts import counts_of
from scrae.pp._filter import samples_of
from scrae.tl import _marker_test as test
from scrae.tl._markers import clusters_of

__all__ = ["doublet_clusters", "doublets"]

_PER_CELL, _MOST = 2, 100_000
"""Simulated doublets for each cell, and at most."""
_MOST_NEIGHBORS, _MOST_FOR_BOUNDARY = 100, 5_000
"""Neighbors of a cell, and simulated doublets that are scored too, to limit the time of large data."""
_RATE = 0.06
"""Expected fraction of doublets."""
_N_GENES, _N_COMPONENTS = 2000, 30
_FEWEST_CELLS = 100
_DEVIATIONS = 2.5
_MIXTURES = (0.3, 0.5, 0.7)
"""Shares of the first cell type in the molecules of a doublet."""
_N_MARKERS = 10
_MOSTLY, _TOGETHER, _APART, _BETTER = 0.5, 0.75, 0.15, 0.75


def doublets(adata: AnnData, *, sample_key: str | None = None, seed: int = 0) -> None:
    """Score how much each cell resembles the sum of two cells.

    The method of Scrublet (Wolock et al. 2019): doublets are simulated by adding the counts of random pairs of cells,
    and a cell's score is the probability to be a doublet, from the fraction of simulated ones among its nearest
    neighbors in principal components. Doublets of two cells of the same type cannot be found.

    Parameters
    ----------
    adata : AnnData
        Raw counts of all genes in ``layers["counts"]``.
    sample_key : str or None
        Column of ``obs`` with the sample of each cell: doublets arise within a sample. None = one sample.
    seed : int
        Seed of the simulated doublets.

    Raises
    ------
    ScraeError
        No counts, or no such column.

    Notes
    -----
    The scores of the simulated doublets have two modes: pairs of similar and of different cells. A cell is called a
    doublet if its score is above the boundary of the two, by a mixture of two Gaussians of their logits, and if it is
    an outlier among the cells: its logit is above the median by 2.5 scaled median absolute deviations.

    Writes ``obs["scrae_doublet_score"]`` (0 to 1; NaN in samples of fewer than 100 cells), ``obs["scrae_doublet"]``
    (bool) and ``uns["scrae"]["notes"]``. No cell is dropped.
    """
    samples = samples_of(adata, sample_key)
    counts = counts_of(adata)
    codes = np.zeros(adata.n_obs, np.int64) if samples is None else pd.factorize(samples)[0]
    score, called = np.full(adata.n_obs, np.nan), np.zeros(adata.n_obs, dtype=bool)
    for code in np.unique(codes):
        cells = np.flatnonzero(codes == code)
        if len(cells) >= _FEWEST_CELLS:
            score[cells], called[cells] = _score(counts[cells], seed)
    adata.obs["scrae_doublet_score"], adata.obs["scrae_doublet"] = score, called
    remove_notes(adata, "Doublets:")
    add_note(adata, f"Doublets: {int(called.sum())} of {adata.n_obs} cells look like doublets.")


def _score(counts: sparse.csr_matrix, seed: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return score and call of the cells [cells] of one sample."""
    rng = np.random.default_rng(seed)
    n_cells = counts.shape[0]
    n_simulated = min(_PER_CELL * n_cells, _MOST)
    first, second = rng.integers(0, n_cells, (2, n_simulated))
    depth = test.depth_of(counts)
    x = test.scale_cells(counts, np.maximum(depth, 1) / np.median(depth), log=True)
    spread = np.asarray(x.power(2).mean(axis=0) - np.power(x.mean(axis=0), 2)).ravel()
    genes = np.argsort(-spread, kind="stable")[:_N_GENES]
    chosen = counts[:, genes]
    total = np.maximum(depth[first] + depth[second], 1)
    pairs = test.scale_cells((chosen[first] + chosen[second]).tocsr(), total / np.median(depth), log=True)
    n_components = min(_N_COMPONENTS, len(genes) - 1)
    components = TruncatedSVD(n_components, random_state=seed).fit(x[:, genes])
    points = np.concatenate([components.transform(x[:, genes]), components.transform(pairs)])
    ratio = n_simulated / n_cells
    n_neighbors = min(max(2, round(0.5 * np.sqrt(n_cells) * (1 + ratio))), _MOST_NEIGHBORS)
    _, neighbors = NeighborIndex(points).search(points[: n_cells + _MOST_FOR_BOUNDARY], n_neighbors + 1)
    neighbors = neighbors[:, 1:]  # the first is the point itself
    share = ((neighbors >= n_cells).sum(axis=1) + 1) / (n_neighbors + 2)
    likelihood = share * _RATE / ratio
    score = likelihood / (
        1 - _RATE - share * (1 - _RATE - _RATE / ratio)
    )  # Bayes' rule, Wolock et al. 2019, eq. 3
    logits = logit(np.clip(score, 1e-3, 1 - 1e-3))
    own = logits[:n_cells]
    limit = np.median(own) + _DEVIATIONS * median_abs_deviation(own, scale="normal")
    return score[:n_cells], own > max(limit, _boundary(logits[n_cells:]))


def _boundary(logits: NDArray[np.float64]) -> float:
    """Return the logit from which on a simulated doublet more probably belongs to the higher mode."""
    mixture = GaussianMixture(2, random_state=0).fit(logits[:, None])
    grid = np.linspace(mixture.means_.min(), mixture.means_.max(), 500)[:, None]
    upper = mixture.predict_proba(grid)[:, mixture.means_.argmax()] > 0.5
    return float(grid[upper.argmax(), 0]) if upper.any() else np.inf


def doublet_clusters(adata: AnnData, *, cluster_key: str = "scrae") -> None:
    """Find clusters that look like the sum of two other clusters.

    Parameters
    ----------
    adata : AnnData
        Cells with clusters, and raw counts in ``layers["counts"]``; with ``obs["scrae_doublet"]`` of
        :func:`scrae.tl.doublets` the share of called cells is used too.
    cluster_key : str
        Column of ``obs`` with the clusters.

    Raises
    ------
    ScraeError
        No such column, or no counts.

    Notes
    -----
    The pair of other clusters is the one whose mixture (30, 50 or 70 % of the first) comes closest to the mean
    profile. A cell expresses both if it has at least half as many of the ten genes that set the first apart from the
    second as a median cell of the first, and likewise of the second.

    Writes ``uns[cluster_key]["doublets"]``, a DataFrame with a row for each cluster; none if there are fewer
    than three:

    - ``cluster``, ``first``, ``second``: the cluster, and the pair.
    - ``called``: fraction of its cells that are called doublets.
    - ``together``, ``apart``: fraction of cells that express both, in the cluster and at most in one of the pair.
    - ``genes``: the best gene of the first and of the second.
    - ``doublets``: whether at least half of the cells are called; or the mixture fits clearly better than any single
      cluster, and ``together`` is at least 0.75 and ``apart`` at most 0.15.
    """
    clusters = clusters_of(adata, cluster_key, at_least=1)
    counts, names = counts_of(adata), clusters.categories.tolist()
    codes = clusters.codes.astype(np.int64)
    depth = np.median(test.depth_of(counts))
    _, _, share = test.log_values(counts, codes, len(names))
    rate = depth * test.sum_by_cluster(counts, codes, len(names)).rate
    called = adata.obs.get("scrae_doublet", pd.Series(False, adata.obs.index)).to_numpy(dtype=bool)
    rows = []
    for k in range(len(names)) if len(names) > 2 else ():
        first, second, better = _closest_pair(rate, k)
        genes = [
            np.argsort(-(share[a] - share[b]), kind="stable")[:_N_MARKERS]
            for a, b in ((first, second), (second, first))
        ]
        both = _expresses(counts, codes, first, genes[0]) & _expresses(counts, codes, second, genes[1])
        together = float(both[codes == k].mean())
        apart = max(float(both[codes == one].mean()) for one in (first, second))
        calls = float(called[codes == k].mean())
        sum_of_two = better <= _BETTER and together >= _TOGETHER and apart <= _APART
        rows.append(
            {
                "cluster": names[k], "first": names[first], "second": names[second],
                "called": calls, "together": together, "apart": apart,
                "genes": " ".join(str(adata.var_names[own[0]]) for own in genes),
                "doublets": bool(sum_of_two or calls >= _MOSTLY),
            }
        )  # fmt: skip
    table = pd.DataFrame(rows, index=[str(k) for k in range(len(rows))])
    adata.uns.setdefault(cluster_key, {})["doublets"] = table


def _closest_pair(rate: NDArray[np.float64], k: int) -> tuple[int, int, float]:
    """Return the two clusters whose mixture is closest to cluster ``k``, and its distance over that of the nearest."""
    genes = np.argsort(-np.log1p(rate).var(axis=0), kind="stable")[: _N_GENES // 2]
    rate = rate[:, genes]
    others = [one for one in range(len(rate)) if one != k]
    target = np.log1p(rate[k])
    nearest = min(float(((target - np.log1p(rate[one])) ** 2).sum()) for one in others)
    distances: dict[tuple[int, int], float] = {}
    for first, second in itertools.combinations(others, 2):
        distances[first, second] = min(
            float(((target - np.log1p(part * rate[first] + (1 - part) * rate[second])) ** 2).sum())
            for part in _MIXTURES
        )
    pair = min(distances, key=lambda one: distances[one])
    return *pair, distances[pair] / max(nearest, 1e-12)


def _expresses(
    counts: sparse.csr_matrix, codes: NDArray[Any], cluster: int, genes: NDArray[Any]
) -> NDArray[np.bool_]:
    """Return which cells [cells] have at least half as many of the genes as a median cell of the cluster."""
    number = np.asarray((counts[:, genes] > 0).sum(axis=1)).ravel()
    return np.asarray(number >= max(1, 0.5 * np.median(number[codes == cluster])))
