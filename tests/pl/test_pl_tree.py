from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex

from scrae import pl, tl
from scrae.errors import ScraeError


def test_joins_stand_at_their_distance_and_clusters_in_their_color(adata):
    adata.uns["scrae"]["clusters"] = {"use_rep": "X_scrae", "method": "smoothed", "seed": 0}
    tl.cluster_tree(adata)
    ax = pl.cluster_tree(adata)
    height = adata.uns["scrae"]["tree"]["height"]
    joins, dots = ax.lines[: len(height)], [line for line in ax.lines if line.get_marker() == "o"]
    assert sorted(float(max(line.get_xdata())) for line in joins) == pytest.approx(sorted(height))
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert sorted(names) == ["0", "1", "2", "3", "4"]
    colors = dict(zip(adata.obs["scrae"].cat.categories, adata.uns["scrae_colors"], strict=True))
    assert [to_hex(dot.get_color()) for dot in dots] == [to_hex(colors[name]) for name in names]
    assert ax.get_legend() is None
    verdict = np.array(["not tested", "continuous", "not supported", "real"], dtype=object)
    adata.uns["scrae"]["significance"] = {"verdict": verdict}
    ax = pl.cluster_tree(adata)
    solid = [line for line in ax.lines[: len(height)] if line.get_linestyle() == "-"]
    assert [max(line.get_xdata()) for line in solid] == pytest.approx([height[3]])
    words = {text.get_text() for text in ax.get_legend().get_texts()}
    assert words == {"gap", "continuous", "not supported", "not tested"}


def test_without_a_tree_the_message_says_what_to_do(adata):
    with pytest.raises(ScraeError, match=r"found none; use scrae.tl.cluster_tree\(adata\)"):
        pl.cluster_tree(adata)
