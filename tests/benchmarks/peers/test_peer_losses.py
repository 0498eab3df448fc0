"""Loss terms of the peers against values worked by hand."""

from __future__ import annotations

from math import exp, log, pi, sqrt

import numpy as np
import pytest
import torch

from benchmarks.peers import dra, saucie, scdeepcluster, scvae, sczidesk, wae
from benchmarks.peers.common import Cells
from benchmarks.peers.denoising import DenoisingAutoencoder


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def zero(*modules: torch.nn.Module) -> None:
    with torch.no_grad():
        for module in modules:
            for parameter in module.parameters():
                parameter.zero_()


class TestDenoising:
    def test_noise_is_added_only_with_a_generator(self):
        model = DenoisingAutoencoder(6, 2, [5], 2.0, generator())
        inputs = torch.ones(4, 6)
        clean = model.encode(inputs)
        torch.testing.assert_close(clean[0], clean[1])
        assert not torch.allclose(*model.encode(inputs, generator())[:2])

    def test_the_loss_is_a_mean_over_counts_with_a_ridge_on_the_inflation(self):
        model = DenoisingAutoencoder(2, 2, [3], 0.0, generator())
        zero(model)
        with torch.no_grad():  # softplus(log(e - 1)) = 1: a geometric distribution
            model.dispersion.bias.fill_(log(exp(1) - 1))
        cells = Cells(torch.zeros(1, 2), torch.tensor([[0.0, 2.0]]), torch.tensor([3.0]))
        # mean 1 times the size factor 3: P(0) = 1/4, P(2) = 9/64; half of the mass is inflation
        expected = -(log(1 / 2 + 1 / 8) + log(9 / 128)) / 2
        codes = model.encode(cells.inputs)
        assert model.reconstruction_loss(cells, codes, 0.0).item() == pytest.approx(expected, rel=1e-5)
        ridged = model.reconstruction_loss(cells, codes, 2.0).item()
        assert ridged == pytest.approx(expected + 2 / 4, rel=1e-5)


class TestScDeepCluster:
    def test_assignment_target_and_their_divergence(self):
        # squared distances 0 1 / 4 1, so Student's kernel is 1 1/2 / 1/5 1/2
        q = scdeepcluster.soft_assignment(column(0, 2), column(0, 1))
        np.testing.assert_allclose(q, [[2 / 3, 1 / 3], [2 / 7, 5 / 7]], rtol=1e-6)
        # cluster sizes 20/21 and 22/21
        p = scdeepcluster.target(q)
        np.testing.assert_allclose(p, [[22 / 27, 5 / 27], [22 / 147, 125 / 147]], rtol=1e-6)
        first = 22 / 27 * log(22 * 3 / (27 * 2)) + 5 / 27 * log(5 * 3 / 27)
        second = 22 / 147 * log(22 * 7 / (147 * 2)) + 125 / 147 * log(125 * 7 / (147 * 5))
        found = scdeepcluster.clustering_loss(p, q).item()
        assert found == pytest.approx((first + second) / 2, rel=1e-5)

    def test_first_centres_are_those_of_kmeans(self):
        found = scdeepcluster.first_centres(column(0, 1, 10, 11, 12), 2, 5, generator())
        assert sorted(found.flatten().tolist()) == [0.5, 11.0]


