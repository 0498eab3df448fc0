from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from helpers.fabricated import fabricate, run_record, write_run
from matplotlib.image import imread
from scipy import stats

from scrae import report, tl

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
addEventListener('load', () => setTimeout(async () => {
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
        const parts = (name) => document.querySelector(`[data-part="${name}"]`);
        const text = async (link) => (await fetch(link.href)).text();
        parts('svg').click(); colorBy(7); parts('svg').click(); parts('png').click();
        await new Promise((done) => setTimeout(done, 400));
        found.names = saved.map((link) => link.download);
        found.svg = [await text(saved[0]), await text(saved[1])];
        found.png = await new Promise(async (done) => {
          const reader = new FileReader();
          reader.onload = () => done(reader.result);
          reader.readAsDataURL(await (await fetch(saved[2].href)).blob());
        });
    """
    found = ask(tmp_path, page, probe)
    assert found["wrong"] == []
    assert found["names"][0] == "UMAP_Cluster.svg"
    gene = found["names"][1].removesuffix(".svg")
    assert found["names"][2] == f"{gene}.png"
    groups, expression = map(ElementTree.fromstring, found["svg"])
    space = "{http://www.w3.org/2000/svg}"
    assert next(t.text for t in groups.iter(f"{space}text")) == "UMAP, Cluster"
    assert len(list(groups.iter(f"{space}circle"))) == 6
    drawn = [path.get("d").count("h0") for path in groups.iter(f"{space}path")]
    assert sorted(drawn) == sorted(fabricate(1500, 200, 6).obs["scrae"].value_counts())
    assert "log-normalized" in [t.text for t in expression.iter(f"{space}text")]
    assert len(list(expression.iter(f"{space}rect"))) > 90  # the color bar
    pixels = imread(io.BytesIO(base64.b64decode(found["png"].split(",")[1])))[:, :, :3]
    assert pixels.shape[1] == 2 * round(float(expression.get("width")))
    legend = pixels[:, -2 * 180 :].reshape(-1, 3)
    assert len(np.unique(legend, axis=0)) > 20


def test_a_gene_is_typed(tmp_path, page):
    probe = """
        const box = document.querySelector('[data-part="gene"]'), said = document.getElementById('said');
        const type = (name) => { box.value = name; box.dispatchEvent(new Event('change')); };
        const before = frame();
        const last = [...document.querySelectorAll('#gene-names option')].at(-1).value;
        type(last.toLowerCase());
        found.last = last;
        found.title = document.querySelector('#legend .title').textContent;
        found.different = frame() !== before;
        type('gene1xyz');
        found.said = said.textContent;
        found.offered = document.querySelectorAll('#gene-names option').length;
    """
    found = ask(tmp_path, page, probe)
    assert found["wrong"] == []
    assert found["title"] == found["last"]
    assert found["different"]
    assert found["said"].startswith("gene1xyz is not among the ")
    assert found["offered"] >= 100


LASSO = """
    document.getElementById('select').click();
    const area = scatter.getBoundingClientRect();
    const at = (x, y) => ({ pointerId: 1, clientX: area.left + x, clientY: area.top + y });
    const point = (kind, x, y) => scatter.dispatchEvent(new PointerEvent(kind, at(x, y)));
    scatter.setPointerCapture = () => {};
    point('pointerdown', 0, 0);
    for (const [x, y] of [[area.width, 0], [area.width, area.height], [0, area.height]]) point('pointermove', x, y);
    point('pointerup', 0, area.height);
"""


def test_a_lasso_around_all_cells_selects_them(tmp_path, page):
    probe = (
        LASSO
        + """
        found.heading = document.querySelector('#selection h3').textContent;
        const rows = [...document.querySelector('#selection table').tBodies[0].rows];
        found.clusters = rows.map((r) => [...r.cells].map((c) => c.textContent));
    """
    )
    found = ask(tmp_path, page, probe)
    assert found["wrong"] == []
    assert found["heading"] == "1,500 of 1,500 cells selected"
    sizes = fabricate(1500, 200, 6).obs["scrae"].value_counts()
    assert {row[0]: int(row[1].replace(",", "")) for row in found["clusters"]} == sizes.to_dict()


def test_a_selected_cluster_has_its_genes_and_barcodes(tmp_path, page):
    probe = """
        let saved;
        HTMLAnchorElement.prototype.click = function () { saved = this; };
        document.querySelectorAll('#legend button')[2].click();
        document.getElementById('select-named').click();
        const tables = [...document.querySelectorAll('#selection table')];
        const rows = [...tables.at(-1).tBodies[0].rows];
        found.genes = rows.map((r) => [...r.cells].map((c) => c.textContent));
        [...document.querySelectorAll('#selection button')].find((b) => b.textContent.includes('barcodes')).click();
        found.barcodes = (await (await fetch(saved.href)).text()).trim().split('\\n');
    """
    found = ask(tmp_path, page, probe)
    assert found["wrong"] == []
    adata = fabricate(1500, 200, 6)
    cells = (adata.obs["scrae"] == "2").to_numpy()
    assert set(found["barcodes"]) == set(adata.obs_names[cells])
    name, t, change, inside, outside = found["genes"][0]
    x = adata[:, name].X.toarray().ravel().astype(float)
    assert float(t) == pytest.approx(
        stats.ttest_ind(x[cells], x[~cells], equal_var=False).statistic, rel=0.02
    )
    assert float(change) == pytest.approx(
        np.log2((np.expm1(x[cells]).mean() + 0.01) / (np.expm1(x[~cells]).mean() + 0.01)), abs=0.05
    )
    assert inside == f"{100 * (x[cells] > 0).mean():.1f} %"
    assert outside == f"{100 * (x[~cells] > 0).mean():.1f} %"
    programmed = {f"Gene{i}" for i in range(2, 100, 6)}
    assert len({row[0] for row in found["genes"][:8]} & programmed) >= 7


def test_two_pictures_are_side_by_side(tmp_path, page):
    probe = """
        document.getElementById('two').click();
        found.pictures = document.querySelectorAll('.picture').length;
        found.titles = listed('.legend .title');
        const boxes = [...document.querySelectorAll('.picture')].map((p) => p.getBoundingClientRect());
        found.beside = boxes[1].left >= boxes[0].right && boxes[1].right <= innerWidth;
        document.getElementById('two').click();
        found.after = document.querySelectorAll('.picture').length;
    """
    found = ask(tmp_path, page, probe)
    assert found["wrong"] == []
    assert (found["pictures"], found["after"]) == (2, 1)
    assert found["titles"][0] == "Cluster"
    assert found["titles"][1].startswith("Gene")
    assert found["beside"]


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


@pytest.fixture(scope="module")
def cells() -> AnnData:
    return fabricate(1500, 200, 6, levels=True)


@pytest.fixture(scope="module")
def leveled(tmp_path_factory: pytest.TempPathFactory, cells: AnnData) -> Path:
    return report.build(write_run(tmp_path_factory.mktemp("levels"), cells))


LEVEL = """
    const texts = (query) => [...document.querySelectorAll(query)].map((r) => [...r.cells].map((c) => c.textContent));
    const shown = (query) => document.querySelector(query)?.offsetParent !== null;
    const at = (k) => { level.value = k; level.dispatchEvent(new Event('change')); };
"""


@pytest.mark.parametrize("k", [4, 11])
def test_map_and_tables_follow_the_number_of_clusters(tmp_path, leveled, cells, k):
    probe = (
        LEVEL
        + f"""
        const before = frame();
        at({k});
        found.changed = frame() !== before;
        found.legend = listed('#legend .name');
        found.counts = listed('#legend .count');
        found.table = texts('#cluster-table tbody tr');
        found.labels = texts('#label-table tbody tr');
        found.heads = texts('#label-table thead tr')[0];
        found.plotted = document.querySelectorAll('#plot svg path').length > 0;
        found.tables = [...document.querySelectorAll('#level-markers tbody')]
          .map((t) => [...t.rows].map((r) => [...r.cells].map((c) => c.textContent)));
        found.run = shown('#markers .of-run');
        found.note = document.getElementById('level-note').textContent;
        document.getElementById('level-run').click();
        found.back = [frame() === before, shown('#markers .of-run'), texts('#cluster-table tbody tr').length];
    """
    )
    found = ask(tmp_path, leveled, probe)
    adata = cells.copy()
    tl.cut_tree(adata, k, cluster_key="scrae_fine", key_added="cut")
    tl.markers(adata, cluster_key="cut")
    sizes = adata.obs["cut"].value_counts(sort=False)
    assert found["wrong"] == []
    assert found["changed"]
    assert found["plotted"]
    assert not found["run"]
    assert found["back"] == [True, True, 6]
    assert found["legend"] == list(sizes.index)
    assert [int(size.replace(",", "")) for size in found["counts"]] == sizes.tolist()

    counts = adata.obs.groupby("cut", observed=False)["scrae_n_counts"].median()
    labels = pd.crosstab(adata.obs["cell_type"], adata.obs["cut"])
    for row, name in zip(found["table"], sizes.index, strict=True):
        assert row[0] == name
        assert row[3] == f"{round(counts[name]):,}"
        assert row[5].split("\xa0")[0].rsplit(" ", 1)[0] == labels[name].idxmax()
    assert found["heads"] == ["Label", "Cells", *sizes.index]
    for row in found["labels"]:
        share = 100 * labels.loc[row[0]] / labels.loc[row[0]].sum()
        assert [float(text or 0) for text in row[2:]] == pytest.approx(
            share.where(share >= 0.5, 0).to_numpy(), abs=0.51
        )
    assert f"--cut {k}" in found["note"]
    assert ("divided" in found["note"]) == (k > 6)

    table = adata.uns["cut"]["markers"]
    for name, rows in zip(sizes.index, found["tables"], strict=True):
        best = table[table["cluster"] == name].set_index("gene")
        most = len(set(best.index[:10]) & {row[0] for row in rows})
        assert most >= 0.7 * min(10, len(best)), name
        for gene, auroc, change, inside, _ in rows:
            if gene in best.index:
                assert float(auroc) == pytest.approx(best["auroc"][gene], abs=0.03)
                assert float(change) == pytest.approx(best["log2_fold_change"][gene], abs=0.4)
                assert float(inside[:-2]) == pytest.approx(100 * best["share_in"][gene], abs=0.51)


def test_chosen_genes_are_drawn_as_violins_and_dots(tmp_path, leveled, cells):
    table = cells.uns["scrae"]["markers"]
    other = table["gene"][table["cluster"] == "0"].iloc[0]
    probe = """
        const box = document.getElementById('plot-genes');
        const type = (names) => { box.value = names; box.dispatchEvent(new Event('change')); };
        type('gene3, OTHER nonsense');
        found.said = document.getElementById('plot-said').textContent;
        found.violins = document.getElementById('plot').innerHTML;
        const gene = page.explore.geneIndex.get('gene3'), group = page.explore.data.groups[0];
        const sizes = page.explore.tally(group.codes, 6), unit = page.explore.unit(gene);
        found.density = expression.density(page.explore.counted(gene, group.codes, sizes)[3], unit);
        document.getElementById('plot-dots').click();
        found.dots = document.getElementById('plot').innerHTML;
    """.replace("OTHER", other)
    found = ask(tmp_path, leveled, probe)
    assert found["wrong"] == []
    assert found["said"] == "Not among the genes in this page: nonsense."
    space = "{http://www.w3.org/2000/svg}"
    violins, dots = map(ElementTree.fromstring, (found["violins"], found["dots"]))
    assert len(list(violins.iter(f"{space}path"))) == 12
    assert {"Gene3", other} <= {t.text for t in violins.iter(f"{space}text")}

    x = cells[cells.obs["scrae"] == "3", "Gene3"].X.toarray().ravel().astype(float)
    places, heights = np.array(found["density"]).T
    assert [places[0], places[-1]] == pytest.approx([x.min(), x.max()], abs=x.max() / 62)
    # values are rounded to 31 steps: compared at the scale of the highest density
    np.testing.assert_allclose(
        heights, stats.gaussian_kde(x)(places), atol=0.06 * stats.gaussian_kde(x)(places).max()
    )

    radii = sorted(float(circle.get("r")) for circle in dots.iter(f"{space}circle"))
    share = [
        (cells[cells.obs["scrae"] == name, gene].X.toarray() > 0).mean()
        for name in cells.obs["scrae"].cat.categories
        for gene in ("Gene3", other)
    ]
    assert radii == pytest.approx(sorted(8.3 * np.sqrt(s) for s in share if s >= 0.01), abs=0.01)
