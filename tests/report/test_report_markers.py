from __future__ import annotations

import numpy as np
import pandas as pd

from scrae.report._markers import choose_genes, marker_tables, summarize


def test_the_best_genes_are_those_put_in(adata):
    tables = marker_tables(adata.uns["scrae"]["markers"])
    programmed = {f"Gene{i}" for i in range(2, 60, 5)}
    assert list(tables) == list("01234")
    assert len(tables["2"]) == 10
    assert set(tables["2"]["gene"][:5]) <= programmed


def test_a_folder_without_a_marker_table_has_no_section():
    assert marker_tables(None) == {}


def test_sums_of_clusters(adata):
    summary = summarize(adata)
    x = adata.X.toarray()[(adata.obs["scrae"] == "1").to_numpy()]
    np.testing.assert_allclose(summary.mean[1], x.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(summary.share[1], (x > 0).mean(axis=0), rtol=1e-6)
    assert summary.size.sum() == adata.n_obs


def test_genes_are_chosen_in_turns():
    tables = {"0": pd.DataFrame({"gene": ["a", "b", "c"]}), "1": pd.DataFrame({"gene": ["b", "d"]})}
    assert choose_genes(tables, 10) == {"a": "0", "b": "1", "d": "1", "c": "0"}
    assert choose_genes(tables, 2) == {"a": "0", "b": "1"}
    assert choose_genes({}, 5) == {}
