"""Charts as inline SVG, styled by the page's own sheet: they are sharp, follow light and dark, and print."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from scrae.pl._genes import GenePoints
from scrae.report._scale import Scale, number, scale_over

__all__ = ["Mark", "dot_plot", "gene_cloud", "histogram", "lines"]

LEFT, RIGHT, TOP, BOTTOM = 52.0, 12.0, 10.0, 40.0  # room for ticks and labels, in px
_BINS = 48


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A vertical line at ``at``, with a word beside it."""

    at: float
    word: str


def lines(
    x: NDArray[np.float64],
    curves: Mapping[str, NDArray[np.float64]],
    *,
    x_label: str,
    summary: str,
    mark: Mark | None = None,
    points: bool = False,
    width: float = 320,
    height: float = 200,
) -> Markup:
    """Draw curves over a common x; ``summary`` is what a screen reader says."""  # fmt: skip
    x_scale = scale_over(x, margin=0.02)
    y_scale = scale_over(*curves.values(), margin=0.08)
    parts = [_frame(x_scale, y_scale, x_label, "", width, height)]
    if mark is not None:
        parts.append(_mark(mark, x_scale, width, height))
    for i, (name, y) in enumerate(curves.items()):
        known = np.isfinite(y)
        px, py = _place(x[known], y[known], x_scale, y_scale, width, height)
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(px, py, strict=True))
        parts.append(
            Markup('<path class="line line-{}" d="{}"><title>{}</title></path>').format(i, path, name)
        )
        if points:
            parts.extend(
                Markup(
                    '<circle class="knot" cx="{:.1f}" cy="{:.1f}" r="3"><title>{}: {}</title></circle>'
                ).format(a, b, number(value_x), number(value_y))
                for a, b, value_x, value_y in zip(px, py, x[known], y[known], strict=True)
            )
    return _svg(parts, width, height, summary)


def histogram(
    values: NDArray[np.float64],
    *,
    x_label: str,
    summary: str,
    log: bool,
    before: tuple[NDArray[np.float64], NDArray[np.int64]] | None = None,
    width: float = 320,
    height: float = 180,
) -> Markup:
    """Draw how many cells have which value, with a line at the median.

    ``before``: edges [bins + 1] and cells [bins] of an earlier histogram, drawn as an outline behind the bars.
    """
    values = values[np.isfinite(values) & ((values > 0) | (not log))]
    if before is None:
        scale = scale_over(values, log=log)
        edges = scale.at(np.linspace(0, 1, _BINS + 1))
        earlier = np.zeros(_BINS, dtype=np.int64)
    else:
        edges, earlier = before
        scale = scale_over(edges, log=log)
    heights = np.histogram(np.clip(values, edges[0], edges[-1]), bins=edges)[0]
    y_scale = Scale(low=0, high=1.05 * max(int(heights.max()), int(earlier.max()), 1))
    px, tops = _place(edges[:-1], heights.astype(float), scale, y_scale, width, height)
    ends, outline = _place(edges[1:], earlier.astype(float), scale, y_scale, width, height)
    bottom = height - BOTTOM
    bars = "".join(
        f"M{x:.1f} {bottom:.1f}V{top:.1f}H{max(end - 0.8, x + 0.4):.1f}V{bottom:.1f}z"
        for x, end, top in zip(px, ends, tops, strict=True)
        if top < bottom
    )
    parts = [
        _frame(scale, y_scale, x_label, "", width, height),
        Markup('<path class="bars" d="{}"/>').format(bars),
    ]
    if earlier.any():
        steps = "".join(f"V{top:.1f}H{end:.1f}" for end, top in zip(ends, outline, strict=True))
        path = f"M{px[0]:.1f} {bottom:.1f}{steps}V{bottom:.1f}"
        parts.append(Markup('<path class="line line-0" d="{}"/>').format(path))
    if len(values):
        middle = float(np.median(values))
        parts.append(
            _mark(Mark(at=middle, word=f"median {number(float(f'{middle:.4g}'))}"), scale, width, height)
        )
    return _svg(parts, width, height, summary)


