from __future__ import annotations

import numpy as np
import torch
from helpers.small_fits import DATA, model_config
from scipy import stats

from scrae.core.density import fit_density
from scrae.core.model import SCRAE
from scrae.core.novelty import deviance


def test_the_deviance_is_that_of_the_likelihoods():
    model = SCRAE.for_data(DATA, model_config())
    density = fit_density(model, DATA, seed=0)
    genes = np.arange(DATA.n_genes) % 3 > 0
    found = deviance(model, density, DATA, genes)
    cells = DATA.minibatch(torch.arange(len(DATA)))
    counts = cells.dense(cells.nonzeros.value).numpy()
    z = torch.from_numpy(model.encode(DATA))
    with torch.no_grad():
        share = torch.softmax(model.decoder(z)[0].double(), dim=1).numpy()
    mean, theta = (counts.sum(axis=1, keepdims=True) * share)[:, genes], density.theta[genes]
    counts = counts[:, genes]

    def log_likelihood(mu: np.ndarray) -> np.ndarray:
        return stats.nbinom.logpmf(counts, theta, theta / (theta + np.maximum(mu, 1e-300)))

    expected = 2 * (log_likelihood(counts) - log_likelihood(mean)).mean(axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
