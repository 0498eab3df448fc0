"""Clusters from latent codes, and the number of clusters without labels."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans

__all__ = ["kmeans"]


def kmeans(z: np.ndarray, n_clusters: int, *, seed: int, n_init: int = 10) -> np.ndarray:
    """K-means on codes [cells, latent]; int64 labels [cells], 0 being the largest cluster."""
    labels = KMeans(n_clusters, n_init=n_init, random_state=seed).fit_predict(z)
    order = np.argsort(-np.bincount(labels, minlength=n_clusters), kind="stable")
    return np.argsort(order)[labels]
