from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from helpers.fabricated import fabricate, run_record, write_run
from matplotlib.image import imread

from scrae import report

BROWSER = os.environ.get("SCRAE_BROWSER", "")
pytestmark = pytest.mark.skipif(not BROWSER, reason="SCRAE_BROWSER does not name a Chromium")

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--virtual-time-budget=4000",
]  # fmt: skip
CATCH = """<script>
window.wrong = [];
window.alert = (words) => wrong.push(`alert ${words}`);
addEventListener('error', (event) => wrong.push(String(event.message)));
</script>"""

# Available to every probe.
HARNESS = """<script>
const scatter = document.getElementById('canvas'), menu = document.getElementById('color');
const press = (key) => scatter.dispatchEvent(new KeyboardEvent('keydown', { key, cancelable: true }));
const frame = () => { theme.click(); theme.click(); return scatter.toDataURL(); };
const colorBy = (value) => { menu.value = value; menu.dispatchEvent(new Event('change')); };
const listed = (query) => [...document.querySelectorAll(query)].map((element) => element.textContent);
const sweep = (done) => {
  const area = scatter.getBoundingClientRect();
  for (let y = 4; y < area.height; y += 4) for (let x = 4; x < area.width; x += 4) {
    scatter.dispatchEvent(new PointerEvent('pointermove', { clientX: area.left + x, clientY: area.top + y }));
    if (done()) return;
  }
};
addEventListener('load', () => setTimeout(() => {
  const found = {};
  PROBE;
  found.wrong = wrong;
  document.body.dataset.found = JSON.stringify(found);
}, 800));
</script>"""


def chromium(tmp_path: Path, *flags: str) -> str:
    profile = tmp_path / "profile"
    command = [BROWSER, *FLAGS, f"--user-data-dir={profile}", *flags]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def ask(tmp_path: Path, page: Path, probe: str) -> dict:
    """Open the page, run a script in it, and return what the script stored in ``found``."""
    html = page.read_text(encoding="utf-8").replace("<head>", f"<head>{CATCH}", 1)
    copy = tmp_path / "probed.html"
    copy.write_text(html.replace("</body>", HARNESS.replace("PROBE", probe) + "</body>"), encoding="utf-8")
    dom = chromium(tmp_path, "--window-size=1400,1200", "--dump-dom", copy.as_uri())
    return json.loads(unescape(re.search(r'data-found="([^"]*)"', dom)[1]))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report.build(write_run(tmp_path_factory.mktemp("run"), fabricate(1500, 200, 6)))


def test_the_scatter_offers_groups_quantities_and_genes(tmp_path, page):
    probe = """
        found.bases = listed('#basis option');
        found.sections = [...document.querySelectorAll('#color optgroup')].map((o) => [o.label, o.children.length]);
        found.legend = listed('#legend .name');
    """
    found = ask(tmp_path, page, probe)
    assert found["wrong"] == []
    assert found["bases"] == ["UMAP", "t-SNE", "PCA"]
    assert found["sections"] == [["Groups", 3], ["Quantities", 3], ["Marker genes", 50], ["Other", 1]]
    assert found["legend"] == list("012345")


def test_every_coloring_draws_another_picture_and_hovering_names_a_cell(tmp_path, page):
    probe = """
        const frames = [frame()];
        for (const value of [1, 3, 7]) { colorBy(value); frames.push(frame()); }
        found.different = new Set(frames).size;
        sweep(() => !document.getElementById('hover').hidden);
        found.hover = document.getElementById('hover').innerText;
    """
    found = ask(tmp_path, page, probe)
    assert found["wrong"] == []
    assert found["different"] == 4
    lines = found["hover"].split("\n")
    assert re.fullmatch(r"CELL\d{6}-1", lines[0])
    names = [
        "Cluster",
        "Label (cell_type)",
        "Sample",
        "Library size",
        "Detected genes",
        "Mitochondrial share",
    ]
    assert [line.split(":")[0] for line in lines[1:-1]] == names
    assert re.match(r"Gene\d+: \d", lines[-1])


def test_keys_buttons_and_legend_work(tmp_path, page):
    probe = """
        const start = frame();
        press('+'); const zoomed = frame();
        press('ArrowLeft'); const moved = frame();
        press('0');
        found.keys = [zoomed !== start, moved !== zoomed, frame() === start];
        document.querySelector('#legend button').click();
        found.single = frame() !== start;
        found.pressed = [...document.querySelectorAll('#legend button')].map((b) => b.getAttribute('aria-pressed'));
        document.getElementById('reset').click();
        found.reset = frame() === start;
    """
    found = ask(tmp_path, page, probe)
    assert found["wrong"] == []
    assert found["keys"] == [True, True, True]
    assert found["pressed"] == ["true", *["false"] * 5]
    assert found["single"]
    assert found["reset"]


