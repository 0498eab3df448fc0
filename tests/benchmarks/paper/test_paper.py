"""The paper's evaluation: what is run, Tables 2 to 5 by hand, and figures that are drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import embeddings, methods, quality, records
from benchmarks.cli import app
from benchmarks.methods import parse_method
from benchmarks.paper import figures, plan, tables
from benchmarks.run import run
from scrae.errors import ScraeError


def record(name, method, nmi, *, seed=0, busy=False, n_cells=100, seconds=2.0, protocol="label-free"):
    parsed = parse_method(method)
    return {
        "format": 1,
        "kind": "quality",
        "protocol": protocol,
        "data": {"name": name, "n_cells": n_cells, "sha256": name},
        "method": method,
        "config": parsed.config,
        "code": "1",
        "seed": seed,
        "scores": {"nmi": nmi, "ari": nmi - 0.1, "ami": nmi, "homogeneity": nmi, "completeness": nmi},
        "silhouette": None,
        "seconds": {"embedding": seconds, "clustering": 0.5},
        "machine": {"busy": busy},
        "facts": {"n_genes_used": parsed.embedding_config["n_top_genes"]},
        "n_latent": parsed.embedding_config.get("n_latent", 10),
        "seed_agreement": {},
    }


def on(system, *, genes="seurat", number=720, latent=10):
    return f"{system}@{genes}+n_top_genes={number}+n_latent={latent}"


RECORDS = [
    record("klein", on("scrae-paper"), 0.80),
    record("klein", on("scrae-paper"), 0.90, seed=1),
    record("han", on("scrae-paper"), 0.65, n_cells=300),
    record("cao", on("scrae-paper"), 0.10, n_cells=900, seconds=7.0),  # sczidesk has no cao
    record("klein", on("sczidesk"), 0.70, busy=True, seconds=5.0),
    record("han", on("sczidesk"), 0.60, n_cells=300),
    record("klein", on("sczidesk", latent=2), 0.50),
    record("klein", "sczidesk", 0.99),  # its own genes: not the paper's
    record("klein", on("sczidesk") + ":self", 0.99),  # its own clusters: not the paper's
    record("klein", on("scrae-paper", genes="m3drop"), 0.87),
    record("klein", on("scrae-paper", number=500), 0.71),
    record("klein", on("scrae-paper", number=500, latent=2), 0.61),
]


def row(table, *start):
    (found,) = [r for r in table.rows if tuple(r[: len(start)]) == start]
    return dict(zip(table.header, found, strict=True))


@pytest.fixture
def frame():
    return tables.frame_of(RECORDS, "label-free")


def test_table_2_is_over_the_sets_that_all_systems_have(frame):
    table = tables.table_2(frame)
    assert table.header == ["latent", "sets", *plan.TABLE_2[2]]
    theirs, ours = row(table, "10", "paper, 10 sets"), row(table, "10", "ours, han, klein")
    assert (theirs["scRAE"], theirs["scziDesk"]) == ("0.709", "0.643")
    assert (ours["scRAE"], ours["scziDesk"]) == ("0.750", "0.650")
    few = row(table, "2", "ours, klein")
    assert (few["scRAE"], few["scziDesk"], few["DR-A"]) == ("", "0.500", "")
    assert row(tables.table_2(frame, "ari"), "10")["scRAE"] == "0.650"


def test_table_2_goes_on_with_the_systems_that_have_more_sets():
    more = [record(name, on("dra"), nmi) for name, nmi in (("klein", 0.6), ("han", 0.4), ("cao", 0.2))]
    table = tables.table_2(tables.frame_of([*RECORDS, *more], "label-free"))
    assert [r[1] for r in table.rows if r[0] == "10"] == [
        "paper, 10 sets", "ours, han, klein", "ours, cao, han, klein"
    ]  # fmt: skip
    all_three = row(table, "10", "ours, cao, han, klein")
    assert (all_three["scRAE"], all_three["DR-A"], all_three["scziDesk"]) == ("0.533", "0.400", "")


def test_table_3_is_by_selection(frame):
    table = tables.selection(frame)
    assert row(table, "M3Drop", "ours, klein")["scRAE"] == "0.870"
    assert row(table, "M3Drop", "paper, klein and baron")["scziDesk"] == "0.786"
    assert row(table, "HVG", "ours, klein")["scRAE"] == "0.850"
    assert [r[0] for r in table.rows] == ["HVG", "HVG", "SCMarker", "M3Drop", "M3Drop"]


def test_table_4_has_the_smallest_and_the_largest_set_and_tells_of_shared_machines(frame):
    table = tables.run_time(frame)
    assert [r[0] for r in table.rows] == [
        "Klein-2k (paper)", "Rosenberg-156k (paper)", "klein, 100 cells", "cao, 900 cells"
    ]  # fmt: skip
    assert row(table, "klein, 100 cells", "shared machine")["scziDesk"] == "5"
    assert row(table, "cao, 900 cells", "")["scRAE"] == "7"
    assert row(table, "Klein-2k (paper)")["scRAE"] == "273"


def test_table_5_is_by_number_of_genes(frame):
    assert row(tables.number_of_genes(frame, 2), "klein", "ours")["500"] == "0.610"
    assert row(tables.number_of_genes(frame, 2), "klein", "paper")["700"] == "0.828"
    assert tables.number_of_genes(frame, 10).rows == [["klein", "ours", "0.710", "", "", "", "", ""]]
    assert tables.number_of_genes(frame, 20).rows == []
    with_default = tables.frame_of([*RECORDS, record("klein", on("scrae", number=600), 0.72)], "label-free")
    assert tables.number_of_genes(with_default, 10).rows == [
        ["klein", "ours", "0.710", "", "", "", "", ""],
        ["klein", "ours, default", "", "0.720", "", "", "", ""],
    ]


def test_every_run_is_in_the_table_by_set(frame):
    table = tables.by_set(frame)
    assert table.header == ["set", "latent", "scRAE", "scziDesk"]
    assert table.rows == [
        ["cao", "10", "0.100", ""],
        ["han", "10", "0.650", "0.600"],
        ["klein", "2", "", "0.500"],
        ["klein", "10", "0.850", "0.700"],
    ]


def test_the_plan_names_what_the_paper_ran():
    latent = plan.method_names("latent", ["DR-A", "saucie"], [2, 10])
    assert latent == [on("dra", latent=2), on("saucie", latent=2), on("dra"), on("saucie")]
    assert len(plan.method_names("selection", ["dra", "saucie"], [10])) == 6
    numbers = plan.method_names("genes", ["scrae-paper", "dra"], [2])
    assert numbers[0] == on("scrae-paper", number=500, latent=2)
    assert len(numbers) == 6
    for experiment in plan.EXPERIMENTS:
        for name in plan.method_names(experiment, plan.SYSTEMS, plan.LATENT):
            assert parse_method(name).clusterer == "kmeans"
    with pytest.raises(ScraeError, match=r"expected an experiment among latent, .*, found 'speed'"):
        plan.method_names("speed", ["dra"], [2])
    with pytest.raises(ScraeError, match=r"expected a system among scrae-paper, .*, found 'pca50'"):
        plan.method_names("latent", ["pca50"], [2])


def test_the_papers_published_means_are_whole():
    for published in (*plan.TABLE_2.values(), *plan.TABLE_3.values(), *plan.TABLE_4.values()):
        assert set(published) < set(plan.SYSTEMS)
        assert len(published) == 7
    assert plan.TABLE_5["macosko"][800] == 0.5507


def embed(counts, *, n_clusters, seed, config, device):
    """Sums of each type's ten genes, as many as the config has dimensions."""
    assert n_clusters == 3
    sums = np.stack([np.asarray(counts.X[:, k : k + 10].sum(axis=1)).ravel() for k in (0, 10, 20)], axis=1)
    codes = np.tile(sums, (1, 7))[:, : config["n_latent"]].astype(np.float32)
    return embeddings.Embedding(codes, {"n_genes_used": config["n_top_genes"]})


