"""Batch effects that linear models within soft clusters remove."""

from __future__ import annotations

import numpy as np
import pytest

from scrae.core import alignment
from scrae.core.alignment import align_batches, fit_alignment

TYPES = np.array([[30.0, 0, 0, 0], [0, 30, 0, 0], [0, 0, 30, 0]])


def shifted(*, seed: int = 0, n: int = 240) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three types in two batches; the second is shifted, differently for each type."""
    rng = np.random.default_rng(seed)
    kind, batch = np.arange(n) % 3, np.arange(n) // 3 % 2
    points = TYPES[kind] + rng.normal(size=(n, 4))
    return points + batch[:, None] * np.array([[0, 0, 9, 9], [9, 0, 0, 9], [0, 9, 0, 9]])[kind], batch, kind


def test_an_effect_of_a_batch_that_depends_on_the_type_is_removed():
    points, batch, kind = shifted()
    found = align_batches(points, batch, seed=0)
    for one in range(3):
        means = [found[(kind == one) & (batch == code)].mean(axis=0) for code in range(2)]
        assert np.linalg.norm(means[0] - means[1]) < 2.5
        before = [points[(kind == one) & (batch == code)].mean(axis=0) for code in range(2)]
        assert np.linalg.norm(before[0] - before[1]) > 12
        np.testing.assert_allclose(sum(means) / 2, sum(before) / 2, atol=1.5)


def test_a_type_of_one_batch_stays_apart():
    points, batch, kind = shifted()
    kept = (kind != 2) | (batch == 0)
    points, batch, kind = points[kept], batch[kept], kind[kept]
    found = align_batches(points, batch, seed=0)
    own = found[kind == 2]
    others = np.stack([found[kind == one].mean(axis=0) for one in range(2)])
    nearest = np.linalg.norm(own[:, None] - others, axis=2).min()
    assert nearest > 25  # 42 before
    np.testing.assert_allclose(own.mean(axis=0), points[kind == 2].mean(axis=0), atol=4)


def test_random_batches_hardly_move():
    points, _, _ = shifted()
    batch = np.random.default_rng(1).integers(0, 2, len(points))
    moved = np.linalg.norm(align_batches(points, batch, seed=0) - points, axis=1)
    assert np.mean(moved) < 3  # the spread within a type is 2, the shift of the other tests 13


def test_a_fixed_batch_stays_and_the_others_move_to_it():
    points, batch, kind = shifted()
    found = align_batches(points, batch, seed=0, fixed=0)
    np.testing.assert_allclose(found[batch == 0], points[batch == 0], rtol=1e-5, atol=1e-5)
    for one in range(3):
        means = [found[(kind == one) & (batch == code)].mean(axis=0) for code in range(2)]
        assert np.linalg.norm(means[0] - means[1]) < 2.5


def test_the_effects_solve_the_normal_equations_of_the_ridge_regression():
    rng = np.random.default_rng(2)
    points, batch = rng.normal(size=(50, 3)), rng.integers(0, 3, 50)
    one_hot, assigned = np.eye(3)[batch], rng.dirichlet(np.ones(4), 50)
    found = alignment._effects(points, assigned, one_hot)
    for cluster in range(4):
        weight = assigned[:, cluster]
        penalty = np.diag([0, *(0.2 * one_hot.mean(axis=0) * weight.sum())])
        design = np.column_stack([np.ones(50), one_hot])
        normal = design.T @ (weight[:, None] * design) + penalty
        expected = np.linalg.solve(normal, design.T @ (weight[:, None] * points))[1:]
        np.testing.assert_allclose(found[cluster], expected, atol=1e-10)


def test_new_cells_are_corrected_like_those_of_the_fit(monkeypatch: pytest.MonkeyPatch):
    points, batch, _ = shifted(n=600)
    made = fit_alignment(points[:300], batch[:300], 2, seed=0)
    whole = made.apply(points, batch)
    monkeypatch.setattr(alignment, "_ROWS", 7)
    np.testing.assert_allclose(made.apply(points[250:], batch[250:]), whole[250:], rtol=1e-5, atol=1e-5)
    monkeypatch.setattr(alignment, "_FITTED", 300)
    sampled = align_batches(points, batch, seed=0)
    assert np.linalg.norm(sampled - whole, axis=1).mean() < 2


def test_the_same_seed_gives_the_same_bits():
    points, batch, _ = shifted()
    assert np.array_equal(align_batches(points, batch, seed=3), align_batches(points, batch, seed=3))


@pytest.mark.parametrize("n_cells", [1, 2, 40])
def test_few_or_equal_points(n_cells: int):
    found = align_batches(np.zeros((n_cells, 1)), np.arange(n_cells) % 2, seed=0)
    assert np.array_equal(found, np.zeros((n_cells, 1)))