def test_nothing_from_the_data_runs(tmp_path):
    evil = ["<script>alert(1)</script>", "</script><script>alert(2)</script>", "<img src=x onerror=alert(3)>"]
    adata = fabricate(300, 40, 3, label_names=evil)
    adata.obs_names = [f"<img src=x onerror=alert(4)>{i}" for i in range(adata.n_obs)]
    adata.var_names = [f"<img src=x onerror=alert(5)>{i}" for i in range(adata.n_vars)]
    page = report.build(write_run(tmp_path / "run", adata))
    probe = """
        colorBy(1);
        sweep(() => false);
        found.images = document.images.length;
        found.legend = listed('#legend .name');
    """
    found = ask(tmp_path, page, probe)
    assert found["wrong"] == []
    assert found["images"] == 0
    assert found["legend"] == evil


@pytest.mark.parametrize(
    ("flags", "background"), [([], 255), (["--blink-settings=preferredColorScheme=0"], 0x14)]
)
def test_light_and_dark(tmp_path, page, flags, background):
    picture = tmp_path / "page.png"
    chromium(tmp_path, *flags, "--window-size=1400,1000", f"--screenshot={picture}", page.as_uri())
    pixels = np.rint(imread(picture)[:, :, :3] * 255)
    assert pixels[5, 5, 0] == background
    canvas = pixels[400:900, 300:900].reshape(-1, 3)
    assert (canvas[:, 0] == background).mean() > 0.5
    assert len(np.unique(canvas, axis=0)) > 20  # points in several colors


def test_it_prints(tmp_path, page):
    paper = tmp_path / "page.pdf"
    chromium(tmp_path, "--blink-settings=preferredColorScheme=0", f"--print-to-pdf={paper}", page.as_uri())
    content = paper.read_bytes()
    assert content.startswith(b"%PDF")
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 12


def test_100_000_cells_and_73_types_open(tmp_path):
    names = [f"a rather long name of cell type {i}" for i in range(73)]
    adata = fabricate(100_000, 60, 73, label_names=names)
    page = report.build(write_run(tmp_path / "run", adata, run_record(adata)))
    assert page.stat().st_size < 10_000_000
    found = ask(tmp_path, page, "found.cells = JSON.parse(document.getElementById('cells').textContent).n")
    assert found == {"cells": 20_000, "wrong": []}


def test_a_saved_image_has_title_and_legend(tmp_path, page):
    probe = """
        const saved = [];
        HTMLAnchorElement.prototype.click = function () { saved.push(this); };
        const save = document.getElementById('save');
        save.click(); colorBy(7); save.click();
        found.names = saved.map((link) => link.download);
        found.images = saved.map((link) => link.href);
        found.plot = scatter.width;
    """
    found = ask(tmp_path, page, probe)
    assert found["wrong"] == []
    assert found["names"][0] == "UMAP_Cluster.png"
    plots = []
    for image in found["images"]:
        pixels = imread(io.BytesIO(base64.b64decode(image.split(",")[1])))[:, :, :3]
        assert pixels.shape[1] > found["plot"] + 100
        plots.append(pixels[60:, : found["plot"]])
        legend = pixels[:, found["plot"] :].reshape(-1, 3)
        assert len(np.unique(legend, axis=0)) > 20
    assert not np.array_equal(*plots)


def test_colors_of_clusters_stand_out_in_the_dark(tmp_path):
    page = report.build(write_run(tmp_path / "run", fabricate(600, 40, 10)))
    probe = """
        theme.click();
        found.swatches = [...document.querySelectorAll('[data-color]')].map((s) => getComputedStyle(s).backgroundColor);
    """
    found = ask(tmp_path, page, probe)
    assert len(found["swatches"]) >= 20
    for swatch in found["swatches"]:
        values = np.array([*map(int, re.findall(r"\d+", swatch)[:3]), 0x14, 0x17, 0x1A]).reshape(2, 3) / 255
        linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
        color, ground = linear @ [0.2126, 0.7152, 0.0722]
        assert (color + 0.05) / (ground + 0.05) >= 3