def each_epoch(counts, *, n_clusters, seed, config, device):
    test = embeddings.split_cells(counts.n_obs, seed)[1]
    found = embed(counts[test], n_clusters=n_clusters, seed=seed, config=config, device=device)
    return embeddings.EpochCodes(test, [found.codes * 0, found.codes], found.facts)


# 2 systems on 2 sets at 2 sizes; on klein 2 selections more; 6 numbers of genes at 2 sizes on 2 sets
@pytest.mark.parametrize(
    ("protocol", "what", "n_runs"),
    [("label-free", "latent,selection,genes", 8 + 4 + 24), ("paper", "latent", 8)],
)
def test_from_sets_to_tables_and_figures(sets: Path, tmp_path: Path, monkeypatch, protocol, what, n_runs):
    defaults = {"genes": "seurat", "n_top_genes": 720, "n_latent": 10}
    for name in ("scrae-paper", "dra"):
        known = methods.EmbeddingMethod(
            embed=embed, defaults=defaults, code=lambda: "1", each_epoch=each_epoch
        )
        monkeypatch.setitem(methods.EMBEDDINGS, name, known)
    monkeypatch.setattr(quality, "run_apart", run)
    (sets / "small.h5ad").rename(sets / "klein.h5ad")
    file, cache, pictures = tmp_path / "paper.jsonl", tmp_path / "cache", tmp_path / "figures"

    def call(*arguments):
        done = CliRunner().invoke(app, ["paper", *map(str, arguments)], catch_exceptions=False)
        assert done.exit_code == 0
        return done.output

    how = ("--protocol", protocol)
    arguments = ["run", "--data", sets, "-o", file, "--cache", cache, *how, "--systems", "scrae-paper,dra"]
    arguments += ["--latent", "2,10", "--what", what]
    text = call(*arguments)
    assert len(records.read(file)) == n_runs
    assert "[8/8]" in text
    assert call(*arguments) == ""

    shown = call("tables", file, *how, "--markdown")
    assert "| 10 | ours, klein, large | 1.000 |  |  |  | 1.000 |" in shown
    assert ("Table 5: NMI of scRAE by number of genes, 10 latent dimensions" in shown) == ("genes" in what)
    call("figures", file, "--data", sets, "--cache", cache, "-o", pictures, *how, "--set", "large")
    assert {path.stem for path in pictures.iterdir()} == {f"figure{i}" for i in range(2, 9)}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures.iterdir())


