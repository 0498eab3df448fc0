"""What the peers share, and that each finds clear clusters under both protocols."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from anndata import AnnData
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

from benchmarks.clusterers import kmeans
from benchmarks.methods import EMBEDDINGS, parse_method
from benchmarks.peers import common
from benchmarks.peers.likelihood import ZINB, zinb_nll
from scrae.core.distributions import zinb_log_prob
from scrae.errors import ScraeError

N_CELLS, N_GENES = 160, 60
TRUTH = np.repeat([0, 1, 2], [80, 50, 30])

# Smaller and fewer steps than published, else as published.
SMALL = "+n_latent=4+batch_size=40"
METHODS = {
    "scdeepcluster": "+layers=[32,16]+noise=0.5+pretrain_epochs=30+max_iterations=40",
    "sczidesk": "+layers=[32,16]+noise=0.5+pretrain_epochs=30+max_epochs=20+learning_rate=0.003",
    "saucie": "+layers=[64,32,16]+n_steps=150+min_cells=5",
    "dra": "+layers=[32]+critic_layers=[16,16]+epochs=60+learning_rate=0.003",
    "scvae": "+layers=[32]+epochs=40+learning_rate=0.01",
    "scvae-mixture": "+layers=[32]+epochs=40+learning_rate=0.02",
    "wae": "+layers=[32]+epochs=30",
}


def clear_counts(order: np.ndarray) -> AnnData:
    """Three types, 15 genes each of their own, four times as high there; depths differ by cell."""
    generator = np.random.default_rng(0)
    rates = np.full((N_CELLS, N_GENES), 1.5)
    for kind in range(3):
        rates[kind == TRUTH, kind * 15 : kind * 15 + 15] = 6.0
    rates *= generator.uniform(0.7, 1.4, size=(N_CELLS, 1))
    return AnnData(sparse.csr_matrix(generator.poisson(rates)[order].astype(np.float32)))


def method_of(name: str):
    return parse_method(f"{name}@seurat_v3{SMALL}{METHODS[name]}")


@pytest.mark.parametrize("name", METHODS)
def test_clear_clusters_are_found(name):
    order = np.random.default_rng(1).permutation(N_CELLS)
    method = method_of(name)
    found = EMBEDDINGS[name].embed(
        clear_counts(order), n_clusters=3, seed=0, config=method.embedding_config, device="cpu"
    )
    assert (found.codes.shape, found.codes.dtype) == ((N_CELLS, 4), np.float32)
    assert found.facts["n_genes_used"] == N_GENES
    clusters = kmeans(found.codes, n_clusters=3, seed=0, config={"n_init": 10}).clusters
    assert adjusted_rand_score(TRUTH[order], clusters) > 0.9
    assert (found.clusters is not None) == EMBEDDINGS[name].clusters
    if name == "saucie":  # it has no K: as many clusters as common codes
        assert found.clusters.max() > 0
    elif found.clusters is not None:
        assert adjusted_rand_score(TRUTH[order], found.clusters) > 0.9


@pytest.mark.parametrize("name", ["scdeepcluster", "dra"])
def test_unseen_cells_are_encoded_after_every_epoch_and_the_seed_decides(name):
    config = method_of(name).embedding_config | {"pretrain_epochs": 5, "epochs": 5}

    def run(seed):
        return EMBEDDINGS[name].each_epoch(
            clear_counts(np.arange(N_CELLS)), n_clusters=3, seed=seed, config=config, device="cpu"
        )

    first, again, other = run(0), run(0), run(1)
    assert first.facts == {"n_genes_used": N_GENES, "epochs": len(first.codes)}
    assert len(first.codes) >= 5
    assert {codes.shape for codes in first.codes} == {(32, 4)}
    np.testing.assert_array_equal(first.codes[-1], again.codes[-1])
    np.testing.assert_array_equal(first.cells, again.cells)
    assert set(first.cells) != set(other.cells)
    assert not np.allclose(first.codes[0], first.codes[-1])


def zinb_parameters(*, dtype, n_cells=6, by_gene=False):
    generator = torch.Generator().manual_seed(0)
    shape = (n_cells, 5)
    counts = torch.poisson(torch.full(shape, 1.5), generator=generator).to(dtype)
    counts[0] = torch.tensor([0, 0, 1, 30, 2000])
    mu, theta = (torch.exp(3 * torch.randn(shape, generator=generator, dtype=dtype)) for _ in range(2))
    logits = torch.randn(shape, generator=generator, dtype=dtype)
    parameters = ZINB(mu, theta[0] if by_gene else theta, logits)
    return counts, ZINB(*(part.detach().requires_grad_() for part in parameters))


@pytest.mark.parametrize("by_gene", [False, True])
def test_the_zinb_of_any_mean_and_dispersion_is_that_of_scrae(by_gene):
    counts, zinb = zinb_parameters(dtype=torch.float32, n_cells=200, by_gene=by_gene)
    found, expected = zinb_nll(counts, zinb), -zinb_log_prob(counts, *zinb)
    assert 0.3 < (counts > 0).float().mean() < 0.9
    torch.testing.assert_close(found, expected, rtol=2e-6, atol=2e-6)
    upstream = torch.linspace(-1, 1, found.numel()).view_as(found)
    by_ours = torch.autograd.grad(found, zinb, upstream)
    by_scrae = torch.autograd.grad(expected, zinb, upstream)
    torch.testing.assert_close(by_ours, by_scrae, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("by_gene", [False, True])
def test_the_gradient_of_the_zinb_is_that_of_differences(by_gene):
    counts, zinb = zinb_parameters(dtype=torch.float64, by_gene=by_gene)
    assert torch.autograd.gradcheck(lambda *parameters: zinb_nll(counts, ZINB(*parameters)), tuple(zinb))


def test_batches_hold_every_cell_once_and_never_one_alone():
    generator = torch.Generator().manual_seed(0)
    found = list(common.batches(9, 4, generator))
    assert [len(part) for part in found] == [4, 5]
    assert sorted(torch.cat(found).tolist()) == list(range(9))
    assert [len(part) for part in common.batches(10, 4, generator)] == [4, 4, 2]
    assert next(common.batches(9, 4, generator)).tolist() != found[0].tolist()


def test_what_encoders_read():
    counts, size_factor = torch.tensor([[0.0, 3.0], [2.0, 3.0]]), torch.tensor([0.5, 1.0])
    logs = np.log1p([[0.0, 6.0], [2.0, 3.0]])
    np.testing.assert_allclose(common.normalised_logs(counts, size_factor), logs, rtol=1e-6)
    # Two values a gene: one deviation, with n - 1, is their difference over the root of 2.
    half = np.sqrt(0.5)
    np.testing.assert_allclose(
        common.standardised(counts, size_factor), [[-half, half], [half, -half]], rtol=1e-5
    )
    np.testing.assert_allclose(
        common.unit_logs(counts, size_factor), [[0, 1], [np.log2(3) / 2, 1]], rtol=1e-6
    )


def test_distances_are_squared_and_never_negative():
    points = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    assert common.squared_distances(points, points).tolist() == [[0, 25], [25, 0]]
    same = torch.full((3, 2), 1e3 / 3)
    assert (common.squared_distances(same, same) >= 0).all()


def test_a_method_without_clusters_of_its_own_is_refused():
    with pytest.raises(ScraeError, match=r"clusters of its own \(saucie, .*sczidesk\), found 'scvae:self'"):
        parse_method("scvae:self")
    assert parse_method("scvae-mixture:self").clusterer_config == {}
