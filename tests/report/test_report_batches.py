"""Which columns of obs divide the clusters, and what is said about them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scrae.report._batches import _explained, batch_notes, divided_by, note_batches

TYPE = np.repeat([0, 1, 2, 3], 200)
HALF = np.tile([0, 1], 400)


def cells(clusters: np.ndarray, **columns: np.ndarray) -> AnnData:
    obs = pd.DataFrame({name: pd.Categorical(values.astype(str)) for name, values in columns.items()})
    obs["scrae"] = pd.Categorical(clusters.astype(str))
    obs.index = [f"c{i}" for i in range(len(obs))]
    return AnnData(obs=obs)


def test_a_column_of_any_name_that_divides_every_type():
    adata = cells(2 * TYPE + HALF, when=HALF, noise=np.roll(HALF, 1) ^ (np.arange(800) % 3 == 0))
    assert divided_by(adata) == {"when": [str(i) for i in range(8)]}
    (sentence,) = batch_notes(adata)
    assert sentence.startswith(
        "Batches: in 8 of 8 clusters (0, 1, 2, 3 and 4 more), most cells have the same “when”."
    )
    assert "`scrae run INPUT -o OUT_batch --batch-key when`" in sentence
    adata.obs["day of"] = adata.obs.pop("when")
    assert "--batch-key 'day of'`" in batch_notes(adata)[0]


def test_clusters_of_mixed_composition_are_not_divided():
    rng = np.random.default_rng(0)
    for n_categories in (2, 8, 40):  # 20 to 25 cells of each at least
        assert divided_by(cells(TYPE, day=rng.integers(0, n_categories, 800))) == {}
    mostly = (rng.random(800) < 0.9).astype(int)
    assert divided_by(cells(TYPE, day=mostly)) == {}  # 90 % of every cluster, as of all cells


def test_the_composition_of_all_cells_counts():
    """A rare category that fills half of one cluster is found; a frequent one that fills a cluster is not."""
    rare = np.zeros(800, dtype=int)
    rare[:110] = 1
    assert divided_by(cells(TYPE, day=rare)) == {}  # 55 % of cluster 0: 7.6 times the odds of all cells
    rare[:140] = 1
    assert divided_by(cells(TYPE, day=rare)) == {"day": ["0"]}  # 70 %: 11 times
    frequent = np.ones(800, dtype=int)
    frequent[200:250] = frequent[400:450] = 0
    assert (
        divided_by(cells(TYPE, day=frequent)) == {}
    )  # clusters 0 and 3 have all cells of the usual category


def test_small_clusters_do_not_count():
    clusters = TYPE.copy()
    clusters[:40] = 4
    assert divided_by(cells(clusters, day=(clusters == 4).astype(int))) == {}
    clusters[:50] = 4
    assert divided_by(cells(clusters, day=(clusters == 4).astype(int))) == {"day": ["4"]}


@pytest.mark.parametrize("name", ["cell_type", "leiden", "annotation", "RNA_snn_res.0.5", "scrae_name"])
def test_annotations_by_name(name: str):
    assert divided_by(cells(2 * TYPE + HALF, **{name: HALF})) == {}


def test_annotations_by_agreement():
    shifted = np.roll(TYPE, 10)
    assert divided_by(cells(TYPE, found=shifted)) == {}
    assert divided_by(cells(TYPE, batch=shifted)) == {"batch": ["0", "1", "2", "3"]}  # its name decides
    lineage = TYPE // 2
    adata = cells(TYPE, lineage=lineage, kind=TYPE)
    assert divided_by(adata) == {
        "lineage": ["0", "1", "2", "3"]
    }  # nothing tells it from a batch: both are said
    assert "If it describes the cells" in batch_notes(adata)[0]
    assert divided_by(adata, label_key="kind") == {}  # one category for each label
    assert divided_by(cells(TYPE, lineage=lineage, cell_type=TYPE)) == {}


def test_a_batch_is_not_nested_in_the_labels():
    adata = cells(2 * TYPE + HALF, when=HALF, kind=TYPE)
    assert list(divided_by(adata, label_key="kind")) == ["when"]


def test_columns_that_cannot_hold_batches():
    adata = cells(2 * TYPE + HALF, one=np.zeros(800), many=np.arange(800) // 10)
    adata.obs["score"] = HALF.astype(float)
    adata.obs["nothing"] = pd.Categorical([None] * 800)
    assert divided_by(adata) == {}
    adata.obs["plate"] = HALF  # whole numbers, but named like batches
    assert list(divided_by(adata)) == ["plate"]


def test_columns_that_say_the_same_are_named_once_and_the_strongest_first():
    part = np.where(TYPE == 0, HALF, np.tile([0, 0, 1, 1], 200))
    adata = cells(2 * TYPE + HALF, part=part, first=HALF, second=1 - HALF)
    assert list(divided_by(adata)) == ["first", "part"]


def test_cells_without_a_category_are_left_out():
    adata = cells(2 * TYPE + HALF, when=HALF)
    adata.obs.loc[adata.obs.index[:30], "when"] = None
    assert list(divided_by(adata)) == ["when"]


def test_the_lambda_of_goodman_and_kruskal():
    # groups in rows, categories in columns; by hand
    table = np.array([[30, 10], [5, 15]])
    groups = np.repeat([0, 0, 1, 1], table.ravel())
    codes = np.repeat([0, 1, 0, 1], table.ravel())
    assert _explained(codes, groups) == pytest.approx((30 + 15 - 35) / (60 - 35))
    assert _explained(codes, codes) == 1
    assert _explained(codes, np.zeros_like(codes)) == 0


def test_the_notes_of_earlier_clusters_are_replaced():
    adata = cells(2 * TYPE + HALF, when=HALF)
    adata.uns["scrae"] = {"notes": ["Kept."]}
    note_batches(adata, label_key=None, batch_key=None)
    note_batches(adata, label_key=None, batch_key=None)
    assert [note[:9] for note in adata.uns["scrae"]["notes"]] == ["Kept.", "Batches: "]
    note_batches(adata, label_key="when", batch_key=None)
    assert adata.uns["scrae"]["notes"] == ["Kept."]
