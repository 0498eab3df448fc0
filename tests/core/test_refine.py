from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.small_fits import DATA, model_config
from scipy import stats

from scrae.core.data import CountData
from scrae.core.density import fit_density
from scrae.core.mixture import Density
from scrae.core.model import SCRAE
from scrae.core.refine import refine_codes


@pytest.fixture(scope="module")
def fitted() -> tuple[SCRAE, Density]:
    model = SCRAE.for_data(DATA, model_config(likelihood="nb"))
    return model, fit_density(model, DATA, seed=0)


def objective(model: SCRAE, density: Density, data: CountData, z: np.ndarray) -> np.ndarray:
    """log p(x | z) + log p(z), by scipy."""
    cells = data.minibatch(torch.arange(len(data)))
    counts = cells.dense(cells.nonzeros.value).numpy()
    with torch.no_grad():
        share = torch.softmax(model.decoder(torch.from_numpy(z))[0].double(), dim=1).numpy()
    mean = counts.sum(axis=1, keepdims=True) * share
    likelihood = stats.nbinom.logpmf(counts, density.theta, density.theta / (density.theta + mean)).sum(
        axis=1
    )
    mixture = density.mixtures[0]
    terms = [
        np.log(weight) + stats.multivariate_normal(center[:-1], (root @ root.T)[:-1, :-1]).logpdf(z)
        for weight, center, root in zip(mixture.weights, mixture.means, mixture.roots, strict=True)
    ]
    return likelihood + np.logaddexp.reduce(terms, axis=0)


def test_refined_codes_explain_each_cell_better(fitted: tuple[SCRAE, Density]):
    model, density = fitted
    start, found = model.encode(DATA), refine_codes(model, density, DATA)
    gain = objective(model, density, DATA, found) - objective(model, density, DATA, start)
    assert (gain > -1e-3).all()
    assert (gain > 0).mean() > 0.9
    nearby = found + np.random.default_rng(0).normal(0, 0.05 * start.std(axis=0), found.shape).astype(
        np.float32
    )
    worse = objective(model, density, DATA, nearby) < objective(model, density, DATA, found)
    assert worse.mean() > 0.9  # near a maximum in nearly all directions


def test_a_cell_without_molecules_keeps_its_code(fitted: tuple[SCRAE, Density]):
    model, density = fitted
    counts = np.random.default_rng(3).poisson(2.0, size=(4, DATA.n_genes))
    counts[2] = 0
    data = CountData(counts, genes=DATA.genes)
    start, found = model.encode(data), refine_codes(model, density, data)
    np.testing.assert_array_equal(found[2], start[2])
    assert not np.array_equal(found[0], start[0])


def test_training_mode_and_weights_stay(fitted: tuple[SCRAE, Density]):
    model, density = fitted
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    refine_codes(model, density, DATA)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())
    model.eval()
