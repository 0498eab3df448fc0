"""Ways to choose the number of clusters without labels: curves over candidates, and rules that read them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import eigsh
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score, silhouette_score
from sklearn.mixture import GaussianMixture

from scrae.cluster.graph import NeighborGraph, neighbor_graph, smooth
from scrae.cluster.leiden import leiden
from scrae.cluster.partition import choose_n_clusters, kmeans
from scrae.cluster.stability import stability

__all__ = ["CRITERIA", "RULES", "Case", "Curves", "prepare"]

Curves = dict[str, list[float]]

_SAMPLE = 2000
_PARTS, _PART = 5, 0.8
_REFERENCES = 5


@dataclass(frozen=True, kw_only=True)
class Case:
    """Codes, and their default clusters at every candidate.

    Attributes
    ----------
    z
        float64 [cells, latent], the codes.
    graph
        Their neighbour graph.
    points
        float64 [cells, latent], the codes averaged over it: what K-means clusters.
    labels
        int64 [cells] for each candidate number.
    sample
        int64 [at most 2,000], the cells that costly criteria look at.
    seed
        Drives everything that is random.
    """

    z: NDArray[np.float64]
    graph: NeighborGraph
    points: NDArray[np.float64]
    labels: dict[int, NDArray[np.int64]]
    sample: NDArray[np.int64]
    seed: int


def prepare(codes: NDArray[np.float32], candidates: Iterable[int], *, seed: int) -> Case:
    """Cluster the codes as the package does, at every candidate."""
    graph = neighbor_graph(codes)
    points = smooth(graph)
    labels = {k: kmeans(points, k, seed=seed) for k in candidates}
    sample = np.random.default_rng(seed).permutation(len(codes))[:_SAMPLE]
    z = codes.astype(np.float64)
    return Case(z=z, graph=graph, points=points, labels=labels, sample=sample, seed=seed)


def _silhouettes(case: Case) -> Curves:
    """Mean silhouette (Rousseeuw 1987) of the default clusters on codes and averaged codes, and of plain K-means."""
    z, points = case.z[case.sample], case.points[case.sample]
    few = [found[case.sample] for found in case.labels.values()]
    return {
        "silhouette": [float(silhouette_score(z, found)) for found in few],
        "silhouette_averaged": [float(silhouette_score(points, found)) for found in few],
        "silhouette_plain": [
            float(silhouette_score(z, kmeans(z, k, seed=case.seed, n_init=3))) for k in case.labels
        ],
    }


def _indices(case: Case) -> Curves:
    """Calinski and Harabasz's index of the default clusters on the codes, and minus Davies and Bouldin's."""
    return {
        "calinski_harabasz": [float(calinski_harabasz_score(case.z, one)) for one in case.labels.values()],
        "davies_bouldin": [-float(davies_bouldin_score(case.z, one)) for one in case.labels.values()],
    }


def _modularity(case: Case) -> Curves:
    """Newman's modularity of the default clusters on the neighbour graph, at resolution 1."""
    weights = sparse.csr_matrix(case.graph.connectivities, dtype=np.float64)
    degree = np.asarray(weights.sum(axis=1)).ravel()
    total = degree.sum()
    values = []
    for labels in case.labels.values():
        member = sparse.csr_matrix((np.ones(len(labels)), (labels, np.arange(len(labels)))))
        inside = (member @ weights @ member.T).diagonal().sum() / total
        values.append(float(inside - ((member @ degree / total) ** 2).sum()))
    return {"modularity": values}


def _mixtures(case: Case) -> Curves:
    """Minus BIC of Gaussian mixtures with full and with diagonal covariances."""
    z = case.z[case.sample]
    return {
        f"bic_{kind}": [
            -float(GaussianMixture(k, covariance_type=kind, random_state=case.seed).fit(z).bic(z))
            for k in case.labels
        ]
        for kind in ("full", "diag")
    }


def _gap(case: Case) -> Curves:
    """Gap of plain K-means against uniform points along the principal axes (Tibshirani et al. 2001), and its error."""
    generator = np.random.default_rng(case.seed)
    z = PCA(case.z.shape[1], random_state=case.seed).fit_transform(case.z[case.sample])
    uniform = [generator.uniform(z.min(axis=0), z.max(axis=0), z.shape) for _ in range(_REFERENCES)]
    gaps, errors = [], []
    for k in case.labels:
        inner, *outer = (
            np.log(KMeans(k, n_init=2, random_state=case.seed).fit(x).inertia_) for x in (z, *uniform)
        )
        gaps.append(float(np.mean(outer) - inner))
        errors.append(float(np.std(outer) * np.sqrt(1 + 1 / _REFERENCES)))
    return {"gap": gaps, "gap_error": errors}


def _eigengap(case: Case) -> Curves:
    """Gap after the K-th eigenvalue of the graph's normalised adjacency (von Luxburg 2007, section 8.3)."""
    weights = sparse.csr_matrix(case.graph.connectivities, dtype=np.float64)
    scale = sparse.diags_array(1 / np.sqrt(np.asarray(weights.sum(axis=1)).ravel()))
    start = np.random.default_rng(case.seed).normal(size=len(case.z))
    values = eigsh(scale @ weights @ scale, k=max(case.labels) + 1, v0=start, return_eigenvectors=False)
    values = np.sort(values)[::-1]
    return {"eigengap": [float(values[k - 1] - values[k]) for k in case.labels]}


