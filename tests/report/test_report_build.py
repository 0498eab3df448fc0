from __future__ import annotations

import itertools
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from helpers.fabricated import fabricate, run_record, write_run

from scrae import pl, report, tl
from scrae.errors import ScraeError

VOID = {"meta", "link", "br", "img", "input"}
SECTIONS = [
    "map",
    "clusters",
    "markers",
    "expression",
    "labels",
    "number",
    "stability",
    "quality",
    "genes",
    "training",
    "record",
]


class Page(HTMLParser):
    """The elements of a page in order, and the text of each kind."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"{tag} closes another element"

    def handle_data(self, data):
        if data.strip():
            self.text.append((self.open[-1] if self.open else "", " ".join(data.split())))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]

    def texts(self, *tags: str) -> list[str]:
        return [text for tag, text in self.text if tag in tags]


def build(folder, adata, record=None) -> str:
    return report.build(write_run(folder, adata, record)).read_text(encoding="utf-8")


def test_the_page_has_every_section_and_the_numbers(page):
    parsed = Page(page)
    assert [attrs["id"] for attrs in parsed.all("section")] == SECTIONS
    assert [attrs["href"] for attrs in parsed.all("a")][1:] == [f"#{name}" for name in SECTIONS]
    obs = fabricate().obs
    counts, genes = (f"{round(obs[key].median()):,}" for key in ("scrae_n_counts", "scrae_n_genes"))
    figures = dict(
        zip(
            parsed.texts("dt"),
            [text for text in parsed.texts("dd") if re.match(r"^[\d.,]+( s)?$", text)],
            strict=True,
        )
    )
    assert figures == {
        "cells": "400", "counts per cell": counts, "genes per cell": genes, "clusters": "5", "run time": "28.0 s",
        "NMI": "0.812", "ARI": "0.746",
        "AMI": "0.810", "Homogeneity": "0.822", "Completeness": "0.803", "Subsamples": "0.950",
    }  # fmt: skip
    assert "of 412" in page
    assert "12 genes seen in fewer than 10 cells were dropped." in parsed.texts("li")
    assert "Training ended after 24 epochs: held-out likelihood did not improve for 7 epochs" in page
    assert "scrae run cells.h5ad -o out --label-key cell_type" in parsed.texts("code")
    assert "2.13.0" in parsed.texts("td")
    assert "All 400 cells are shown." in page


def test_the_page_is_well_formed_and_accessible(page):
    parsed = Page(page)
    assert parsed.open == []
    identities = [attrs["id"] for _, attrs in parsed.elements if "id" in attrs]
    assert len(identities) == len(set(identities))
    levels = [int(tag[1]) for tag, _ in parsed.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert len(parsed.all("caption")) == len(parsed.all("table")) > 8
    assert all(attrs.get("type") == "button" for attrs in parsed.all("button"))
    pictures = [attrs for attrs in parsed.all("svg") + parsed.all("canvas") if attrs.get("role") == "img"]
    assert len(pictures) >= 12
    assert all(attrs["aria-label"] for attrs in pictures)
    assert parsed.all("html")[0]["lang"] == "en"
    labelled = {attrs["aria-labelledby"] for attrs in parsed.all("section")}
    assert labelled <= set(identities)


def test_the_page_needs_no_network(page):
    assert not re.search(r"""(?:src|href)\s*=\s*["']?\s*(?:https?:)?//""", page)
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    assert "fetch(" not in page
    parsed = Page(page)
    assert [attrs for attrs in parsed.all("link") if not attrs["href"].startswith("data:")] == []


def test_names_from_the_data_are_text(tmp_path):
    evil = [
        "<script>alert(1)</script>",
        "</script><img src=x onerror=alert(2)>",
        "{{ 7 * 7 }}",
        "a & \"b\" 'c'",
        "-->",
    ]
    adata = fabricate(label_names=evil)
    adata.obs = adata.obs.rename(columns={"cell_type": "<b>type"})
    adata.obs_names = [f"<i>{name}" for name in adata.obs_names]
    adata.var_names = [f"<u>{name}" for name in adata.var_names]
    adata.obs["scrae"] = adata.obs["scrae"].cat.rename_categories(lambda name: f"<s>{name}")
    tl.markers(adata)
    adata.obs["sample"] = adata.obs["sample"].cat.rename_categories(["</script>", "<!--"])
    adata.uns["scrae"]["notes"] = ["<em>note"]
    adata.uns["scrae"]["warnings"] = ["</script><script>alert(3)"]
    adata.uns["scrae"]["gene_selection"]["method"] = "<q>"
    adata.uns["scrae"]["train"]["stopped_because"] = "<mark>"
    record = run_record(adata) | {"label_key": "<b>type", "command": "<kbd>", "device": "<var>"}
    record["input"]["path"] = "<ins>.h5ad"
    record["config"]["<del>"] = {"<sub>": "<sup>"}
    html = build(tmp_path, adata, record)
    parsed = Page(html)
    assert [attrs.get("id") for attrs in parsed.all("script")] == ["cells", None]
    for tag in ("img", "b", "i", "u", "s", "em", "q", "mark", "kbd", "var", "ins", "del", "sub", "sup"):
        assert parsed.all(tag) == [], tag
    assert "<ins>.h5ad" in parsed.texts("h1")
    assert "<em>note" in parsed.texts("li")
    assert set(evil) <= set(parsed.texts("th"))
    data = json.loads(
        re.search(r'<script type="application/json" id="cells">(.*?)</script>', html, re.DOTALL)[1]
    )
    assert data["groups"][1]["categories"] == evil
    assert data["cells"][0].startswith("<i>CELL")


