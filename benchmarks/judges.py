"""How simulated cells differ from real ones that the simulation has not seen."""

from __future__ import annotations

import numpy as np

__all__ = ["judge"]

_COMPONENTS, _TREES, _FOLDS = 30, 200, 5
_MOST_MMD = 1000
_GENES = 200


def judge(real: np.ndarray, made: np.ndarray) -> dict[str, float]:
    """Compare as many simulated cells with real ones.

    Parameters
    ----------
    real, made : ndarray of shape (n_cells, n_genes)
        Counts of the modeled genes.

    Returns
    -------
    dict of float
        ``auc``: area under the ROC curve of a random forest on 30 principal components of the log-normalized counts,
        in five folds; 0.5: it cannot separate them. ``mmd``: squared maximum mean discrepancy in these components,
        Gaussian kernel of the median distance, unbiased; 0: no difference. ``zeros``: share of zeros among the
        simulated counts minus among the real. ``mean``, ``variance`` and ``correlation``: mean absolute difference of
        the genes' means and variances (of log-normalized counts, in units of the real cells' mean), and of the
        correlations of the 200 most variable genes.
    """
    from sklearn.decomposition import PCA

    counts = np.vstack([real, made]).astype(np.float64)
    total = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    logs = np.log1p(counts / total * np.median(total))
    points = PCA(_COMPONENTS, random_state=0).fit_transform(logs)
    n_real = len(real)
    found = {"auc": _auc(points, n_real), "mmd": _mmd(points[:n_real], points[n_real:])}
    found["zeros"] = float((made == 0).mean() - (real == 0).mean())
    parts = logs[:n_real], logs[n_real:]
    for name, measure in (("mean", np.mean), ("variance", np.var)):
        one, other = (measure(part, axis=0) for part in parts)
        found[name] = float(abs(one - other).mean() / one.mean())
    found["correlation"] = _correlation(*parts)
    return {name: round(value, 4) for name, value in found.items()}


def _auc(points: np.ndarray, n_real: int) -> float:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import cross_val_predict

    is_made = np.arange(len(points)) >= n_real
    forest = RandomForestClassifier(_TREES, min_samples_leaf=3, random_state=0)
    share = cross_val_predict(forest, points, is_made, cv=_FOLDS, method="predict_proba")[:, 1]
    return float(roc_auc_score(is_made, share))


def _mmd(one: np.ndarray, other: np.ndarray) -> float:
    """Gretton et al., J. Mach. Learn. Res. 13, 2012, eq. 3, of at most 1,000 cells each."""
    from scipy.spatial.distance import cdist, pdist

    one, other = one[:_MOST_MMD], other[:_MOST_MMD]
    width = np.median(pdist(np.vstack([one, other]))) ** 2
    within = [np.exp(-(pdist(part) ** 2) / width).mean() for part in (one, other)]
    return float(sum(within) - 2 * np.exp(-cdist(one, other, "sqeuclidean") / width).mean())


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    varying = one.std(axis=0) * other.std(axis=0) > 0
    genes = np.flatnonzero(varying)[np.argsort(-one[:, varying].var(axis=0), kind="stable")[:_GENES]]
    difference = np.corrcoef(one[:, genes].T) - np.corrcoef(other[:, genes].T)
    return float(abs(difference[np.triu_indices(len(genes), 1)]).mean())
