"""Inline SVG: small, accessible, escaped and in the colors of the page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest
from helpers.fabricated import fabricate
from matplotlib.figure import Figure

from scrae import pl


def parse(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def test_title_description_and_names_are_escaped():
    adata = fabricate(80, 20, 3, label_names=["<b>", "a & b", "$c$"])
    svg = pl.inline_svg(pl.label_table(adata, "cell_type").figure, title="a <i>", description='"b"')
    root = parse(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'a <i>. "b"'
    assert [root[i].tag for i in (0, 1)] == ["title", "desc"]
    assert [root[i].text for i in (0, 1)] == ["a <i>", '"b"']
    assert {"<b>", "a & b", "$c$"} <= {text.text for text in root.iter("text")}


def test_colors_and_font_are_those_of_the_page(adata):
    svg = pl.inline_svg(pl.history(adata, panels=["Reconstruction"])[0].figure, title="Loss")
    assert not re.search(r"(?<!, )#[0-9a-f]{6}", svg)  # only as fallback of a variable
    assert {"ink", "quiet", "accent", "sans"} == set(re.findall(r"var\(--([\w-]+)", svg))
    assert "<style" not in svg
    assert "metadata" not in svg


@pytest.mark.parametrize("draw", [pl.gene_selection, pl.cluster_sizes])
def test_the_same_data_give_the_same_text(adata, draw):
    first, second = (pl.inline_svg(draw(adata).figure, title="t") for _ in "12")
    assert first == second
    assert all(path.get("id") is None or f"#{path.get('id')}" in first for path in parse(first).iter())


def test_many_equal_points_are_one_path_and_the_figure_is_unchanged():
    ax = Figure().subplots()
    x = np.random.default_rng(0).random(20_000)
    points = ax.scatter(x, x[::-1], s=4, color="#0b6b74", linewidths=0, rasterized=True)
    svg = pl.inline_svg(ax.figure, title="t")
    assert points.get_rasterized()
    assert "data:image" not in svg
    assert len(svg) < 320_000
    (dots,) = (path for path in parse(svg).iter("path") if path.get("d").count("h0") > 1000)
    assert "stroke:var(--accent, #0b6b74)" in dots.get("style")
    assert "stroke-width:2.0" in dots.get("style")


def test_dots_stand_at_their_place_with_their_size():
    share = pd.DataFrame([[1.0, 0.25], [0.0, 0.5]], index=["a", "b"], columns=["g", "h"])
    circles = list(parse(pl.inline_svg(pl.dot_plot(share, share).figure, title="t")).iter("circle"))
    radii = np.array([float(circle.get("r")) for circle in circles])
    np.testing.assert_allclose(radii / radii[0], [1, 0.5, np.sqrt(0.5)], atol=0.02)
    x, y = (np.array([float(circle.get(name)) for circle in circles]) for name in ("cx", "cy"))
    assert x[0] < x[1] == x[2]
    assert y[0] == y[1] < y[2]
