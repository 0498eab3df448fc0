from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from helpers.fabricated import fabricate
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from scrae import pl
from scrae.errors import ScraeError


def points(ax):
    return ax.collections[0]


def shown(ax) -> dict[tuple[float, float], str]:
    """Place of each drawn cell, and its colour."""
    marks = points(ax)
    return {
        tuple(xy): to_hex(c)
        for xy, c in zip(marks.get_offsets().data.tolist(), marks.get_facecolors(), strict=True)
    }


def test_each_cell_stands_at_its_place_in_the_color_of_its_cluster(adata):
    ax = pl.embedding(adata, "X_umap", color="scrae")
    xy = adata.obsm["X_umap"].astype(float).tolist()
    colors = adata.uns["scrae_colors"]
    assert shown(ax) == {tuple(p): colors[int(c)] for p, c in zip(xy, adata.obs["scrae"], strict=True)}


def test_the_order_is_shuffled_and_the_same_every_time(adata):
    first, second = (
        points(pl.embedding(adata, "X_pca_scrae", color="scrae")).get_offsets().data for _ in "12"
    )
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, adata.obsm["X_pca_scrae"])


def test_pyplot_is_not_touched_and_given_axes_are_used(adata):
    open_before = sys.modules["matplotlib.pyplot"].get_fignums() if "matplotlib.pyplot" in sys.modules else []
    ax = Figure().subplots()
    assert pl.embedding(adata, "X_pca_scrae", color="scrae", ax=ax) is ax
    pl.embedding(adata, "X_pca_scrae", color="scrae_n_counts")
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == open_before


def test_names_are_drawn_as_they_are():
    names = ["$x^2$", "_hidden", "a_b", "<b>"]
    adata = fabricate(80, 20, 4, label_names=names)
    ax = pl.embedding(adata, "X_umap", color="cell_type")
    texts = ax.get_legend().get_texts()
    assert [text.get_text() for text in texts] == names
    assert not any(text.get_parse_math() for text in texts)
    ax.figure.draw_without_rendering()


def test_short_names_are_written_at_the_median_and_long_ones_are_not(adata):
    ax = pl.embedding(adata, "X_umap", color="scrae")
    assert [text.get_text() for text in ax.texts] == ["0", "1", "2", "3", "4"]
    cells = (adata.obs["scrae"] == "3").to_numpy()
    np.testing.assert_allclose(
        ax.texts[3].get_position(), np.median(adata.obsm["X_umap"][cells], axis=0), rtol=1e-6
    )
    assert len(pl.embedding(adata, "X_umap", color="cell_type").texts) == 0


def test_73_types_fit_into_the_picture():
    adata = fabricate(900, 20, 73, label_names=[f"a rather long name of cell type {i}" for i in range(73)])
    ax = pl.embedding(adata, "X_tsne", color="cell_type")
    ax.figure.draw_without_rendering()
    legend, page = ax.get_legend().get_window_extent(), ax.figure.bbox
    assert len(ax.get_legend().get_texts()) == 73
    assert legend.x0 > 0
    assert legend.y0 > 0
    assert legend.x1 <= page.x1
    assert legend.y1 <= page.y1


def test_a_quantity_is_drawn_with_its_values_and_cells_without_one_are_gray(adata):
    adata.obs["score"] = np.where(np.arange(adata.n_obs) < 10, np.nan, np.arange(adata.n_obs))
    gray, colored = pl.embedding(adata, "X_umap", color="score").collections
    assert len(gray.get_offsets()) == 10
    assert to_hex(gray.get_facecolors()[0]) == "#a3a7ad"
    assert sorted(colored.get_array().tolist()) == list(range(10, adata.n_obs))


def test_cells_without_label_or_place(adata):
    labels = adata.obs["cell_type"].astype(object)
    labels.iloc[:7] = None
    adata.obs["partly"] = pd.Categorical(labels)
    adata.obsm["X_umap"][3] = np.nan
    ax = pl.embedding(adata, "X_umap", color="partly")
    assert len(shown(ax)) == adata.n_obs - 1
    assert list(shown(ax).values()).count("#a3a7ad") == 6
    assert ax.get_legend().get_texts()[-1].get_text() == "no value"


@pytest.mark.parametrize(("n_cells", "rasterized"), [(5_000, False), (5_001, True)])
def test_many_points_are_rasterized(n_cells: int, rasterized: bool):
    ax = pl.embedding(fabricate(n_cells, 4, 2), "X_pca_scrae", color="scrae")
    assert points(ax).get_rasterized() is rasterized


def test_errors_name_what_is_there(adata):
    with pytest.raises(ScraeError, match="no 'X_diffmap'; there are: X_scrae, X_pca_scrae, X_tsne, X_umap"):
        pl.embedding(adata, "X_diffmap", color="scrae")
    with pytest.raises(ScraeError, match="a column of obs or a gene, found 'nothing'"):
        pl.embedding(adata, "X_umap", color="nothing")
    adata.obsm["flat"] = np.zeros((adata.n_obs, 1))
    with pytest.raises(ScraeError, match=r"obsm\['flat'\] of shape \[cells, 2\], found \[400, 1\]"):
        pl.embedding(adata, "flat", color="scrae")


def test_a_gene_colors_by_its_values(adata):
    shown = pl.embedding(adata, "umap", color="Gene7").collections[1]
    order = np.random.default_rng(0).permutation(adata.n_obs)
    expected = adata[:, "Gene7"].X.toarray().ravel()[order]
    np.testing.assert_allclose(shown.get_array(), expected)
    with pytest.raises(ScraeError, match=r"found 'gene7'; .*did you mean 'Gene7'"):
        pl.embedding(adata, color="gene7")


def test_several_colors_are_panels_of_one_figure(adata):
    axes = pl.embedding(adata, "pca", color=["scrae", "scrae_n_counts", "Gene0", "sample"])
    assert axes.shape == (4,)
    assert len({ax.figure for ax in axes}) == 1
    assert [ax.get_title() for ax in axes] == [
        "PCA, clusters", "PCA, counts per cell", "PCA, Gene0", "PCA, sample",
    ]  # fmt: skip
    assert pl.embedding(adata, color=["scrae"]).shape == (1,)
    with pytest.raises(ScraeError, match="ax: expected None with several colors"):
        pl.embedding(adata, color=["scrae", "sample"], ax=axes[0])


def test_the_basis_is_found_with_and_without_its_prefix(adata):
    for name in ("umap", "X_umap", "X_umap_scrae"):
        assert pl.embedding(adata, name, color="scrae").get_xlabel() == "UMAP 1"