def _parts(case: Case) -> Curves:
    """ARI with clusters of random parts of the cells; the least stable cluster's Jaccard index (Hennig 2007)."""
    mean, worst = [], []
    for k, labels in case.labels.items():

        def again(cells: NDArray[np.int64], seed: int, k: int = k) -> NDArray[np.int64]:
            return kmeans(smooth(case.graph.subset(cells)), k, seed=seed, n_init=3)

        found = stability(labels, again, seed=case.seed, repeats=_PARTS)
        mean.append(float(found.ari.mean()))
        worst.append(float(found.jaccard.min()))
    return {"parts": mean, "parts_worst": worst}


def _leiden(case: Case) -> Curves:
    """1 at the number of clusters that Leiden gives at resolution 1, 0 elsewhere."""
    return {"leiden_at_1": _only(case, int(leiden(case.graph.joined, 1.0, seed=case.seed).max()) + 1)}


def _default(case: Case) -> Curves:
    """1 at the package's choice, 0 elsewhere."""
    return {"default": _only(case, choose_n_clusters(case.graph, seed=case.seed).n_clusters)}


def _only(case: Case, number: int) -> list[float]:
    nearest = min(case.labels, key=lambda k: abs(k - number))
    return [float(k == nearest) for k in case.labels]


def _bic_parts(case: Case) -> Curves:
    """BIC of the default clusters as Gaussians, mean over parts of the cells: the default of version 0.1.0."""
    rng = np.random.default_rng(case.seed)
    size = min(_SAMPLE, math.ceil(_PART * len(case.z)))
    values = []
    for _ in range(_PARTS):
        part = np.sort(rng.choice(len(case.z), size, replace=False))
        seed = int(rng.integers(2**31))
        values.append(
            [_bic(case.z[part], kmeans(case.points[part], k, seed=seed, n_init=1)) for k in case.labels]
        )
    return {"bic_clusters": np.mean(values, axis=0).tolist()}


def _bic(z: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """BIC per cell, of one Gaussian per cluster with a covariance shrunk toward the pooled one."""
    (n_cells, n_latent), sizes = z.shape, np.bincount(labels)
    means = np.stack([z[labels == k].mean(axis=0) for k in range(len(sizes))])
    residual = z - means[labels]
    ridge = 1e-4 * max(float(z.var(axis=0).mean()), np.finfo(float).tiny) * np.eye(n_latent)
    pooled = residual.T @ residual / n_cells + ridge
    density = np.empty((n_cells, len(sizes)))
    for k, size in enumerate(sizes):
        within = residual[labels == k].T @ residual[labels == k]
        covariance = (within + n_latent * pooled) / (size + n_latent)
        density[:, k] = np.log(size / n_cells) + multivariate_normal(means[k], covariance).logpdf(z)
    n_parameters = len(sizes) * (1 + n_latent + n_latent * (n_latent + 1) / 2) - 1
    return float(logsumexp(density, axis=1).mean() - 0.5 * n_parameters * math.log(n_cells) / n_cells)


CRITERIA: dict[str, Callable[[Case], Curves]] = {
    "silhouettes": _silhouettes,
    "indices": _indices,
    "modularity": _modularity,
    "mixtures": _mixtures,
    "gap": _gap,
    "eigengap": _eigengap,
    "parts": _parts,
    "leiden": _leiden,
    "default": _default,
    "bic": _bic_parts,
}
"""Name → curves, one value a candidate; larger is better."""


def _best(name: str) -> Callable[[Curves], int]:
    return lambda found: int(np.argmax(found[name]))


def _last_above(name: str, least: float) -> Callable[[Curves], int]:
    """The largest number at which the curve is at least so high; the curve's best where it never is."""
    return lambda found: max(
        (i for i, value in enumerate(found[name]) if value >= least), default=int(np.argmax(found[name]))
    )


def _last_near_best(name: str, loss: float) -> Callable[[Curves], int]:
    """The largest number at which the curve is at most so much below its best."""
    return lambda found: max(i for i, value in enumerate(found[name]) if value >= max(found[name]) - loss)


def _published_gap(found: Curves) -> int:
    gaps, errors = found["gap"], found["gap_error"]
    ends = (i for i in range(len(gaps) - 1) if gaps[i] >= gaps[i + 1] - errors[i + 1])
    return next(ends, len(gaps) - 1)


RULES: dict[str, Callable[[Curves], int]] = {
    "Leiden at resolution 0.35, median of three runs (the default)": _best("default"),
    "BIC of the default clusters on parts of the cells (the default of 0.1.0)": _best("bic_clusters"),
    "silhouette on the codes": _best("silhouette"),
    "silhouette on the averaged codes": _best("silhouette_averaged"),
    "silhouette of plain K-means": _best("silhouette_plain"),
    "largest K within .01 of the best silhouette on the codes": _last_near_best("silhouette", 0.01),
    "largest K within .02 of the best silhouette on the averaged codes": _last_near_best(
        "silhouette_averaged", 0.02
    ),
    "Calinski-Harabasz": _best("calinski_harabasz"),
    "Davies-Bouldin": _best("davies_bouldin"),
    "modularity": _best("modularity"),
    "BIC of a Gaussian mixture, full covariances": _best("bic_full"),
    "BIC of a Gaussian mixture, diagonal covariances": _best("bic_diag"),
    "gap": _published_gap,
    "eigengap": _best("eigengap"),
    "largest K with ARI ≥ .9 on parts of the cells": _last_above("parts", 0.9),
    "largest K with every cluster's Jaccard ≥ .6 on parts": _last_above("parts_worst", 0.6),
    "Leiden at resolution 1": _best("leiden_at_1"),
}
"""Name → the place of the chosen candidate, from the curves."""
