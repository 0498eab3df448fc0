from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from scrae.pl._genes import gene_points
from scrae.report._charts import Mark, dot_plot, gene_cloud, histogram, lines
from scrae.report._scale import Scale, number, scale_over


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234567, "1,234,567"),
        (0.8123, "0.812"),
        (0, "0"),
        (3.1e-5, "3.1e-05"),
        (1234.6, "1,235"),
        (np.nan, "–"),
        (-2.5, "-2.5"),
    ],
)
def test_numbers_for_readers(value: float, text: str):
    assert number(value) == text


@pytest.mark.parametrize(
    ("scale", "ticks"),
    [
        (Scale(low=0, high=1), [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (Scale(low=-3, high=27), [0, 5, 10, 15, 20, 25]),
        (Scale(low=70, high=1300, log=True), [100, 200, 500, 1000]),
        (Scale(low=0.5, high=2e6, log=True), [1, 100, 10_000, 1_000_000]),
        (Scale(low=210.0, high=210.0004), [210.0, 210.0001, 210.0002, 210.0003, 210.0004]),
    ],
)
def test_ticks_are_round_numbers(scale: Scale, ticks: list[float]):
    assert scale.ticks() == pytest.approx(ticks)


def test_scales():
    assert scale_over([1, 3], [np.nan, 2], margin=0.5) == Scale(low=0, high=4)
    assert Scale(low=1, high=100, log=True).share([1, 10, 100]).tolist() == [0, 0.5, 1]
    log = scale_over([0, 10, 1000], log=True, margin=0)
    assert (log.low, log.high) == (10, 1000)
    assert scale_over([5, 5]) == Scale(low=4.8, high=5.2)
    assert scale_over([]) == Scale(low=1, high=10)


def parse(markup: str) -> ElementTree.Element:
    return ElementTree.fromstring(markup)


def test_a_line_goes_where_the_numbers_are():
    y = np.array([0.0, np.nan, 10.0])
    chart = parse(
        lines(
            np.array([0.0, 1.0, 2.0]),
            {"a<b": y},
            x_label="x & y",
            summary='say "this"',
            mark=Mark(at=1, word="<here>"),
        )
    )
    path = next(p for p in chart.iter("path") if p.get("class") == "line line-0")
    (x0, y0), (x1, y1) = ([float(v) for v in point.split()] for point in path.get("d")[1:].split("L"))
    assert x0 < x1
    assert y0 > y1
    # x: 2 % margin in 52..308; y: 8 % margin in 160..10
    assert [x0, x1] == pytest.approx([52 + 256 * 0.04 / 2.08, 308 - 256 * 0.04 / 2.08], abs=0.06)
    assert [y0, y1] == pytest.approx([160 - 150 * 0.8 / 11.6, 10 + 150 * 0.8 / 11.6], abs=0.06)
    assert path.find("title").text == "a<b"
    assert chart.get("aria-label") == 'say "this"'
    texts = [text.text for text in chart.iter("text")]
    assert "x & y" in texts
    assert "<here>" in texts


def test_a_histogram_holds_every_cell():
    values = np.concatenate([np.full(30, 10.0), np.full(10, 1000.0), [0.0, np.nan]])
    chart = parse(histogram(values, x_label="counts", summary="s", log=True))
    bars = next(p for p in chart.iter("path") if p.get("class") == "bars").get("d")
    heights = heights_of(bars)
    assert len(heights) == 2
    assert heights[0] == pytest.approx(3 * heights[1], abs=0.2)
    assert "median 10" in [text.text for text in chart.iter("text")]
    assert not [p for p in chart.iter("path") if p.get("class") == "line line-0"]


def heights_of(bars: str) -> list[float]:
    ends = [
        (bar.split(" ")[1].split("V")[0], bar.split("V")[1].split("H")[0]) for bar in bars.split("z") if bar
    ]
    return [float(bottom) - float(top) for bottom, top in ends]


def test_a_histogram_of_before_stands_behind():
    edges, cells = np.array([1.0, 10.0, 100.0, 1000.0]), np.array([5, 20, 10])
    values = np.repeat([20.0, 200.0], [16, 8])
    chart = parse(histogram(values, x_label="counts", summary="s", log=True, before=(edges, cells)))
    paths = {p.get("class"): p.get("d") for p in chart.iter("path")}
    bars = heights_of(paths["bars"])
    assert bars[0] == pytest.approx(2 * bars[1], abs=0.2)
    bottom, *tops = [float(step.split("H")[0]) for step in paths["line line-0"].split(" ")[1].split("V")]
    earlier = [bottom - top for top in tops[:3]]
    assert earlier == pytest.approx([bars[1] * 5 / 8, bars[1] * 20 / 8, bars[1] * 10 / 8], abs=0.3)


def test_genes_are_named_by_rank_and_drawn_once(adata):
    points = gene_points(adata)
    chart = parse(gene_cloud(points, summary="s", n_named=3))
    names = [text.text for text in chart.iter("text") if text.get("class") == "gene-name"]
    assert len(names) == 3
    assert names[0] == points.names[np.argmin(points.rank)]
    chosen = next(p for p in chart.iter("path") if p.get("class") == "gene chosen").get("d")
    assert 0 < chosen.count("M") <= points.selected.sum()


def test_dots_show_share_as_area_and_mean_as_shade():
    share = np.array([[1.0, 0.25], [0.0, 0.5]])
    mean = np.array([[4.0, 1.0], [0.0, 3.0]])
    chart = parse(dot_plot(["c<0>", "c1"], ["g&1", "g2"], share, mean, summary="s"))
    dots = list(chart.iter("circle"))
    assert [dot.get("class") for dot in dots] == ["d10", "d0", "d10"]
    assert [float(dot.get("r")) for dot in dots] == pytest.approx([8.5, 4.2, 6.0], abs=0.06)
    assert dots[0].find("title").text == "g&1 in c<0>: 100 % of cells, mean 4.00"
