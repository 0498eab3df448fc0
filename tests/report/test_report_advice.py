from __future__ import annotations

import numpy as np
import pandas as pd
from helpers.fabricated import N_EPOCHS

from scrae.report._advice import advice


def clusters(run, sizes: list[int]) -> np.ndarray:
    codes = np.repeat(np.arange(len(sizes)), sizes)
    assert len(codes) == run.adata.n_obs
    run.adata.obs["scrae"] = pd.Categorical(codes.astype(str), [str(i) for i in range(len(sizes))])
    run.record["n_clusters"] = len(sizes)
    return codes


def test_a_good_run_needs_no_advice(run):
    clusters(run, [200, 100, 100])
    assert advice(run) == []


def test_many_lost_cells(run):
    run.record["input"]["n_cells"] = 1000
    clusters(run, [200, 200])
    assert advice(run) == [
        "The filters removed 600 of 1,000 cells (60 %). Check the thresholds under “Quality control”."
    ]


def test_training_that_was_cut_off(run):
    clusters(run, [200, 200])
    run.adata.uns["scrae"]["train"]["best_epoch"] = N_EPOCHS
    assert advice(run) == []  # the limit is not known
    run.record["config"]["train"] |= {"max_epochs": N_EPOCHS, "schedule": "constant"}
    assert advice(run) == [
        "Training ended at its limit of 24 epochs while the held-out loss was still falling. "
        "More epochs may give a better model."
    ]


def test_a_non_finite_loss(run):
    clusters(run, [200, 200])
    run.adata.uns["scrae"]["history"]["critic"][-1] = np.nan
    assert advice(run) == ["The loss “critic” became non-finite during training; do not use this result."]


def test_collapsed_codes(run):
    clusters(run, [200, 200])
    codes = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)
    run.adata.obsm["X_scrae"] = codes
    assert advice(run) == []
    codes[:, 1] = 0.7
    assert advice(run) == ["1 of 3 latent dimensions are constant over all cells and carry no information."]
    codes[:] = codes[0]
    assert advice(run) == [
        "All cells have the same latent representation: training failed. Do not use this result."
    ]


def test_collapsed_clusters(run):
    del run.record["n_clusters"]
    run.adata.obs["scrae"] = pd.Categorical(["0"] * 400, ["0", "1", "2"])
    assert advice(run) == [
        "2 of 3 clusters hold no cells.",
        "All cells are in one cluster: they may be of one type, or the latent space collapsed.",
    ]
    run.adata.obs["scrae"] = pd.Categorical(["0"] * 400)
    run.record["config"]["cluster"] = {"n_clusters": 1}
    assert advice(run) == []  # it was asked for


def test_small_clusters(run):
    clusters(run, [200, 183, 9, 8])
    assert advice(run) == ["Clusters 2 and 3 have fewer than 10 cells: interpret with caution."]
    clusters(run, [391, 9])
    assert advice(run) == ["Cluster 1 has fewer than 10 cells: interpret with caution."]
    clusters(run, [360, *[5] * 8])
    assert advice(run) == [
        "8 clusters (1, 2, 3, 4 and 4 more) have fewer than 10 cells: interpret with caution."
    ]


def test_poor_cells(run):
    codes = clusters(run, [200, 100, 100])
    run.adata.uns["scrae"]["filter"]["max_mito"] = 0.5
    run.adata.obs["scrae_mito"] = np.where(codes == 2, 0.3, 0.01)
    run.adata.obs["scrae_n_counts"] = np.where(codes == 1, 99.0, 400.0)
    assert advice(run) == [
        "Cluster 2 has more than 20 % mitochondrial counts in the median cell: possibly damaged cells.",
        "Cluster 1 has less than a quarter of the median counts per cell: possibly debris or empty droplets.",
    ]


def test_a_cluster_of_one_sample(run):
    codes = clusters(run, [200, 100, 100])
    run.adata.obs["sample"] = pd.Categorical(np.where(codes == 1, "b", "a"))
    assert advice(run) == [
        "Batches: in 1 of 3 clusters (1), most cells have the same “sample”. If it is technical (sample, donor, day), "
        "correct for it: `scrae run INPUT -o OUT_batch --batch-key sample`. If it describes the cells (type, tissue, "
        "stage), the difference is biological."
    ]
    run.adata.obs["donor"] = run.adata.obs.pop("sample")
    run.record["batch_key"] = "donor"
    assert advice(run) == [
        "Batches: in 1 of 3 clusters (1), most cells have the same “donor” after the correction for it: some batch "
        "effect is left, or these cells are only in some batches."
    ]


def test_clusters_that_were_changed_after_the_run(run):
    clusters(run, [200, 100, 100])
    run.record["n_clusters"] = 4
    (sentence,) = advice(run)
    assert sentence.startswith("The clusters in result.h5ad are not those of the run, which had 4")
    assert sentence.endswith("`scrae recluster OUT`.")


def test_cells_with_many_mitochondrial_counts(run):
    clusters(run, [200, 200])
    run.adata.obs["scrae_mito"] = np.where(np.arange(400) < 12, 0.5, 0.1)
    (sentence,) = advice(run)
    assert sentence.startswith(
        "12 of 400 cells have more than 20 % mitochondrial counts, and no limit was set."
    )
    assert "--max-mito 0.2" in sentence
    run.adata.uns["scrae"]["filter"]["max_mito"] = 0.6
    assert advice(run) == []


def test_labels_that_differ(run):
    clusters(run, [200, 200])
    run.adata.uns["scrae"]["scores"]["ari"] = 0.42
    (sentence,) = advice(run)
    assert sentence.startswith("The clusters and the labels differ (ARI 0.42)")
    assert sentence.endswith("`scrae recluster OUT -k 5`.")


def test_warnings_of_the_run_come_last(run):
    clusters(run, [391, 9])
    run.adata.uns["scrae"]["warnings"] = np.array(["The matrix was transposed."], dtype=object)
    assert advice(run)[1:] == ["The matrix was transposed."]


def test_clusters_that_look_like_doublets(run):
    clusters(run, [200, 100, 100])
    row = {"cluster": "2", "first": "0", "second": "1", "called": 0.6, "together": 0.94, "apart": 0.05}
    table = pd.DataFrame(
        [row | {"genes": "LST1 NKG7", "doublets": True}, row | {"genes": "A B", "doublets": False}]
    )
    run.adata.uns["scrae"]["doublets"] = table
    assert advice(run) == [
        "Cluster 2 looks like doublets of clusters 0 and 1: 94 % of its cells express markers of both (LST1, "
        "NKG7, ...), against 5 % of the cells of these; 60 % are called doublets. "
        "To leave out such cells: `scrae run INPUT -o OUT_singlets --drop-doublets`."
    ]
