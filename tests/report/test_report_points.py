from __future__ import annotations

import base64
import json
import zlib

import numpy as np
import pandas as pd
from helpers.fabricated import fabricate
from scipy.sparse import csc_matrix

from scrae.report._content import scatter_view
from scrae.report._pack import pack_genes
from scrae.report._points import embed_json, scatter_data, subsample


def decode(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype=kind)


def test_all_cells_are_shown_where_they_are_few(adata):
    assert sorted(subsample(adata).tolist()) == list(range(adata.n_obs))


def test_a_subsample_has_50_of_each_cluster_and_is_the_same_twice():
    adata = fabricate(6000, 4, 12)
    cells = subsample(adata, 1000)
    assert len(set(cells.tolist())) == len(cells) == 1000
    shown = adata.obs["scrae"].iloc[cells].value_counts()
    there = adata.obs["scrae"].value_counts()
    assert all(shown[name] >= min(50, there[name]) for name in there.index)
    assert shown["0"] > shown["3"] > 50
    np.testing.assert_array_equal(cells, subsample(adata, 1000))


def test_a_subsample_is_of_cells_that_every_picture_shows():
    adata = fabricate(900, 4, 12)
    adata.obsm["X_umap"][np.arange(900) % 3 == 0] = np.nan
    adata.obsm["X_tsne"][np.arange(900) % 2 == 0] = np.nan
    cells = subsample(adata, 200)
    assert len(cells) == 200
    assert set(cells % 6) == {1, 5}
    assert len(subsample(adata, 400)) == 300


def test_what_is_embedded_can_be_read_back(adata):
    adata.obsm["X_umap"][7] = np.nan
    adata.obs["cell_type"] = adata.obs["cell_type"].where(np.arange(adata.n_obs) > 4)
    genes = {"Gene3": "3", "Gene0": "0"}
    data = scatter_data(adata, {"scrae": "Cluster", "cell_type": "Label"}, genes)
    cells = adata.obs_names.get_indexer(pd.Index(data["cells"]))
    assert sorted(cells) == list(range(adata.n_obs))
    assert [basis["name"] for basis in data["bases"]] == [
        "UMAP",
        "t-SNE",
        "PCA",
    ]  # the ten-dimensional latent is none

    umap = np.stack([decode(data["bases"][0][axis], "<u2") for axis in "xy"], axis=1)
    truth = adata.obsm["X_umap"][cells]
    lost = np.isnan(truth[:, 0])
    assert (umap[lost] == 65535).all()
    assert umap[~lost].max() == 65534
    span = np.ptp(truth[~lost], axis=0).max()
    back = umap[~lost] / 65534 * span + truth[~lost].min(axis=0)
    np.testing.assert_allclose(back, truth[~lost], atol=span / 65534)

    cluster, label = data["groups"][:2]
    np.testing.assert_array_equal(
        decode(cluster["codes"], "<u2"), adata.obs["scrae"].cat.codes.to_numpy()[cells]
    )
    assert cluster["sizes"] == adata.obs["scrae"].value_counts(sort=False).tolist()
    assert (decode(label["codes"], "<u2") == 65535).sum() == 5

    counts = data["values"][0]
    assert [value["name"] for value in data["values"]] == [
        "Library size",
        "Detected genes",
        "Mitochondrial share",
    ]
    logs = counts["low"] + (counts["high"] - counts["low"]) * decode(counts["data"], "<u2") / 65535
    np.testing.assert_allclose(np.expm1(logs), adata.obs["scrae_n_counts"].to_numpy()[cells], rtol=1e-4)

    assert data["markers"] == [["Gene3", "3"], ["Gene0", "0"]]
    names = data["genes"]["names"]
    assert names[:2] == ["Gene3", "Gene0"]
    modeled = adata.var[adata.var["scrae_selected"]].sort_values("scrae_rank").index
    assert names[2:] == [name for name in modeled if name not in genes]
    for name, level in unpack(data["genes"], len(cells)).items():
        x = adata[cells, name].X.toarray().ravel()
        np.testing.assert_allclose(level, x, atol=x.max() / 61)
        assert ((level > 0) == (x > 0)).all()


def unpack(genes: dict, n_cells: int) -> dict[str, np.ndarray]:
    """Read packed genes as the page does, a byte at a time."""
    stream = zlib.decompress(base64.b64decode(genes["data"]))
    gap, step = 0, sum(coded for coded, _ in genes["sizes"])
    found = {}
    for name, high, (_, count) in zip(genes["names"], genes["high"], genes["sizes"], strict=True):
        found[name] = np.zeros(n_cells)
        cell = -1
        for _ in range(count):
            while stream[gap] == 255:
                cell, gap = cell + 255, gap + 1
            cell, gap = cell + stream[gap], gap + 1
            found[name][cell] = stream[step] / genes["steps"] * high
            step += 1
    return found


def test_long_gaps_between_cells_are_kept():
    values = np.zeros((2000, 3), dtype=np.float32)
    for row, value in ((0, 1.0), (255, 2.0), (511, 3.0), (1999, 4.0)):
        values[row, 1] = value
    values[254, 2] = 0.5
    packed = pack_genes(csc_matrix(values), ["a", "b", "c"])
    for i, level in enumerate(unpack(packed, 2000).values()):
        np.testing.assert_allclose(level, values[:, i], atol=4 / 62)


def test_the_first_genes_are_kept_where_not_all_fit():
    values = csc_matrix(np.random.default_rng(0).random((300, 40), dtype=np.float32))
    names = [f"g{i}" for i in range(40)]
    packed = pack_genes(values, names, most_bytes=5000)
    assert len(packed["data"]) <= 5000
    assert 3 < len(packed["names"]) < 40
    assert packed["names"] == names[: len(packed["names"])]


def test_every_column_of_obs_can_color(adata):
    adata.obs["stage"] = np.where(np.arange(adata.n_obs) % 2, "early", "late")
    adata.obs["age"] = np.linspace(20.0, 80.0, adata.n_obs)
    adata.obs["barcode"] = adata.obs_names.to_numpy()
    adata.obs["always"] = 1.0
    data = scatter_data(adata, {"scrae": "Cluster"}, {})
    assert [(g["name"], g["main"]) for g in data["groups"]] == [
        ("Cluster", True), ("cell_type", False), ("sample", False), ("stage", False),
    ]  # fmt: skip
    assert [(v["name"], v["main"]) for v in data["values"]][-2:] == [
        ("Mitochondrial share", True),
        ("age", False),
    ]


def test_shares_of_nothing_but_zeros_are_left_out(adata):
    adata.obs["scrae_mito"] = 0.0
    assert [value["name"] for value in scatter_data(adata, {}, {})["values"]] == [
        "Library size",
        "Detected genes",
    ]


def test_json_cannot_leave_its_element():
    data = {"</script><!--": ["<b>", "a & b", "\u2028", "naïve", '"']}
    text = str(embed_json(data))
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == data


def test_the_legend_has_the_suggested_names(run):
    table = pd.DataFrame({"cluster": ["0", "1"], "name": ["B cell", "unknown"], "score": 0.5, "genes": ""})
    run.adata.uns["scrae"]["annotation"] = table
    group = scatter_view(run, {})["data"]["groups"][0]
    assert group["suggested"] == ["B cell"] + [""] * (len(group["categories"]) - 1)