def gene_cloud(
    genes: GenePoints, *, summary: str, n_named: int = 12, width: float = 680, height: float = 400
) -> Markup:
    """Draw mean against statistic for every gene, the expected curve, and the names of the best genes."""
    x_scale = scale_over(genes.mean, log=True)
    log = genes.log_statistic
    expected = genes.expected if genes.expected is not None else np.empty(0)
    y_scale = scale_over(genes.statistic, expected, log=log)
    px, py = _place(genes.mean, genes.statistic, x_scale, y_scale, width, height)
    name = genes.statistic_name
    parts = [_frame(x_scale, y_scale, "mean per cell", name, width, height)]
    for mask, style in ((~genes.selected, "gene"), (genes.selected, "gene chosen")):
        spots = sorted(
            {(round(a, 1), round(b, 1)) for a, b in zip(px[mask].tolist(), py[mask].tolist(), strict=True)}
        )
        path = "".join(f"M{a:g} {b:g}h0" for a, b in spots)
        parts.append(Markup('<path class="{}" d="{}"/>').format(style, path))
    if len(expected):
        order = np.argsort(genes.mean)[np.linspace(0, len(expected) - 1, min(len(expected), 300)).astype(int)]
        cx, cy = _place(genes.mean[order], expected[order], x_scale, y_scale, width, height)
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(cx, cy, strict=True))
        parts.append(Markup('<path class="line line-0" d="{}"/>').format(path))
    parts.extend(_gene_names(genes, px, py, n_named, width))
    return _svg(parts, width, height, summary)


def _gene_names(
    genes: GenePoints, px: NDArray[np.float64], py: NDArray[np.float64], n_named: int, width: float
) -> Iterable[Markup]:
    """Write the names of the best selected genes, each where no other name stands."""
    taken: list[tuple[float, float, float]] = []
    for i in np.argsort(genes.rank):
        if len(taken) == n_named:
            return
        length = 6.4 * len(str(genes.names[i]))
        left = float(px[i]) + 6 if px[i] + 6 + length < width - RIGHT else float(px[i]) - 6 - length
        y = float(py[i]) + 3.5
        free = all(abs(y - b) > 12 or left > a + long or left + length < a for a, b, long in taken)
        if genes.selected[i] and free and y > TOP:
            taken.append((left, y, length))
            yield Markup('<text class="gene-name" x="{:.1f}" y="{:.1f}">{}</text>').format(
                left, y, genes.names[i]
            )


def dot_plot(
    clusters: Sequence[str],
    genes: Sequence[str],
    share: NDArray[np.float64],
    mean: NDArray[np.float64],
    *,
    summary: str,
) -> Markup:
    """Draw one dot a cluster and gene: its size the share of cells with the gene, its shade the scaled mean.

    Parameters
    ----------
    clusters, genes
        Names of rows and columns.
    share
        Shape [clusters, genes], 0 to 1.
    mean
        Shape [clusters, genes]; the shade runs from the smallest to the largest value of each gene.
    summary
        What a screen reader says.
    """
    step = 20.0
    left = 8 + 6.6 * min(max(map(len, clusters), default=1), 24)
    top = 12 + 6.6 * min(max(map(len, genes), default=1), 18)
    span = mean.max(axis=0) - mean.min(axis=0)
    level = np.rint(10 * (mean - mean.min(axis=0)) / np.where(span > 0, span, 1)).astype(int)
    parts = []
    for column, gene in enumerate(genes):
        x = left + (column + 0.5) * step
        text = Markup('<text class="tick" transform="translate({:.1f} {:.1f}) rotate(-65)">{}</text>')
        parts.append(text.format(x + 4, top - 6, _short(gene, 18)))
    for row, cluster in enumerate(clusters):
        y = top + (row + 0.5) * step
        text = Markup('<text class="tick end" x="{:.1f}" y="{:.1f}">{}</text>')
        rule = Markup('<path class="grid" d="M{:.1f} {:.1f}H{:.1f}"/>')
        parts.append(
            text.format(left - 6, y + 4, _short(cluster, 24)) + rule.format(left, y, left + len(genes) * step)
        )
        for column, gene in enumerate(genes):
            if share[row, column] < 0.01:
                continue
            x, radius = left + (column + 0.5) * step, 8.5 * np.sqrt(share[row, column])
            words = f"{gene} in {cluster}: {100 * share[row, column]:.0f} % of cells, mean {mean[row, column]:.2f}"
            dot = Markup('<circle class="d{}" cx="{:.0f}" cy="{:.0f}" r="{:.1f}"><title>{}</title></circle>')
            parts.append(dot.format(level[row, column], x, y, radius, words))
    width, height = left + len(genes) * step + top * 0.45, top + len(clusters) * step + 8
    return _svg(parts, width, height, summary, fixed=True)


