from __future__ import annotations

import numpy as np
import pytest

from scrae.report import assess_clusters
from scrae.report._build import render
from scrae.report._significance import significance_view

FACTS = {
    "alpha": 0.05,
    "names": np.array(["0", "1", "2", "3", "4"], dtype=object),
    "cluster_verdict": np.array(["real", "real", "continuous", "continuous", "not supported"], dtype=object),
    "split_p": np.array([0.01, 1, 1, 0.3, np.nan]),
}


def test_each_cluster_has_a_verdict():
    words = assess_clusters(FACTS)
    assert words["0"].startswith("real: a gap separates it")
    assert words["0"].endswith("holds more than one population: divide it")
    assert words["1"] == "real: a gap separates it from its neighbors"
    assert words["2"].endswith("without a gap; K is a choice")
    assert words["4"].startswith("not supported")


@pytest.mark.parametrize(
    ("verdicts", "summary"),
    [
        (None, "2 of 5 clusters are separated by a gap; 2 continuous and 1 not supported."),
        (["real"] * 5, "5 of 5 clusters are separated by a gap."),
        (["continuous"] * 4 + ["not supported"], "Continuous: K is a choice."),
        (["not supported"] * 5, "The test finds one population: no cluster is supported."),
    ],
)
def test_the_summary(run, verdicts, summary):
    run.adata.uns["scrae"]["significance"] = FACTS | (
        {} if verdicts is None else {"cluster_verdict": np.array(verdicts, dtype=object)}
    )
    view = significance_view(run)
    assert view["summary"].startswith(summary)
    assert view["n_split"] == 1


def test_the_section_of_the_page(run):
    run.adata.uns["scrae"]["significance"] = FACTS
    page = render(run)
    assert "2 of 5 clusters are separated by a gap; 2 continuous and 1 not supported." in page
    assert "1 of them holds more than one population" in page
    assert "<td>continuous: it differs from its neighbors without a gap; K is a choice</td>" in page


def test_no_section_for_other_clusters(run):
    run.adata.uns["scrae"]["significance"] = FACTS | {
        "names": np.array(["0", "1", "2", "3", "x"], dtype=object)
    }
    assert significance_view(run) is None
