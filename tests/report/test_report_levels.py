from __future__ import annotations

import base64

import numpy as np
import pandas as pd
import pytest
from helpers.fabricated import fabricate, run_record
from sklearn.metrics import adjusted_rand_score

from scrae import tl
from scrae.report._levels import level_data
from scrae.report._run import Run


@pytest.fixture
def run() -> Run:
    adata = fabricate(600, 40, 5, levels=True)
    return Run(adata=adata, record=run_record(adata))


def test_the_cuts_are_those_of_cut_tree_with_their_sizes_medians_and_labels(run):
    adata, cells = run.adata, np.arange(0, 600, 7)
    levels = level_data(run, cells, ["Gene3"])
    leaf = np.frombuffer(base64.b64decode(levels["codes"]), "<u2")
    assert len(levels["cuts"]) > 10
    labels = adata.obs["cell_type"]
    assert levels["tables"][0]["categories"] == labels.cat.categories.tolist()
    by_leaf = np.array(levels["tables"][0]["cells"])
    for k, nodes in enumerate(levels["cuts"], start=1):
        tl.cut_tree(adata, k, cluster_key="scrae_fine", key_added="cut")
        cut = adata.obs["cut"].cat.codes.to_numpy()
        place = {below: i for i, node in enumerate(nodes) for below in levels["leaves"][node]}
        shown = np.array([place[below] for below in leaf])
        if k == 5:
            cut = adata.obs["scrae"].cat.codes.to_numpy()
        np.testing.assert_array_equal(shown, cut[cells])
        assert [levels["size"][node] for node in nodes] == np.bincount(cut).tolist()
        medians = adata.obs["scrae_n_counts"].groupby(cut).median()
        assert [levels["counts"][node] for node in nodes] == [f"{round(m):,}" for m in medians]
        table = [by_leaf[levels["leaves"][node]].sum(axis=0) for node in nodes]
        np.testing.assert_array_equal(table, pd.crosstab(cut, labels).to_numpy())


def test_clusters_keep_their_colors_until_they_are_joined(run):
    levels = level_data(run, np.arange(5), [])
    own = levels["cuts"][4]
    assert [levels["color"][node] for node in own] == run.adata.uns["scrae_colors"]
    for nodes in levels["cuts"]:
        colors = [levels["color"][node] for node in nodes]
        assert len(set(colors)) == len(colors)
    joined = levels["cuts"][3]
    assert sum(levels["color"][node] in run.adata.uns["scrae_colors"] for node in joined) == 4


def test_the_run_may_be_a_cut_itself(run):
    adata = run.adata
    tl.cut_tree(adata, 8, cluster_key="scrae_fine", key_added="scrae")
    adata.obs["scrae"] = adata.obs["scrae"].cat.rename_categories(lambda name: f"c{name}")
    levels = level_data(run, np.arange(600), [])
    assert levels["run"] == 8
    assert levels["names"][0] == "c0"
    leaf = np.frombuffer(base64.b64decode(levels["codes"]), "<u2")
    place = {below: i for i, node in enumerate(levels["cuts"][7]) for below in levels["leaves"][node]}
    assert adjusted_rand_score([place[below] for below in leaf], adata.obs["scrae"]) == 1


def test_other_clusters_have_no_slider(run):
    other = Run(adata=fabricate(600, 40, 5), record=run.record)
    assert level_data(other, np.arange(5), []) is None
    changed = run.adata.obs["scrae"].to_numpy().copy()
    changed[:40] = "4"
    run.adata.obs["scrae"] = pd.Categorical(changed)
    assert level_data(run, np.arange(5), []) is None
