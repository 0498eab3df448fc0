from __future__ import annotations

import json
from dataclasses import replace

import anndata as ad
import h5py
import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from benchmarks import embeddings, methods, quality, records
from benchmarks.quality import Settings, run_quality
from benchmarks.run import Task, run
from scrae.cluster.metrics import score
from scrae.errors import ScraeError

CALLS: list[tuple[int, int]] = []


def embed(counts, *, n_clusters, seed, config, device):
    """Ten genes of each type summed, plus noise by the seed; remembers each call as (cells, seed)."""
    CALLS.append((counts.n_obs, seed))
    sums = np.stack([np.asarray(counts.X[:, k : k + 10].sum(axis=1)).ravel() for k in (0, 10, 20)], axis=1)
    codes = sums + config["noise"] * np.random.default_rng(seed).normal(size=sums.shape)
    return embeddings.Embedding(codes.astype(np.float32), {"n_genes_used": 30})


@pytest.fixture
def settings(sets, tmp_path, monkeypatch):
    """Runs in this process, with the embedding above under the name `sums`."""
    CALLS.clear()
    known = methods.EmbeddingMethod(embed=embed, defaults={"noise": 60.0}, code=lambda: "1")
    monkeypatch.setitem(methods.EMBEDDINGS, "sums", known)
    monkeypatch.setattr(quality, "run_apart", run)
    return Settings(
        data=sets,
        sets=None,
        methods=["sums", "sums:gmm"],
        seeds=2,
        protocol="label-free",
        output=tmp_path / "records.jsonl",
        device="cpu",
        threads=1,
        busy=False,
        cache=tmp_path / "cache",
        rerun=False,
    )


def test_one_record_a_run_seeds_outermost_and_small_sets_first(settings):
    made = list(run_quality(settings))
    assert [(r["seed"], r["data"]["name"], r["method"]) for r in made] == [
        (seed, name, method)
        for seed in (0, 1)
        for name in ("small", "large")
        for method in ("sums", "sums:gmm")
    ]
    assert records.read(settings.output) == made
    # Codes are made once for each set and seed, then taken from the cache.
    assert CALLS == [(60, 0), (90, 0), (60, 1), (90, 1)]
    assert [r["embedding_cached"] for r in made] == [False, True] * 4
    assert made[0]["seconds"]["embedding"] == made[1]["seconds"]["embedding"]


def test_a_record_holds_what_its_numbers_rest_on(settings, sets):
    record = next(run_quality(settings))
    whole = ad.read_h5ad(sets / "small.h5ad")
    codes = embed(whole, n_clusters=3, seed=0, config={"noise": 60.0}, device="cpu").codes
    clusters = KMeans(n_clusters=3, n_init=10, random_state=0).fit(codes).labels_
    expected = score(whole.obs["cell_type"], clusters)
    assert 0.1 < record["scores"]["nmi"] < 0.9
    for name, value in record["scores"].items():
        assert value == pytest.approx(getattr(expected, name), abs=1e-5)
    assert record["config"] == {
        "embedding": {"method": "sums", "noise": 60.0},
        "clusterer": {"method": "kmeans", "n_init": 10},
    }
    assert record["data"].keys() == {"name", "sha256", "n_cells", "n_genes", "n_types"}
    assert record["facts"] == {"n_genes_used": 30}
    assert (record["n_clusters"], record["n_latent"], record["seed"]) == (3, 3, 0)
    assert -1 < record["silhouette"] < 1
    assert record["peak_memory_mb"] > 50
    assert record["machine"]["threads"] == 1
    assert record["versions"].keys() >= {"python", "scrae", "numpy", "scikit-learn", "torch"}
    json.dumps(record, allow_nan=False)


def test_what_has_a_record_is_not_run_again_but_what_differs_is(settings):
    list(run_quality(settings))
    assert list(run_quality(settings)) == []
    other_config = replace(settings, methods=["sums+noise=0", "sums"], seeds=1)
    assert [r["method"] for r in run_quality(other_config)] == ["sums+noise=0"] * 2
    again = replace(settings, methods=["sums"], seeds=1, rerun=True)
    assert len(list(run_quality(again))) == 2
    assert len(records.read(settings.output)) == 8 + 2 + 2


def test_codes_of_other_code_are_not_taken_from_the_cache(settings, monkeypatch):
    list(run_quality(replace(settings, seeds=1)))
    newer = methods.EmbeddingMethod(embed=embed, defaults={"noise": 60.0}, code=lambda: "2")
    monkeypatch.setitem(methods.EMBEDDINGS, "sums", newer)
    (first, *_) = run_quality(replace(settings, seeds=1, rerun=True))
    assert not first["embedding_cached"]


def test_seeds_are_compared_with_the_seeds_before(settings, sets):
    made = list(run_quality(replace(settings, methods=["sums"], sets=["small"], seeds=3)))
    assert [sorted(r["seed_agreement"]) for r in made] == [[], ["0"], ["0", "1"]]
    counts = ad.read_h5ad(sets / "small.h5ad")
    clusters = [
        KMeans(n_clusters=3, n_init=10, random_state=seed)
        .fit(embed(counts, n_clusters=3, seed=seed, config={"noise": 60.0}, device="cpu").codes)
        .labels_
        for seed in range(3)
    ]
    agreement = made[2]["seed_agreement"]
    assert agreement["0"] == pytest.approx(adjusted_rand_score(clusters[0], clusters[2]), abs=1e-5)
    assert agreement["1"] == pytest.approx(adjusted_rand_score(clusters[1], clusters[2]), abs=1e-5)


