from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import adjusted_rand_score

from scrae.cluster.partition import _bic, choose_n_clusters, gmm, kmeans
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
def test_the_number_of_clusters_is_where_bic_peaks():
    z = codes()
    found = choose_n_clusters(z, seed=0, candidates=[2, 3, 4, 5, 8])
    assert found.n_clusters == 4
    assert found.criterion == "BIC"
    assert found.candidates.tolist() == [2, 3, 4, 5, 8]
    assert found.values.argmax() == 2
    assert found.parts.tolist() == [4] * 5
    again = choose_n_clusters(z, seed=0, candidates=[2, 3, 4, 5, 8])
    np.testing.assert_array_equal(again.values, found.values)


def test_groups_of_other_shapes_are_found_on_smoothed_codes():
    """What is clustered and what is judged can differ: here the clustered points are the groups' middles."""
    rng, kind = np.random.default_rng(1), np.repeat([0, 1, 2, 3], 200)
    corners = np.array([[0, 0], [5, 0], [0, 5], [5, 5]])
    z = corners[kind] + 1.5 * rng.standard_normal((800, 2))
    middles = corners[kind] + 1e-3 * rng.standard_normal((800, 2))
    assert choose_n_clusters(z, seed=0, smoothed=middles).n_clusters == 4
    elsewhere = corners[rng.permutation(kind)] + 1e-3 * rng.standard_normal((800, 2))
    assert (
        choose_n_clusters(z, seed=0, smoothed=elsewhere).n_clusters == 2
    )  # clusters that say nothing of the codes


def test_bic_against_scipy_s_densities():
    rng = np.random.default_rng(4)
    z, labels = rng.normal(size=(90, 3)) @ rng.normal(size=(3, 3)), np.repeat([0, 1, 2], [50, 35, 5])
    z[labels == 1] += 4
    pooled = sum(np.cov(z[labels == k].T, bias=True) * (labels == k).sum() for k in range(3)) / 90
    density = np.zeros(90)
    for k in range(3):
        members = z[labels == k]
        n = len(members)
        covariance = (n * np.cov(members.T, bias=True) + 3 * pooled) / (n + 3)
        density += n / 90 * stats.multivariate_normal(members.mean(axis=0), covariance).pdf(z)
    n_parameters = 2 + 3 * 3 + 3 * 6  # weights, means, covariances
    expected = (np.log(density).sum() - n_parameters / 2 * np.log(90)) / 90
    assert _bic(z, labels) == pytest.approx(expected, rel=1e-3)  # a ridge of a ten-thousandth is in it


def test_codes_without_groups_leave_the_parts_apart_or_at_the_edge():
    z = np.random.default_rng(0).standard_normal((400, 5)).astype(np.float32)
    found = choose_n_clusters(z, seed=1)
    assert found.n_clusters == 2  # one Gaussian is best, and two are the fewest
    assert set(found.parts.tolist()) == {2}


def test_a_dimension_that_carries_nothing_does_no_harm():
    z = np.c_[codes(), np.full(len(TYPES), 7.0)]
    assert choose_n_clusters(z, seed=0).n_clusters == 4
    tiny = choose_n_clusters(1e-20 * codes(), seed=0)
    assert np.isfinite(tiny.values).all()


def test_candidates_that_cannot_be_are_left_out():
    found = choose_n_clusters(codes()[[0, 20, 21, 80, 110]], seed=0, candidates=range(1, 26))
    assert found.candidates.tolist() == [2, 3]  # a part has four cells
    assert found.n_clusters == found.candidates[found.values.argmax()]


def test_no_candidate():
    with pytest.raises(ScraeError) as error:
        choose_n_clusters(np.repeat(codes()[:2], 50, axis=0), seed=0, candidates=range(2, 5))
    assert str(error.value) == (
        "choose_n_clusters: expected a candidate of at least 2 and below the 2 distinct codes, found none; "
        "give the number of clusters"
    )
