from __future__ import annotations

import numpy as np
import pytest

from scrae.report._advice import advice
from scrae.report._build import render
from scrae.report._stability import cluster_stability, stability_view

AGREEMENT = {
    "seeds": np.array([0, 1, 2]),
    "ari": np.array([[1, 0.8, 0.6], [0.8, 1, 0.7], [0.6, 0.7, 1]]),
    "jaccard": np.array([0.9, 0.9, 0.59, 0.75, 0.6]),
    "n_clusters": np.array([5, 6, 5]),
}


def test_the_lower_of_subsamples_and_models_counts(run):
    assert list(cluster_stability(run).values()) == pytest.approx([0.99, 0.9425, 0.895, 0.8475, 0.8])
    run.adata.uns["scrae"]["agreement"] = AGREEMENT
    assert list(cluster_stability(run).values()) == pytest.approx([0.9, 0.9, 0.59, 0.75, 0.6])
    view = stability_view(run)
    assert [row["verdict"] for row in view["rows"]] == [
        "stable",
        "stable",
        "unstable",
        "stable",
        "doubtful",
    ]
    assert (view["n_stable"], view["n_clusters"]) == (3, 5)
    assert (
        view["subsamples"]["mean"],
        view["subsamples"]["low"],
        view["subsamples"]["high"],
    ) == pytest.approx((0.95, 0.9, 1.0))
    assert (view["models"]["mean"], view["models"]["low"], view["models"]["high"]) == pytest.approx(
        (0.7, 0.6, 0.8)
    )


def test_unstable_clusters_are_among_the_warnings(run):
    run.adata.uns["scrae"]["agreement"] = AGREEMENT
    assert (
        "Cluster 2 has an unstable border: reclustering assigns some cells to other clusters. "
        "See “Cluster stability”."
    ) in advice(run)


def test_the_section_of_the_page(run):
    page = render(run)
    assert (
        "5 of 5 clusters are stable: they are recovered when random subsamples of 80&nbsp;% of the cells"
        in page
    )
    assert "--check-seeds 2" in page
    run.adata.uns["scrae"]["agreement"] = AGREEMENT
    page = render(run)
    assert "3 of 5 clusters are stable" in page
    assert "<td>unstable</td>" in page.replace(' class="warn"', "")
    assert "ARI between 3 trained models, mean of all pairs, 0.600 to 0.800" in page
    assert "the number of clusters chosen for each" in page
    assert "--check-seeds 2" not in page


def test_no_section_without_results_for_these_clusters(run):
    run.adata.uns["scrae"]["stability"]["jaccard"] = np.ones(3)  # of other clusters than these
    assert stability_view(run) is None
    del run.adata.uns["scrae"]["stability"]
    assert stability_view(run) is None
    assert 'id="stability"' not in render(run)


def test_nan_counts_as_zero(run):
    run.adata.uns["scrae"]["stability"] |= {"ari": np.array([np.nan]), "jaccard": np.full(5, np.nan)}
    view = stability_view(run)
    assert view["subsamples"]["mean"] == 0
    assert {row["verdict"] for row in view["rows"]} == {"unstable"}


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ([5, 5, 6], "3 runs of Leiden give 5, 5 and 6."),
        ([4, 5, 5], "The choice is approximate: 3 runs of Leiden give 4, 5 and 5."),
        ([5, 9, 5], "The choice is uncertain: 3 runs of Leiden give 5, 9 and 5."),
    ],
)
def test_confidence_in_the_number_of_clusters(run, runs, words):
    run.adata.uns["scrae"]["clusters"]["runs"] = np.array(runs)
    assert words in render(run)
    warning = (
        "The number of clusters is uncertain: runs of Leiden give 5 to 9. See “Number of clusters”, or set it: "
        "`scrae recluster OUT -k N`."
    )
    assert (warning in advice(run)) == (max(runs) == 9)
