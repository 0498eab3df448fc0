from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import render
from benchmarks.cli import app
from benchmarks.table import compare, overview, paired, per_set, selections, tidy
from scrae.errors import ScraeError


def record(
    name, method, seed, nmi, ari=0.5, *, k=10, busy=False, agreement=None, own=None, clusterer="kmeans"
):
    scores = {"nmi": nmi, "ari": ari, "ami": nmi - 0.1, "homogeneity": 0.6, "completeness": 0.4}
    return {
        "format": 1,
        "kind": "quality",
        "protocol": "label-free",
        "data": {"name": name, "n_cells": 100},
        "n_latent": 10,
        "method": method,
        "config": {"embedding": {"method": own or method}, "clusterer": {"method": clusterer, "n_init": k}},
        "seed": seed,
        "scores": scores,
        "silhouette": 0.25,
        "seconds": {"embedding": 2.0, "clustering": 0.5},
        "machine": {"busy": busy},
        "seed_agreement": agreement or {},
    }


# Set means of NMI: scrae .8, .6, .7 and pca .7, .65, .5 on a, b, c; on d (kept apart) .1 and .9.
RECORDS = [
    record("a", "scrae", 0, 0.78),
    record("a", "scrae", 1, 0.82, agreement={"0": 0.9}),
    record("b", "scrae", 0, 0.60),
    record("b", "scrae", 1, 0.60, agreement={"0": 0.7}),
    record("c", "scrae", 0, 0.70, busy=True),
    record("d", "scrae", 0, 0.10),
    record("a", "pca", 0, 0.70),
    record("b", "pca", 0, 0.65),
    record("c", "pca", 0, 0.50),
    record("d", "pca", 0, 0.90),
]


def test_the_newest_record_and_config_of_a_method_count():
    changed = [
        record("a", "pca", 0, 0.1, k=3),
        record("b", "pca", 0, 0.2, k=3),
        record("a", "pca", 0, 0.3),
        record("a", "pca", 0, 0.4),
        {**record("a", "pca", 1, 0.9), "kind": "speed"},
        {**record("a", "pca", 2, 0.9), "protocol": "paper"},
    ]
    assert tidy(changed, "label-free")[["set", "seed", "nmi"]].values.tolist() == [["a", 0, 0.4]]
    with pytest.raises(ScraeError, match="expected records of protocol paper, found none"):
        tidy(changed[:4], "paper")


def test_differences_are_paired_over_sets():
    frame = tidy(RECORDS, "label-free")
    found = compare(frame[frame["set"] != "d"], "scrae", "pca", "nmi")
    gaps = np.array([0.1, -0.05, 0.2])
    assert (found.sets, found.wins, found.losses, found.worst_set) == (3, 2, 1, "b")
    assert found.mean == pytest.approx(gaps.mean())
    assert found.worst == pytest.approx(-0.05)
    # All 27 resamples of three gaps: the smallest and the largest mean have a chance of 1/27 > 2.5 % each.
    assert found.low == pytest.approx(-0.05)
    assert found.high == pytest.approx(0.2)


def test_sets_that_one_method_lacks_do_not_count():
    frame = tidy([*RECORDS, record("e", "scrae", 0, 0.99)], "label-free")
    assert compare(frame, "scrae", "pca", "nmi").sets == 4
    lonely = tidy([record("e", "scrae", 0, 0.9), record("f", "pca", 0, 0.9)], "label-free")
    with pytest.raises(ScraeError, match="sets with records of both scrae and pca, found none"):
        compare(lonely, "scrae", "pca", "nmi")


def test_the_best_peer_is_the_best_of_each_set_without_own_methods():
    others = [
        record("a", "leiden", 0, 0.75),
        record("b", "leiden", 0, 0.5),
        record("c", "leiden", 0, 0.6),
        record("a", "scrae-paper", 0, 0.99),
        record("a", "ae", 0, 0.99),
        record("a", "scrae:gmm", 0, 0.99, own="scrae"),
        record("a", "pca:scrae", 0, 0.99, own="pca", clusterer="scrae"),
    ]
    frame = tidy([*RECORDS, *others], "label-free")
    found = compare(frame[frame["set"] != "d"], "scrae", "best-peer", "nmi")
    assert found.mean == pytest.approx(np.mean([0.05, -0.05, 0.1]))
    # A peer itself is held against the other peers.
    against_others = compare(frame[frame["set"] != "d"], "leiden", "best-peer", "nmi")
    assert against_others.mean == pytest.approx(np.mean([0.05, -0.15, 0.1]))