def test_cells_without_a_label_are_clustered_but_not_scored(settings, sets):
    path = sets / "small.h5ad"
    (before,) = run_quality(replace(settings, methods=["sums"], sets=["small"], seeds=1))
    whole = ad.read_h5ad(path)
    whole.obs["cell_type"] = whole.obs["cell_type"].where(np.arange(60) % 2 == 0)
    whole.write_h5ad(path)
    (after,) = run_quality(replace(settings, methods=["sums"], sets=["small"], seeds=1))
    assert CALLS == [(60, 0), (60, 0)]  # another checksum, so other data
    assert after["scores"] != before["scores"]
    assert after["silhouette"] == before["silhouette"]


def test_a_run_needs_no_labels_at_all(settings, sets, tmp_path):
    path = sets / "small.h5ad"
    with h5py.File(path, "r+") as file:
        del file["obs"]
    outcome = run(
        Task(
            path=path,
            sha256="any",
            method="sums",
            protocol="label-free",
            n_clusters=3,
            seed=0,
            device="cpu",
            threads=1,
            busy=True,
            cache=tmp_path / "other",
        )
    )
    assert outcome.clusters.shape == (1, 60)
    assert outcome.clusters.max() == 2
    assert outcome.clustering.busy


def test_a_failure_is_told_and_the_rest_goes_on(settings, monkeypatch):
    def fail_on_small(counts, *, n_clusters, seed, config, device):
        if counts.n_obs == 60:
            raise RuntimeError("no loess for this set")
        return embed(counts, n_clusters=n_clusters, seed=seed, config=config, device=device)

    failing = methods.EmbeddingMethod(embed=fail_on_small, defaults={"noise": 1.0}, code=lambda: "1")
    monkeypatch.setitem(methods.EMBEDDINGS, "sums", failing)
    (failed, error), record = run_quality(replace(settings, methods=["sums"], seeds=1))
    assert (failed, str(error)) == ("small sums seed 0", "no loess for this set")
    assert record["data"]["name"] == "large"
    assert len(records.read(settings.output)) == 1


def test_codes_that_are_not_finite_are_a_failure(settings, monkeypatch):
    def broken(counts, *, n_clusters, seed, config, device):
        return embeddings.Embedding(np.full((counts.n_obs, 2), np.nan, np.float32), {})

    monkeypatch.setitem(
        methods.EMBEDDINGS, "sums", methods.EmbeddingMethod(embed=broken, defaults={}, code=lambda: "1")
    )
    ((_, error),) = run_quality(replace(settings, methods=["sums"], sets=["small"], seeds=1))
    assert str(error) == "sums: expected finite codes for 60 cells"


def test_a_real_run_has_a_process_of_its_own(sets, tmp_path, settings, monkeypatch):
    monkeypatch.undo()
    real = replace(settings, methods=["pca15+n_components=3"], sets=["small"], seeds=1)
    (record,) = run_quality(real)
    assert record["scores"]["nmi"] > 0.9
    assert record["n_latent"] == 3


def test_lines_that_are_no_records_are_named(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text('{"format": 1}\nbroken\n')
    with pytest.raises(
        ScraeError, match=r"one JSON object a line in .*records.jsonl, line 2 is none; remove it"
    ):
        records.read(path)
    path.write_text('{"format": 0}\n')
    with pytest.raises(ScraeError, match=r"records of format 1 in .*, line 1 has 0; make them anew"):
        records.read(path)
    assert records.read(tmp_path / "none.jsonl") == []


def test_the_paper_protocol_takes_the_best_epoch_of_each_score_on_unseen_cells(settings, sets, monkeypatch):
    truth = ad.read_h5ad(sets / "large.h5ad").obs["cell_type"].to_numpy()
    test_cells = np.arange(0, 90, 3)

    def each_epoch(counts, *, n_clusters, seed, config, device):
        """Codes that split the types well, then at random, then into one type and the rest."""
        kind = np.searchsorted(["alpha", "beta", "gamma"], truth[test_cells]).astype(np.float32)
        noise = np.random.default_rng(seed).normal(size=(30, 1)).astype(np.float32)
        merged = np.minimum(kind, 1) + np.tile([0.0, 0.1], 15)
        codes = [100 * kind[:, None] + noise, noise, merged[:, None].astype(np.float32)]
        return embeddings.EpochCodes(test_cells, codes, {"epochs": 3})

    watched = methods.EmbeddingMethod(embed=embed, defaults={}, code=lambda: "1", each_epoch=each_epoch)
    monkeypatch.setitem(methods.EMBEDDINGS, "sums", watched)
    paper = replace(settings, protocol="paper", methods=["sums"], sets=["large"], seeds=1)
    (record,) = run_quality(paper)
    assert record["protocol"] == "paper"
    assert set(record["scores"].values()) == {1.0}
    assert record["silhouette"] is None
    assert record["seed_agreement"] == {}
    assert record["facts"] == {"epochs": 3}
    assert CALLS == []


def test_the_paper_protocol_is_refused_by_methods_that_have_no_epochs(settings):
    with pytest.raises(
        ScraeError, match=r"protocol paper: expected a method .* after every epoch, found sums; leave"
    ):
        list(run_quality(replace(settings, protocol="paper")))