def test_bars_show_means_and_seeds(frame):
    figure = figures.bars(frame, "nmi", (10,))
    (panel,) = figure.axes
    assert [label.get_text() for label in panel.get_xticklabels()] == ["klein", "han", "cao"]
    first = panel.containers[1] if panel.containers[0].get_label() != "scRAE" else panel.containers[0]
    assert [bar.get_height() for bar in first] == pytest.approx([0.85, 0.65, 0.10])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["scRAE", "scziDesk"]


def test_pictures_are_of_the_fifth_that_the_paper_draws(sets: Path, tmp_path: Path):
    labels = np.array(["a", "b", None, "a"], dtype=object)
    points = np.arange(8, dtype=np.float32).reshape(4, 2)
    figure = figures.latent_pictures({"DR-A": points}, labels)
    drawn = figure.axes[0].collections[0]
    np.testing.assert_allclose(sorted(drawn.get_offsets()[:, 0]), [0, 2, 4, 6])
    assert len({tuple(colour) for colour in drawn.get_facecolors()}) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    # No codes in the cache: nothing is drawn.
    large = [{**one, "data": {**one["data"], "name": "large"}} for one in RECORDS]
    frame = tables.frame_of(large, "label-free").assign(n_cells=90)
    assert figures.pictures(frame, large, sets, tmp_path, None) == {}
