from __future__ import annotations

import numpy as np
import pytest

from scrae.report._advice import advice
from scrae.report._build import render
from scrae.report._firm import cluster_stability, firm_view

AGREEMENT = {
    "seeds": np.array([0, 1, 2]),
    "ari": np.array([[1, 0.8, 0.6], [0.8, 1, 0.7], [0.6, 0.7, 1]]),
    "jaccard": np.array([0.9, 0.9, 0.59, 0.75, 0.6]),
    "n_clusters": np.array([5, 6, 5]),
}


def test_the_lower_of_parts_and_models_counts(run):
    assert list(cluster_stability(run).values()) == pytest.approx([0.99, 0.9425, 0.895, 0.8475, 0.8])
    run.adata.uns["scrae"]["agreement"] = AGREEMENT
    assert list(cluster_stability(run).values()) == pytest.approx([0.9, 0.9, 0.59, 0.75, 0.6])
    view = firm_view(run)
    assert [row["verdict"] for row in view["rows"]] == [
        "stable",
        "stable",
        "not stable",
        "stable",
        "doubtful",
    ]
    assert (view["n_stable"], view["n_clusters"]) == (3, 5)
    assert (view["parts"]["mean"], view["parts"]["low"], view["parts"]["high"]) == pytest.approx(
        (0.95, 0.9, 1.0)
    )
    assert (view["models"]["mean"], view["models"]["low"], view["models"]["high"]) == pytest.approx(
        (0.7, 0.6, 0.8)
    )


def test_an_unstable_cluster_is_told_first(run):
    run.adata.uns["scrae"]["agreement"] = AGREEMENT
    assert (
        "Cluster 2 has no firm border: repeated work puts cells there into other clusters. "
        "See “How firm the clusters are”."
    ) in advice(run)


def test_the_page_says_it(run):
    page = render(run)
    assert "5 of 5 clusters are stable: they come out again when random 80&nbsp;% of the cells" in page
    assert "--check-seeds 2" in page
    run.adata.uns["scrae"]["agreement"] = AGREEMENT
    page = render(run)
    assert "3 of 5 clusters are stable" in page
    assert "<td>not stable</td>" in page.replace(' class="warn"', "")
    assert "ARI between 3 trained models, mean of all pairs, 0.600 to 0.800" in page
    assert "the number of clusters that each would choose" in page
    assert "--check-seeds 2" not in page


def test_nothing_where_nothing_fits(run):
    run.adata.uns["scrae"]["stability"]["jaccard"] = np.ones(3)  # of other clusters than these
    assert firm_view(run) is None
    del run.adata.uns["scrae"]["stability"]
    assert firm_view(run) is None
    assert 'id="firm"' not in render(run)


def test_a_number_that_is_none_counts_as_none(run):
    run.adata.uns["scrae"]["stability"] |= {"ari": np.array([np.nan]), "jaccard": np.full(5, np.nan)}
    view = firm_view(run)
    assert view["parts"]["mean"] == 0
    assert {row["verdict"] for row in view["rows"]} == {"not stable"}


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([5, 5, 6], "The choice is firm: 3 random parts of the cells alone would give 5, 5 and 6."),
        ([4, 5, 5], "The choice is rough: 3 random parts of the cells alone would give 4, 5 and 5."),
        ([5, 9, 5], "The choice is unsure: 3 random parts of the cells alone would give 5, 9 and 5."),
    ],
)
def test_how_sure_the_number_is(run, parts, words):
    run.adata.uns["scrae"]["clusters"]["parts"] = np.array(parts)
    assert words in render(run)
    told = "The number of clusters is unsure: parts of the cells alone would give 5 to 9. See “Number of clusters”."
    assert (told in advice(run)) == (max(parts) == 9)
