from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans

from benchmarks import clusterers
from scrae.cluster.metrics import score

SIZES = [70, 40, 20, 30]
GRAPH = {"n_neighbors": 15}


@pytest.fixture
def blobs() -> tuple[np.ndarray, np.ndarray]:
    """Four round blobs: codes float32 [160, 3] and the blob of each row."""
    generator = np.random.default_rng(0)
    centres = np.array([[0, 0, 0], [9, 0, 0], [0, 9, 0], [0, 0, 9]])
    truth = np.repeat(np.arange(4), SIZES)
    return (centres[truth] + generator.normal(size=(160, 3))).astype(np.float32), truth


@pytest.mark.parametrize(
    ("cluster", "config"),
    [
        (clusterers.kmeans, {"n_init": 10}),
        (clusterers.gmm, {"n_init": 5}),
        (clusterers.leiden_k, GRAPH),
    ],
)
def test_blobs_are_found_at_their_number(blobs, cluster, config):
    codes, truth = blobs
    found = cluster(codes, n_clusters=4, seed=0, config=config)
    assert score(truth, found.clusters).ari == 1.0


def test_kmeans_is_that_of_scikit_learn_with_the_seed(blobs):
    codes, _ = blobs
    found = clusterers.kmeans(codes, n_clusters=7, seed=3, config={"n_init": 2})
    expected = KMeans(n_clusters=7, n_init=2, random_state=3).fit(codes).labels_
    np.testing.assert_array_equal(found.clusters, expected)


def test_leiden_has_no_upper_number_of_cells():
    generator = np.random.default_rng(0)
    truth = np.repeat([0, 1], [6000, 2500])
    codes = (truth[:, None] * 50 + generator.normal(size=(8500, 2))).astype(np.float32)
    found = clusterers.leiden(codes, n_clusters=0, seed=0, config={**GRAPH, "resolution": 0.001})
    assert score(truth, found.clusters).homogeneity == 1.0


@pytest.mark.parametrize("n_clusters", [3, 12])
def test_leiden_k_goes_below_and_above_resolution_one(blobs, n_clusters):
    codes, _ = blobs
    at_one = clusterers.leiden(codes, n_clusters=0, seed=0, config={**GRAPH, "resolution": 1.0})
    found = clusterers.leiden_k(codes, n_clusters=n_clusters, seed=0, config=GRAPH)
    assert np.unique(found.clusters).size == n_clusters
    assert (found.facts["resolution"] > 1) == (n_clusters > np.unique(at_one.clusters).size)
