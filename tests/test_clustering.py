from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, silhouette_score

from scrae.clustering import choose_n_clusters, gmm, kmeans
from scrae.errors import ScraeError

SIZES = [15, 60, 30, 45]
TYPES = np.repeat(np.arange(4), SIZES)


def codes(spread: float = 0.3, seed: int = 0) -> np.ndarray:
    """Four round groups at the corners of a square of side 5, as float32 [cells, 2]."""
    rng = np.random.default_rng(seed)
    corners = np.array([[0, 0], [5, 0], [0, 5], [5, 5]])
    return (corners[TYPES] + spread * rng.standard_normal((len(TYPES), 2))).astype(np.float32)


def test_clusters_are_the_groups_named_by_size():
    labels = kmeans(codes(), 4, seed=0)
    assert labels.dtype == np.int64
    # The largest group is type 1, then 3, 2 and 0.
    np.testing.assert_array_equal(labels, np.array([3, 0, 2, 1])[TYPES])


@pytest.mark.parametrize("n_clusters", [1, 3, 7])
def test_sizes_fall_whatever_the_number(n_clusters: int):
    sizes = np.bincount(kmeans(codes(spread=2.0), n_clusters, seed=3))
    assert len(sizes) == n_clusters
    assert (np.diff(sizes) <= 0).all()
    assert sizes.sum() == len(TYPES)


def test_labels_are_a_fixed_point_of_lloyd_s_algorithm():
    z = codes(spread=1.5)
    labels = kmeans(z, 4, seed=1)
    centres = np.array([z[labels == k].mean(axis=0) for k in range(4)])
    nearest = ((z[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest != labels).mean() < 0.01


@pytest.mark.usefixtures("global_randomness_untouched")
def test_a_mixture_tells_a_tight_group_inside_a_wide_one():
    rng = np.random.default_rng(2)
    kind = np.repeat([0, 1], [200, 100])
    z = np.where(kind == 0, 5.0, 0.3)[:, None] * rng.standard_normal((300, 2)) + 3 * kind[:, None]
    assert adjusted_rand_score(gmm(z, 2, seed=0), kind) > 0.85
    assert adjusted_rand_score(kmeans(z, 2, seed=0), kind) < 0.6
    np.testing.assert_array_equal(gmm(z / 1e4, 2, seed=0), gmm(z, 2, seed=0))  # whatever the unit


def test_components_without_a_cell_are_no_clusters():
    few = np.repeat(codes()[:3], [10, 1, 1], axis=0)
    labels = gmm(few, 3, seed=0)
    assert set(labels.tolist()) == set(range(labels.max() + 1))
    with pytest.raises(ScraeError) as error:
        gmm(few, 4, seed=0)
    assert str(error.value) == "gmm: expected at most as many clusters as distinct codes (3), found 4"


@pytest.mark.usefixtures("global_randomness_untouched")
def test_the_seed_decides():
    z = np.random.default_rng(1).standard_normal((300, 2)).astype(np.float32)  # no groups: many local optima
    first, again = kmeans(z, 9, seed=4, n_init=1), kmeans(z, 9, seed=4, n_init=1)
    np.testing.assert_array_equal(first, again)
    others = [kmeans(z, 9, seed=seed, n_init=1) for seed in range(5, 9)]
    assert min(adjusted_rand_score(first, other) for other in others) < 1


def test_more_clusters_than_cells_or_codes():
    with pytest.raises(ScraeError) as error:
        kmeans(codes()[:3], 4, seed=0)
    assert str(error.value) == "kmeans: expected at most as many clusters as cells (3), found 4"
    with pytest.raises(ScraeError) as error:
        kmeans(np.repeat(codes()[:2], 5, axis=0), 3, seed=0)
    assert str(error.value) == "kmeans: expected at most as many clusters as distinct codes (2), found 3"


@pytest.mark.usefixtures("global_randomness_untouched")
def test_the_number_of_clusters_is_where_the_silhouette_peaks():
    z = codes()
    found = choose_n_clusters(z, seed=0, candidates=[2, 3, 4, 5, 8])
    assert found.n_clusters == 4
    assert found.criterion == "mean silhouette"
    assert found.candidates.tolist() == [2, 3, 4, 5, 8]
    assert found.values.argmax() == 2
    assert found.values[2] == pytest.approx(silhouette_score(z, TYPES), rel=1e-6)
    np.testing.assert_array_equal(
        choose_n_clusters(z, seed=0, candidates=[2, 3, 4, 5, 8]).values, found.values
    )


def test_candidates_that_cannot_be_are_left_out():
    found = choose_n_clusters(codes()[[0, 20, 21, 80, 110]], seed=0, candidates=range(1, 26))
    assert found.candidates.tolist() == [2, 3, 4]
    assert found.n_clusters == found.candidates[found.values.argmax()]


def test_no_candidate():
    with pytest.raises(ScraeError) as error:
        choose_n_clusters(np.repeat(codes()[:2], 50, axis=0), seed=0, candidates=range(2, 5))
    assert str(error.value) == (
        "choose_n_clusters: expected a candidate of at least 2 and below the 2 distinct codes, found none; "
        "give the number of clusters"
    )
