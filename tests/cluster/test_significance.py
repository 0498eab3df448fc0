"""One population or two: calibration on made counts (the long test: `python -m benchmarks significance`)."""

from __future__ import annotations

import numpy as np
import pytest

from scrae.cluster.null_model import fit_null
from scrae.cluster.significance import _has_bridge, _Split, split_test
from scrae.cluster.valley import find_valleys

N_GENES = 80


def draw(log_rate: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Negative binomial counts with unequal depths."""
    mean = np.exp(log_rate + rng.normal(0, 1, N_GENES)) * rng.lognormal(0, 0.4, (len(log_rate), 1))
    return rng.poisson(mean * rng.gamma(4, 0.25, mean.shape))


def gradient(rng: np.random.Generator) -> np.ndarray:
    return np.outer(rng.uniform(-1.5, 1.5, 200), rng.normal(0, 0.5, N_GENES))


def ring(rng: np.random.Generator) -> np.ndarray:
    phase, peak = rng.uniform(0, 2 * np.pi, (200, 1)), rng.uniform(0, 2 * np.pi, N_GENES)
    return 0.7 * np.cos(phase - peak)


def nothing(rng: np.random.Generator) -> np.ndarray:
    return np.zeros((200, N_GENES))


def pair(rng: np.random.Generator) -> np.ndarray:
    return np.outer(np.arange(200) < 60, rng.normal(0, 1.5, N_GENES))


def p_of(counts: np.ndarray, seed: int, n_null: int = 19) -> float:
    return split_test(counts, counts.sum(axis=1), seed=seed, n_null=n_null).p


@pytest.mark.parametrize("structure", [nothing, gradient, ring])
def test_one_population_is_rarely_split(structure):
    p = [p_of(draw(structure(rng), rng), seed) for seed in range(20) for rng in [np.random.default_rng(seed)]]
    assert sum(value <= 0.05 for value in p) <= 3  # with a rate of .05, more have a probability of .016


@pytest.mark.usefixtures("global_randomness_untouched")
def test_two_populations_are_found_and_the_seed_decides():
    rng = np.random.default_rng(0)
    counts = draw(pair(rng), rng)
    found = split_test(counts, counts.sum(axis=1), seed=1, n_null=24)
    assert (found.p, found.n_null, found.gap, found.n_cells) == (0.04, 24, "deep", 200)
    assert found.auc > 0.95
    assert found.n_genes > 20
    assert split_test(counts, counts.sum(axis=1), seed=1, n_null=24) == found


def test_few_cells_or_genes_are_one_population():
    counts = np.random.default_rng(0).poisson(3, (29, 10))
    assert split_test(counts, counts.sum(axis=1), seed=0).p == 1
    assert split_test(np.ones((50, 1)), np.ones(50), seed=0).p == 1


@pytest.mark.parametrize("seed", range(4))
def test_cells_of_a_ring_bridge_the_gap_between_its_sides_and_those_of_two_groups_do_not(seed):
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 2 * np.pi, 400)
    noise = rng.normal(0, 0.15, (400, 3))
    groups = np.where(np.arange(400) < 200, -1, 1) + rng.normal(0, 0.35, 400)
    for along, across, bridged in (
        (np.cos(phase), np.sin(phase), True),
        (groups, rng.normal(0, 0.7, 400), False),
    ):
        x = along + noise[:, 0]
        (valley,) = find_valleys(x[None])
        split = _Split(
            valley=valley,
            deepest=valley,
            judged=x,
            sides=x > 0,
            second=noise,
            across=np.column_stack([across, noise[:, 1:], np.zeros(400)]),
        )
        assert _has_bridge(split, valley) is bridged


@pytest.mark.parametrize(("n_between", "gap", "p"), [(400, "shallow", 1.0), (24, "deep", 0.05)])
def test_a_shallow_gap_does_not_divide(n_between, gap, p):
    rng = np.random.default_rng(2)
    place = np.r_[rng.uniform(0, 1, 300), rng.uniform(1, 3, n_between), rng.uniform(3, 4, 300)]
    counts = draw(np.outer(place - 2, rng.normal(0, 0.7, N_GENES)), rng)
    found = split_test(counts, counts.sum(axis=1), seed=3, n_null=19)
    assert (found.gap, found.p) == (gap, p)
    low, high = found.density_limits
    assert low < found.density < high
    assert (found.density < 0.3) is (gap == "deep")


def test_the_null_model_has_the_moments_of_the_counts():
    rng = np.random.default_rng(5)
    n_cells = 4000
    log_rate = rng.standard_normal((n_cells, 2)) @ rng.normal(0, 0.35, (2, 12))
    depth = rng.uniform(50, 150, n_cells)
    rate = rng.uniform(0.01, 0.1, 12)
    counts = rng.poisson(depth[:, None] * rate * np.exp(log_rate))
    model = fit_null(counts, depth)
    drawn = sum(model.draw_halves(rng))
    np.testing.assert_allclose(drawn.mean(axis=0), counts.mean(axis=0), rtol=0.06)
    np.testing.assert_allclose(np.var(drawn, axis=0), np.var(counts, axis=0), rtol=0.2)
    np.testing.assert_allclose(np.corrcoef(drawn.T), np.corrcoef(counts.T), atol=0.08)


def test_the_halves_of_null_counts_are_independent_given_the_rates():
    model = fit_null(np.random.default_rng(6).poisson(3.0, (2000, 5)), np.full(2000, 15.0))
    first, second = model.draw_halves(np.random.default_rng(7))
    assert abs(np.corrcoef(first[:, 0], second[:, 0])[0, 1]) < 0.1
    assert first.mean() == pytest.approx(1.5, rel=0.05)
