from __future__ import annotations

import numpy as np
import pytest

from benchmarks import genes, own
from benchmarks.methods import parse_method
from benchmarks.sets import read_counts
from scrae.cluster.metrics import score

SMALL = "scrae+max_epochs=4+encoder_layers=[16]+decoder_layers=[16]+gene_selection=deviance+n_top_genes=20+n_latent=3"


@pytest.fixture
def counts(sets):
    return read_counts(sets / "small.h5ad")


def test_scrae_embeds_every_cell_with_the_genes_and_epochs_of_the_config(counts):
    config = parse_method(SMALL).embedding_config
    found = own.embed(counts, n_clusters=3, seed=0, config=config, device="cpu")
    assert found.codes.shape == (60, 3)
    assert found.codes.dtype == np.float32
    assert found.facts.keys() == {"n_genes_used", "train_seconds", "epochs", "best_epoch", "stopped_because"}
    assert (found.facts["n_genes_used"], found.facts["epochs"]) == (20, 4)


def test_the_seed_is_that_of_the_run(counts):
    config = parse_method(SMALL).embedding_config
    codes = [
        own.embed(counts.copy(), n_clusters=3, seed=seed, config=config, device="cpu").codes
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(codes[0], codes[1])
    assert not np.allclose(codes[0], codes[2])


def test_codes_of_unseen_cells_after_every_epoch(counts):
    config = parse_method(SMALL).embedding_config
    found = own.embed_each_epoch(counts.copy(), n_clusters=3, seed=5, config=config, device="cpu")
    assert np.unique(found.cells).size == 12
    assert [codes.shape for codes in found.codes] == [(12, 3)] * 4
    assert not np.allclose(found.codes[0], found.codes[3])
    other = own.embed_each_epoch(counts.copy(), n_clusters=3, seed=6, config=config, device="cpu")
    assert set(other.cells) != set(found.cells)


def test_the_packages_own_clusters():
    generator = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], [30, 20, 10])
    codes = (truth[:, None] * 10 + generator.normal(size=(60, 2))).astype(np.float32)
    found = own.cluster(codes, n_clusters=3, seed=0, config=parse_method("scrae-cluster").clusterer_config)
    assert score(truth, found.clusters).ari == 1.0


def test_genes_by_one_of_scraes_selections(counts):
    before = counts.X.copy()
    chosen = genes.choose_genes(counts, "deviance", 7)
    assert (chosen.shape, chosen.sum()) == ((40,), 7)
    # The genes of no type are flat.
    assert not chosen[30:].any()
    np.testing.assert_array_equal(counts.X.toarray(), before.toarray())
    assert counts.obs.shape[1] == 0