class TestScziDesk:
    def test_weights_are_inflated(self):
        # distances 0 and 1: a softmax e^0, e^-1, squared e^0, e^-2
        expected = exp(-2) / (1 + exp(-2))
        assert sczidesk.kmeans_loss(column(0), column(0, 1)).item() == pytest.approx(expected, rel=1e-5)
        both = sczidesk.kmeans_loss(column(0, 1), column(0, 1)).item()
        assert both == pytest.approx(expected, rel=1e-5)

    def test_self_training_is_the_divergence_of_squared_similarities(self):
        # kernels 1/2, 1/10, 1/5 between the cells at 0, 1, 3
        p = [[5 / 6, 1 / 6], [5 / 7, 2 / 7], [1 / 3, 2 / 3]]
        q = [[25 / 26, 1 / 26], [25 / 29, 4 / 29], [1 / 5, 4 / 5]]
        expected = sum(
            b * log(b / a) for row, other in zip(p, q, strict=True) for a, b in zip(row, other, strict=True)
        )
        codes = column(0, 1, 3).requires_grad_()
        found = sczidesk.self_training_loss(codes)
        assert found.item() == pytest.approx(expected, rel=1e-5)
        found.backward()
        assert torch.isfinite(codes.grad).all()


class TestSaucie:
    def test_information_dimension_is_the_entropy_of_the_units(self):
        even, one = torch.tensor([[1.0, 0.0], [1.0, 2.0]]), torch.tensor([[4.0, 0.0], [2.0, 0.0]])
        assert saucie.information_dimension(even).item() == pytest.approx(log(2), rel=1e-5)
        assert saucie.information_dimension(one).item() == pytest.approx(0, abs=1e-6)

    def test_only_cells_of_one_code_are_drawn_together(self):
        activity = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        # alike: the pair 0, 1 twice, and each cell with itself
        expected = (2 * sqrt(9 + 1e-3) + 3 * sqrt(1e-3)) / 9
        found = saucie.intracluster_distance(activity, column(0, 3, 7)).item()
        assert found == pytest.approx(expected, rel=1e-5)

    def test_a_cluster_is_a_code_that_enough_cells_have(self):
        activity = torch.tensor([[1, 0], [0.5, 0], [0, 1e-9], [0.2, 0.2], [0.1, 0.9], [0.7, 0.0]])
        found = saucie._clusters(activity, 1).tolist()
        assert found[0] == found[1] == found[5] != found[3] == found[4]
        assert found[2] == 0
        assert 0 not in found[:2] + found[3:]


class TestDra:
    CONFIG = dra.DEFAULTS | {"n_latent": 2, "layers": [4], "critic_layers": [3], "dropout": 0.0}

    def model(self):
        counts = torch.tensor([[0.0, 2.0], [20.0, 20.0]])
        cells = Cells(torch.rand(2, 2, generator=generator()), counts, torch.ones(2))
        return dra.DRA(cells, self.CONFIG, generator()), cells

    def test_the_distance_of_scores_is_that_of_their_shares(self):
        # shares 1/4, 3/4 and 1/2, 1/2, whatever the signs and the scale
        expected = -log(sqrt(1 / 8) + sqrt(3 / 8))
        found = dra.bhattacharyya(torch.tensor([-1.0, 3.0]), torch.tensor([5.0, 5.0])).item()
        assert found == pytest.approx(expected, rel=1e-5)
        same = torch.tensor([0.2, 7.0, -4.0])
        assert dra.bhattacharyya(same, same * 3).item() == pytest.approx(0, abs=1e-6)

    def test_critics_that_give_all_the_same_score_lose_nothing(self):
        model, cells = self.model()
        for critic in (model.latent_critic, model.data_critic):
            zero(critic.value)
            critic.value.bias.data.fill_(2.0)
        assert model.critics_loss(cells, generator()).item() == pytest.approx(0, abs=1e-6)
        assert model.matching_loss(cells, generator()).item() == pytest.approx(0, abs=1e-6)

    def test_each_side_of_the_games_moves_its_own_networks(self):
        model, cells = self.model()
        model.critics_loss(cells, generator()).backward()
        assert model.encoder.code.weight.grad is None
        assert model.data_critic.value.weight.grad.abs().sum() > 0
        assert model.latent_critic.value.weight.grad.abs().sum() > 0
        model.matching_loss(cells, generator()).backward()
        assert model.encoder.code.weight.grad.abs().sum() > 0
        assert model.expression.weight.grad.abs().sum() > 0

    def test_the_likelihood_has_a_library_term_and_no_term_of_the_codes(self):
        model, cells = self.model()
        zero(model.encoder, model.decoder)
        with torch.no_grad():  # the library is 6 for sure, but for a variance of e^-40
            model.encoder.library.bias.copy_(torch.tensor([log(6), -40.0]))
        # totals 2 and 40: log library has mean log(80)/2 and deviation log(20)/2
        mean, var = log(80) / 2, (log(20) / 2) ** 2
        library = 0.5 * (log(var) + 40 + (log(6) - mean) ** 2 / var - 1)
        # mean 3 in each gene, dispersion 1, half inflation: P(0) = 1/4, P(x) = (3/4)^x / 4
        nll = [-log(1 / 2 + 1 / 8) - log(9 / 128), -2 * (20 * log(3 / 4) - log(8))]
        found = model.likelihood_loss(cells, generator()).tolist()
        assert found == pytest.approx([value + library for value in nll], rel=1e-4)