def _short(name: str, length: int) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"


def _place(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    x_scale: Scale,
    y_scale: Scale,
    width: float,
    height: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    px = LEFT + x_scale.share(x) * (width - LEFT - RIGHT)
    py = height - BOTTOM - y_scale.share(y) * (height - TOP - BOTTOM)
    return px, py


def _mark(mark: Mark, scale: Scale, width: float, height: float) -> Markup:
    x = LEFT + float(scale.share(mark.at)) * (width - LEFT - RIGHT)
    side, offset = ("end", -5) if x > width / 2 else ("", 5)
    line = Markup('<path class="mark" d="M{:.1f} {}V{}"/>').format(x, TOP, height - BOTTOM)
    text = Markup('<text class="mark-word {}" x="{:.1f}" y="{}">{}</text>')
    return line + text.format(side, x + offset, TOP + 9, mark.word)


def _frame(x_scale: Scale, y_scale: Scale, x_label: str, y_label: str, width: float, height: float) -> Markup:
    """Draw grid lines, tick numbers and the names of the axes."""
    parts = []
    for value in y_scale.ticks():
        y = height - BOTTOM - float(y_scale.share(value)) * (height - TOP - BOTTOM)
        parts.append(f'<path class="grid" d="M{LEFT:g} {y:.1f}H{width - RIGHT:g}"/>')
        parts.append(
            f'<text class="tick end" x="{LEFT - 6:g}" y="{y + 3.5:.1f}">{escape(number(value))}</text>'
        )
    for value in x_scale.ticks():
        x = LEFT + float(x_scale.share(value)) * (width - LEFT - RIGHT)
        y = height - BOTTOM + 15
        parts.append(f'<text class="tick middle" x="{x:.1f}" y="{y:g}">{escape(number(value))}</text>')
    parts.append(f'<path class="axis" d="M{LEFT:g} {height - BOTTOM:g}H{width - RIGHT:g}"/>')
    middle = (LEFT + width - RIGHT) / 2
    parts.append(f'<text class="name middle" x="{middle:g}" y="{height - 6:g}">{escape(x_label)}</text>')
    if y_label:
        turn = f"translate(12 {(TOP + height - BOTTOM) / 2:g}) rotate(-90)"
        parts.append(f'<text class="name middle" transform="{turn}">{escape(y_label)}</text>')
    return Markup("".join(parts))  # noqa: S704  every text in it was escaped above


def _svg(
    parts: Iterable[Markup], width: float, height: float, summary: str, *, fixed: bool = False
) -> Markup:
    size = Markup(' width="{:.0f}" height="{:.0f}"').format(width, height) if fixed else ""
    return Markup('<svg viewBox="0 0 {:.0f} {:.0f}"{} role="img" aria-label="{}">{}</svg>').format(
        width, height, size, summary, Markup("").join(parts)
    )
