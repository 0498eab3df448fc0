from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from scrae.errors import ScraeError
from scrae.pl._colors import LABEL_PALETTE, PALETTE, category_colors, category_column, is_category

# Vision at full severity: Machado, Oliveira and Fernandes (2009), on linear RGB.
VISION = {
    "normal": np.eye(3),
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
}


def oklab(linear: np.ndarray) -> np.ndarray:
    """Ottosson's Oklab of linear RGB."""
    to_lms = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
    to_lab = [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
    return np.cbrt(linear @ np.transpose(to_lms)) @ np.transpose(to_lab)


@pytest.mark.parametrize("vision", list(VISION))
@pytest.mark.parametrize(("n_colors", "distance"), [(12, 0.069), (20, 0.053), (40, 0.038), (80, 0.025)])
def test_the_palette_can_be_told_apart(vision: str, n_colors: int, distance: float):
    rgb = np.array([to_rgb(color) for color in PALETTE[:n_colors]])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    lab = oklab(np.clip(linear @ np.transpose(VISION[vision]), 0, 1))
    between = np.linalg.norm(lab[:, None] - lab[None], axis=-1)[np.triu_indices(n_colors, 1)]
    assert len(between) == n_colors * (n_colors - 1) // 2
    assert between.min() >= distance


def test_colors_are_stored_where_scanpy_looks(adata):
    colors = category_colors(adata, "scrae")
    assert colors == list(PALETTE[:5])
    assert adata.uns["scrae_colors"] == colors


def test_labels_do_not_look_like_clusters(adata):
    clusters, labels = category_colors(adata, "scrae"), category_colors(adata, "cell_type")
    assert labels == list(LABEL_PALETTE[:5])
    assert not set(clusters) & set(labels)
    assert not set(PALETTE[:9]) & set(LABEL_PALETTE)
    assert len(set(LABEL_PALETTE)) == len(LABEL_PALETTE) == 80


def test_stored_colors_are_kept_and_too_few_are_replaced(adata):
    mine = ["red", "#00ff00", "blue", "k", "#123456"]
    adata.uns["scrae_colors"] = np.array(mine)
    assert category_colors(adata, "scrae") == ["#ff0000", "#00ff00", "#0000ff", "#000000", "#123456"]
    adata.uns["scrae_colors"] = mine[:4]
    assert category_colors(adata, "scrae") == list(PALETTE[:5])


def test_more_than_80_categories_repeat_colors(adata):
    adata.obs["many"] = pd.Categorical([f"{i % 90:02d}" for i in range(adata.n_obs)])
    colors = category_colors(adata, "many")
    assert len(colors) == 90
    assert colors[80:] == list(LABEL_PALETTE[:10])
    assert len(set(colors[:80])) == 80


def test_text_numbers_and_truth_values(adata):
    adata.obs["flag"] = np.arange(adata.n_obs) % 2 == 0
    adata.obs["text"] = ["b", None, "a", "b"] * (adata.n_obs // 4)
    adata.obs["code"] = pd.Categorical([7, 10] * (adata.n_obs // 2))
    assert category_column(adata, "flag").categories.tolist() == ["False", "True"]
    assert category_column(adata, "text").codes[:4].tolist() == [1, -1, 0, 1]
    assert category_column(adata, "code").categories.tolist() == ["7", "10"]
    assert [is_category(adata.obs[key]) for key in ("flag", "text", "code", "scrae_mito")] == [
        True,
        True,
        True,
        False,
    ]


def test_a_missing_column_is_named(adata):
    with pytest.raises(ScraeError, match="found no 'celltype'; the columns are: cell_type, sample"):
        category_column(adata, "celltype")
