from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.small_fits import DATA, model_config, train_config
from scipy.optimize import minimize_scalar
from scipy.stats import nbinom
from sklearn.mixture import GaussianMixture

from scrae.core.data import CountData
from scrae.core.density import fit_density
from scrae.core.fit import fit
from scrae.core.mixture import Mixture, fit_mixture
from scrae.core.model import SCRAE, evaluating


def groups(n_cells: int = 300) -> np.ndarray:
    """Three groups of unequal size, shape and unit, [cells, 3]."""
    rng, kind = np.random.default_rng(0), np.arange(n_cells) % 6
    kind = np.where(kind < 3, 0, np.where(kind < 5, 1, 2))
    z = rng.normal(size=(n_cells, 3)) @ np.array([[1.0, 0.5, 0], [0, 1, 0], [0, 0, 0.3]])
    return (z + 8 * np.eye(3)[kind]) * [1.0, 100.0, 0.01]


def test_the_mixture_is_scikit_learn_s_of_lowest_bic():
    points = groups()
    scaled = (points - points.mean(axis=0)) / points.std(axis=0)
    tried = [GaussianMixture(k, reg_covar=1e-4, random_state=5).fit(scaled) for k in (1, 2, 4, 8, 12, 16)]
    expected = min(tried, key=lambda one: one.bic(scaled))
    found = fit_mixture(points, seed=5)
    np.testing.assert_allclose(found.weights, expected.weights_)
    np.testing.assert_allclose(found.means, expected.means_ * points.std(axis=0) + points.mean(axis=0))
    covariances = found.roots @ found.roots.transpose(0, 2, 1)
    np.testing.assert_allclose(
        covariances, expected.covariances_ * np.outer(points.std(axis=0), points.std(axis=0))
    )


def test_draws_have_the_moments_of_the_mixture():
    root = np.array([[2.0, 0, 0], [1, 0.5, 0], [0.3, 0.2, 0.1]])
    mixture = Mixture(
        weights=np.array([0.3, 0.7]),
        means=np.array([[50.0, 0, 7], [-50, 0, 3]]),
        roots=np.stack([root, np.eye(3)]),
    )
    z, log_library = mixture.sample(20_000, np.random.default_rng(1))
    assert (z.shape, z.dtype, log_library.shape) == ((20_000, 2), np.float32, (20_000,))
    first = z[:, 0] > 0
    assert abs(first.mean() - 0.3) < 4 * np.sqrt(0.21 / 20_000)
    drawn = np.column_stack([z, log_library])[first]
    np.testing.assert_allclose(drawn.mean(axis=0), [50, 0, 7], atol=0.12)
    np.testing.assert_allclose(np.cov(drawn.T), root @ root.T, atol=0.2)


@pytest.mark.parametrize("n_cells", [1, 2, 7])
def test_few_points(n_cells: int):
    mixture = fit_mixture(groups()[:n_cells], seed=0)
    assert mixture.weights.tolist() == [1.0]
    z, log_library = mixture.sample(50, np.random.default_rng(0))
    assert np.isfinite(z).all()
    assert np.isfinite(log_library).all()


def trained(data: CountData = DATA, **changes: object) -> SCRAE:
    model = SCRAE.for_data(data, model_config(**changes))
    fit(model, data, train_config())
    return model


def test_dispersions_maximize_the_likelihood():
    model = trained(likelihood="nb", library="observed")
    found = fit_density(model, DATA, seed=0).theta
    cells = DATA.minibatch(torch.arange(len(DATA)))
    with evaluating(model):
        share = torch.softmax(model.decoder(model.encoder(model.encoder_input(cells)).z)[0].double(), dim=1)
    mean, counts = (share * cells.total[:, None]).numpy(), cells.dense(cells.nonzeros.value).numpy()
    for gene, theta in enumerate(found):

        def loss(log_theta: float, gene: int = gene) -> float:
            size = np.exp(log_theta)
            return -nbinom.logpmf(counts[:, gene], size, size / (size + mean[:, gene])).sum()

        expected = minimize_scalar(loss, bounds=(np.log(1e-3), np.log(1e6)), method="bounded").x
        assert loss(np.log(theta)) <= loss(expected) + 1e-3


def test_dispersions_of_negative_binomial_counts_are_found():
    """A decoder that knows the means: the same share of all genes in all cells."""
    rng, theta = np.random.default_rng(2), np.repeat([0.5, 2.0, 10.0], 100)
    mean = rng.integers(3000, 5000, size=(2000, 1)) / np.full(300, 300.0)
    data = CountData(rng.poisson(mean * rng.gamma(theta, 1 / theta, size=mean.shape)))
    model = SCRAE.for_data(data, model_config(likelihood="nb"))
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.zero_()
    found = fit_density(model, data, seed=0).theta
    for value in (0.5, 2.0, 10.0):
        assert np.median(found[theta == value]) == pytest.approx(value, rel=0.1)


def test_a_zero_inflated_model_keeps_its_dispersions():
    model = trained(likelihood="zinb")
    np.testing.assert_allclose(
        fit_density(model, DATA, seed=0).theta, model.decoder.log_theta.detach().exp().numpy(), rtol=1e-6
    )


def test_one_mixture_for_each_batch():
    counts, codes = np.random.default_rng(0).poisson(2.0, size=(90, 6)), np.arange(90) % 3
    counts[codes == 1] *= 20
    data = CountData(counts, batch_names=("a", "b", "c"), batch_codes=codes)
    mixtures = fit_density(trained(data), data, seed=0).mixtures
    assert len(mixtures) == 3
    sizes = [float(mixture.sample(500, np.random.default_rng(0))[1].mean()) for mixture in mixtures]
    assert sizes[1] - sizes[0] == pytest.approx(np.log(20), abs=0.2)
    assert sizes[2] == pytest.approx(sizes[0], abs=0.2)


def test_the_seed_decides_and_training_mode_is_kept():
    model = trained().train()
    first, again = fit_density(model, DATA, seed=1), fit_density(model, DATA, seed=1)
    np.testing.assert_array_equal(first.mixtures[0].means, again.mixtures[0].means)
    assert model.training
    assert replace(first).theta.shape == (DATA.n_genes,)


def test_held_out_cells_are_left_out():
    counts = np.random.default_rng(0).poisson(3.0, size=(60, 9))
    data, rest = CountData(counts), CountData(counts[12:])
    model = trained(data)
    found, expected = (
        fit_density(model, data, seed=1, held_out=np.arange(12)),
        fit_density(model, rest, seed=1),
    )
    np.testing.assert_allclose(found.theta, expected.theta)
    np.testing.assert_allclose(found.mixtures[0].means, expected.mixtures[0].means)
