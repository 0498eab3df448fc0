from __future__ import annotations

import numpy as np
import pytest
from helpers.fabricated import fabricate

from scrae import pl
from scrae.errors import ScraeError


def test_dots_and_heatmap_have_the_best_genes_of_every_cluster():
    adata = fabricate()
    table = adata.uns["scrae"]["markers"]
    best = [table["gene"][table["cluster"] == str(k)].iloc[0] for k in range(5)]
    for kind in ("dots", "heatmap"):
        (ax,) = pl.markers(adata, kind=kind, n_genes=2)
        ax.figure.draw_without_rendering()
        genes = [text.get_text() for text in ax.get_xticklabels()]
        assert [genes[i] for i in range(0, 10, 2)] == best
        assert [text.get_text()[-1] for text in ax.get_yticklabels()] == list("01234")
    values = ax.images[0].get_array()
    assert (values.argmax(axis=0) == np.repeat(np.arange(5), 2)).all()


def test_violins_have_a_panel_for_each_gene():
    adata = fabricate()
    axes = pl.markers(adata, kind="violins", n_genes=1)
    assert len(axes) == 5
    assert all(len(ax.collections) + len(ax.lines) == 5 for ax in axes)


def test_missing_markers_are_one_line():
    adata = fabricate()
    del adata.uns["scrae"]["markers"]
    with pytest.raises(
        ScraeError, match=r"expected markers in uns\['scrae'\], found none; call scrae.tl.markers"
    ):
        pl.markers(adata)