class TestScvae:
    CONFIG = scvae.DEFAULTS | {"n_latent": 2, "layers": [4]}

    def test_the_divergence_of_gaussians(self):
        ones = torch.ones(3, 1)
        found = scvae.gaussian_kl(ones, ones * log(4), ones * 0, ones * 0)
        assert found.tolist() == pytest.approx([2 - log(2)] * 3)
        assert scvae.gaussian_kl(ones, ones * log(4), ones * 1, ones * log(4)).tolist() == [0] * 3

    def test_the_zero_inflated_poisson(self):
        counts, log_rate = torch.tensor([0.0, 3.0]), torch.full((2,), log(2))
        found = scvae.zip_nll(counts, log_rate, torch.tensor([0.0, log(3)])).tolist()
        assert found == pytest.approx([-log((1 + exp(-2)) / 2), -log(exp(-2) * 8 / 6 / 4)])

    @pytest.mark.parametrize(("likelihood", "two"), [("zinb", 1 / 8), ("zip", exp(-1) / 2)])
    def test_the_bound_of_one_gaussian_and_of_a_mixture(self, likelihood, two):
        """All parameters 0: rate and dispersion 1, half inflation, and the posterior is the prior."""
        counts = torch.tensor([[0.0, 2.0], [2.0, 2.0]])
        none = {"zinb": 1 / 2, "zip": exp(-1)}[likelihood]
        nll = [-log((1 + none) / 2) - log(two / 2), -2 * log(two / 2)]
        config = self.CONFIG | {"likelihood": likelihood}
        for n_components in (1, 3):
            model = scvae.SCVAE(2, n_components, config, generator())
            zero(model)
            assert model.bound(counts, generator()).tolist() == pytest.approx(nll, rel=1e-5)
        with torch.no_grad():  # sure of a component: KL log 3 from the uniform prior; its mean is 2 off
            model.choice.bias[0] = 60
            model.prior.weight[0, 0] = 2
        expected = [value + log(3) + 2 for value in nll]
        assert model.bound(counts, generator()).tolist() == pytest.approx(expected, rel=1e-5)


class TestWae:
    def test_the_discrepancy_of_two_small_samples(self):
        def kernel(gap):
            return sum(2 * s / (2 * s + gap) for s in (0.1, 0.2, 0.5, 1, 2, 5, 10))

        expected = kernel(1) + kernel(4) - 2 * (7 + kernel(4) + 2 * kernel(1)) / 4
        assert wae.discrepancy(column(0, 1), column(0, 2)).item() == pytest.approx(expected, rel=1e-5)

    def test_it_is_small_for_draws_of_the_prior_and_large_for_others(self):
        drawn = torch.randn(400, 2, generator=generator())
        other = torch.randn(400, 2, generator=torch.Generator().manual_seed(1))
        assert abs(wae.discrepancy(drawn, other)) < 0.02
        assert wae.discrepancy(drawn, other + pi) > 1