def test_scores_by_set_with_one_apart():
    table = per_set(tidy(RECORDS, "label-free"), "nmi", ["d"])
    assert table.header == ["method", "a", "b", "c", "mean of sets", "(d)"]
    assert table.rows == [
        ["scrae", "0.800 ± 0.028", "0.600 ± 0.000", "0.700", "0.700", "0.100"],
        ["pca", "0.700", "0.650", "0.500", "0.617", "0.900"],
    ]
    assert table.note == "The mean is without d."


def test_a_mean_over_sets_needs_all_sets():
    table = per_set(tidy(RECORDS[:-2], "label-free"), "nmi", ["d"])
    assert table.rows[1] == ["pca", "0.700", "0.650", "", "", ""]


def test_overview_of_scores_stability_and_time():
    table = overview(tidy(RECORDS, "label-free"), ["d"])
    scrae = dict(zip(table.header, table.rows[0], strict=True))
    assert scrae == {
        "method": "scrae",
        "sets": "3",
        "seeds": "1-2",
        "NMI": "0.700 ± 0.100",
        "ARI": "0.500 ± 0.000",
        "AMI": "0.600",
        "homog.": "0.600",
        "compl.": "0.400",
        "silh.": "0.250",
        "NMI sd of seeds (worst)": "0.014 (0.028 a)",
        "seed ARI": "0.800",
        "seconds": "~2.5",
    }
    pca = dict(zip(table.header, table.rows[1], strict=True))
    assert (pca["seeds"], pca["seed ARI"], pca["seconds"]) == ("1", "", "2.5")


def test_table_of_differences():
    table = paired(tidy(RECORDS, "label-free"), "pca", ["d"])
    assert table.rows == [
        ["scrae", "+0.083 [-0.050, +0.200]", "2/3", "-0.050 b", "+0.000 [+0.000, +0.000]", "0/3", "+0.000 a"]
    ]
    with pytest.raises(ScraeError, match=r"a method with records \(best-peer, pca, scrae\), found 'umap'"):
        paired(tidy(RECORDS, "label-free"), "umap", [])


def test_markdown():
    table = render.Table("Title", ["method", "x"], [["a", "1"], ["b", "2"]], "A note.")
    assert render.markdown(table) == (
        "**Title**\n\n| method | x |\n|---|---:|\n| a | 1 |\n| b | 2 |\n\nA note.\n"
    )


def test_the_table_command(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in RECORDS))
    options = ["table", str(path), "--apart", "d", "--against", "pca", "--metrics", "nmi"]
    shown = CliRunner().invoke(app, [*options, "--markdown"])
    assert shown.exit_code == 0, shown.output
    assert "| pca | 0.700 | 0.650 | 0.500 | 0.617 | 0.900 |" in shown.output
    assert "Against pca: paired over sets" in shown.output
    drawn = CliRunner().invoke(app, options)
    assert "0.800 ± 0.028" in drawn.output
    only = CliRunner().invoke(app, ["table", str(path), "--only", "pca", "--markdown"])
    assert "scrae" not in only.output


def test_methods_are_listed():
    listed = CliRunner().invoke(app, ["methods"])
    assert "leiden-k is short for pca50:leiden-k" in listed.output


def of_genes(name, selector, number, seed, nmi, *, used):
    base = record(name, f"scrae@{selector}+n_top_genes={number}", seed, nmi, own="scrae")
    base["config"]["embedding"] |= {"gene_selection": selector, "n_top_genes": number}
    return {**base, "facts": {"n_genes_used": used}}


GENES = [
    of_genes("a", "m3drop", 720, 0, 0.5, used=720),
    of_genes("b", "m3drop", 720, 0, 0.7, used=720),
    of_genes("a", "nbumi", 720, 0, 0.8, used=720),
    of_genes("b", "nbumi", 720, 0, 0.9, used=720),
    of_genes("a", "m3drop", 3000, 0, 0.1, used=900),
    of_genes("b", "m3drop", 3000, 0, 0.99, used=3000),
    of_genes("b", "m3drop", 500, 0, 0.2, used=500),
]


def test_selections_by_number_and_no_set_that_has_fewer_genes():
    table = selections(tidy(GENES, "label-free"), "nmi", [])
    assert table.header == ["method", "genes by", "number", "a", "b", "mean of sets"]
    assert [row[1:] for row in table.rows] == [
        ["m3drop", "500", "", "0.200", ""],
        ["nbumi", "720", "0.800", "0.900", "0.850"],
        ["m3drop", "720", "0.500", "0.700", "0.600"],
        ["m3drop", "3000", "", "0.990", ""],
    ]
    assert table.note == "Empty: not run, or the set has fewer genes."


def test_the_command_of_selections(tmp_path):
    path = tmp_path / "genes.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in GENES))
    done = CliRunner().invoke(app, ["genes", str(path), "--metrics", "nmi", "--markdown"])
    assert "| scrae@nbumi+n_top_genes=720 | nbumi | 720 | 0.800 | 0.900 | 0.850 |" in done.output