def test_without_labels_and_optional_parts_the_page_is_shorter(tmp_path):
    adata = fabricate()
    adata.uns["scrae"] = {}
    adata.obsm.clear()
    adata.var = adata.var[[]]
    adata.obs = adata.obs[[]]
    html = build(tmp_path, adata, {"seconds": None, "scores": None, "config": None, "input": None})
    assert [attrs["id"] for attrs in Page(html).all("section")] == ["quality", "record"]
    assert '<script type="application/json" id="cells">null</script>' in html


@pytest.mark.parametrize(
    "part", ["notes", "filter", "gene_selection", "history", "train", "clusters", "scores"]
)
def test_each_part_may_be_missing(tmp_path, part):
    adata = fabricate(80, 20, 3)
    del adata.uns["scrae"][part]
    record = run_record(adata)
    ids = [attrs["id"] for attrs in Page(build(tmp_path, adata, record)).all("section")]
    gone = {"history": "training", "clusters": "number", "gene_selection": "genes"}.get(part)
    assert ids == [name for name in SECTIONS if name != gone]


def test_a_given_number_of_clusters(tmp_path):
    adata = fabricate(80, 20, 3)
    adata.uns["scrae"]["clusters"] = {"n_clusters": 3, "method": "kmeans"}
    html = build(tmp_path, adata)
    assert "3 clusters, by K-means on the latent representation. The number was set by the user." in html
    assert "as asked" in html


def test_several_inputs_are_all_named(tmp_path):
    adata = fabricate(80, 20, 3)
    record = run_record(adata)
    record["input"] |= {"path": ["runs/a.h5", "runs/b.h5"], "sha256": ["11", "22"]}
    html = build(tmp_path, adata, record)
    assert "a.h5, b.h5" in Page(html).texts("h1")
    assert "runs/a.h5, runs/b.h5" in html


def test_filters_say_what_they_dropped(tmp_path):
    adata = fabricate(80, 20, 3)
    adata.uns["scrae"]["filter"] |= {
        "min_counts": None,
        "max_mito": 0.05,
        "cells_dropped": {"min_genes": 9, "max_mito": 1234},
    }
    assert (
        "Filters: min genes 1 (9 cells removed), max mito 0.05 (1,234 cells removed), min cells 10."
        in build(tmp_path, adata)
    )


def test_a_large_set_stays_small(tmp_path):
    adata = fabricate(30_000, 60, 20)
    path = report.build(write_run(tmp_path, adata))
    assert path.stat().st_size < 4_000_000
    assert "20,000 of 30,000 cells are shown" in path.read_text(encoding="utf-8")


def test_the_same_run_gives_the_same_page(tmp_path):
    adata = fabricate(80, 20, 3)
    assert build(tmp_path, adata) == build(tmp_path, adata)


class TestErrors:
    def test_an_unfinished_folder(self, tmp_path):
        with pytest.raises(ScraeError, match=r"found no result\.h5ad in .*; run scrae first"):
            report.build(tmp_path)
        write_run(tmp_path, fabricate(40, 10, 2))
        (tmp_path / "run.json").unlink()
        with pytest.raises(ScraeError, match=r"found no run\.json"):
            report.build(tmp_path)

    @pytest.mark.parametrize(
        ("text", "message"), [("{", "expected JSON in .*run.json"), ("[]", "JSON object .* found a list")]
    )
    def test_a_broken_record(self, tmp_path, text, message):
        write_run(tmp_path, fabricate(40, 10, 2))
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(ScraeError, match=message):
            report.build(tmp_path)

    def test_a_broken_result(self, tmp_path):
        write_run(tmp_path, fabricate(40, 10, 2))
        (tmp_path / "result.h5ad").write_bytes(np.arange(100).tobytes())
        with pytest.raises(ScraeError, match=r"result\.h5ad could not be read as h5ad; it is damaged"):
            report.build(tmp_path)


def test_quality_before_and_after(tmp_path):
    adata = fabricate()
    before = {"edges": np.geomspace(1, 1000, 49), "cells": np.arange(48)}
    adata.uns["scrae"]["before_filter"] = {"scrae_n_counts": before}
    assert ">before the filters</text>" in build(tmp_path / "a", adata)
    adata.uns["scrae"]["filter"] |= {"n_cells_before": adata.n_obs}
    assert "before the filters</text>" not in build(tmp_path / "b", adata)


def test_the_axes_of_the_gene_plot_are_those_of_the_figure(tmp_path):
    adata = fabricate(80, 20, 3)
    adata.uns["scrae"]["gene_selection"] |= {"method": "seurat", "statistic_name": "normalized dispersion"}
    figure = pl.gene_selection(adata)
    texts = Page(build(tmp_path, adata)).texts("text")
    assert figure.get_xlabel() == "log1p of the mean per cell"
    assert {figure.get_xlabel(), figure.get_ylabel()} <= set(texts)
    assert "mean per cell" not in texts


def test_the_quality_section_has_limits_by_sample(page: str):
    assert "Limits for outliers, by <code>sample</code>" in page
    assert "cells are outliers by median absolute deviation" in page
