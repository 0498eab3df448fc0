"""Figures as compact SVG that takes its colors from the page around it."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree

import matplotlib
from matplotlib.figure import Figure

from scrae.pl._draw import ACCENT, GRID, INK, MUTED, RAMP

__all__ = ["inline_svg"]

SCALE = 1.35  # px of the page for each point of the figure
VARIABLES = {INK: "ink", MUTED: "quiet", GRID: "grid", ACCENT: "accent"} | {
    color: f"ramp-{i}" for i, color in enumerate(RAMP) if color != ACCENT
}
PLACES = {"d", "x", "y", "transform", "width", "height"}
Element = ElementTree.Element


def inline_svg(figure: Figure, *, title: str, description: str = "") -> str:
    """Return a figure as an SVG element to put into an HTML page.

    The background is transparent, text stays text in the font ``--sans`` of the page, and the colors of this module
    are CSS variables (``--ink``, ``--quiet``, ``--grid``, ``--accent``, ``--ramp-0`` to ``--ramp-10``), with the usual
    color where the page does not define them. The same drawing
    gives the same text.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        What to convert; it is not changed.
    title : str
        Name of the image for screen readers. It should be unique in the page.
    description : str
        What the image shows.

    Returns
    -------
    str
        One ``<svg>`` element.

    Examples
    --------
    >>> ax = scrae.pl.cluster_sizes(adata)
    >>> svg = scrae.pl.inline_svg(ax.figure, title="Cluster sizes")
    >>> svg[:4]
    '<svg'
    """
    buffer = io.BytesIO()
    rasterized = figure.findobj(lambda artist: artist.get_rasterized())
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    try:
        for artist in rasterized:
            artist.set_rasterized(False)
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
            figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    finally:
        for artist in rasterized:
            artist.set_rasterized(True)
    svg = buffer.getvalue().decode()
    root = ElementTree.fromstring(svg)  # noqa: S314  our own text
    radii = {
        path.get("id", ""): circle[2]
        for path in root.iter("{http://www.w3.org/2000/svg}path")
        if path.get("id") and (circle := _circle(path.get("d", "")))
    }
    referenced = set(re.findall(r"#([\w-]+)", svg)) - radii.keys()
    for element in root.iter():
        _simplify(element, radii, referenced)
    for element in list(root.iter()):
        _merge_dots(element)
    width = float(root.get("viewBox", "").split()[2])
    label = f"{title}. {description}" if description else title
    root.attrib |= {"width": f"{SCALE * width:.0f}", "role": "img", "aria-label": label}
    del root.attrib["height"]
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        child = Element(tag)
        child.text = text
        root.insert(place, child)
    return ElementTree.tostring(root, encoding="unicode")


def _simplify(element: Element, radii: dict[str, float], referenced: set[str]) -> None:
    """Keep what a page needs, draw circles as circles, and round positions to 0.1 points."""
    for child in list(element):
        if child.tag.endswith(("}metadata", "}style")) or child.get("id") in radii:
            element.remove(child)
    old, element.attrib = element.attrib, {}
    element.tag = element.tag.rpartition("}")[2]
    element.tail = None
    if element.tag != "text":
        element.text = None
    for name, value in old.items():
        if name == "style":
            element.set(name, _style(value))
        elif name in ("viewBox", "clip-path") or (name == "id" and value in referenced):
            element.set(name, value)
        elif name.endswith("href"):
            element.set("href", value)
        elif name in PLACES and not value.startswith("rotate(-0 "):
            element.set(name, _rounded(value))
    circle = _circle(old.get("d", ""))
    if element.tag == "use" and element.get("href", "")[1:] in radii:
        circle = float(old.get("x", 0)), float(old.get("y", 0)), radii[element.attrib.pop("href")[1:]]
    if circle:
        element.tag = "circle"
        for name in ("d", "x", "y", "clip-path"):
            element.attrib.pop(name, None)
        for name, number in zip(("cx", "cy", "r"), circle, strict=True):
            element.set(name, _rounded(f"{number:.6f}"))


def _circle(d: str) -> tuple[float, float, float] | None:
    """Return center and radius where a path is a circle as matplotlib writes it: eight curves of equal extent."""
    if d.count("C") != 8 or not d.rstrip().endswith("z"):
        return None
    numbers = [float(number) for number in re.findall(r"-?[\d.]+", d)]
    x, y = numbers[::2], numbers[1::2]
    return (max(x) + min(x)) / 2, (max(y) + min(y)) / 2, (max(y) - min(y)) / 2


def _rounded(value: str) -> str:
    """Round all numbers to 0.1 points."""
    value = re.sub(r"-?\d+\.\d+", lambda n: f"{float(n[0]):.1f}".removesuffix(".0"), value)
    return " ".join(value.split())


def _merge_dots(group: Element) -> None:
    """Draw many equal circles as one path of round dots, each place once."""
    circles = group.findall("circle")
    looks = {(circle.get("r", ""), circle.get("style", "")) for circle in circles}
    if len(circles) < 20 or len(looks) > 1:
        return
    ((radius, style),) = looks
    places = dict.fromkeys(f"M{circle.get('cx')} {circle.get('cy')}h0" for circle in circles)
    for circle in circles:
        group.remove(circle)
    style = f"{style.replace('fill', 'stroke')};stroke-width:{2 * float(radius):.2f};stroke-linecap:round;fill:none"
    group.append(Element("path", d="".join(places), style=style))


def _style(style: str) -> str:
    """Use the font and the colors of the page."""
    style = re.sub(r"(font: [^;]*?px|font-family:) [^;]*", r"\1 var(--sans, sans-serif)", style)
    for color, name in VARIABLES.items():
        style = style.replace(color, f"var(--{name}, {color})")
    return style.replace("; ", ";").replace(": ", ":")
