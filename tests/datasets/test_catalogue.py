"""The paper's table, the list that shows it, and files found by their names."""

from __future__ import annotations

import re

import pytest
from helpers.served import command

from scrae.datasets import CATALOGUE, convert
from scrae.errors import ScraeError


def test_the_catalogue_is_the_paper_s_table():
    sizes = {name: (entry.cells, entry.types) for name, entry in CATALOGUE.items()}
    assert list(CATALOGUE) == [
        "klein", "han", "zeisel", "segerstolpe", "cao", "baron", "macosko", "zheng68k", "zheng73k", "rosenberg",
    ]  # fmt: skip
    assert sizes["zheng73k"] == (73233, 8)
    assert sum(cells for cells, _ in sizes.values()) == 367_406


def test_addresses_are_made_from_accessions():
    assert CATALOGUE["klein"].files[1].url == (
        "https://ftp.ncbi.nlm.nih.gov/geo/samples/GSM1599nnn/GSM1599497/suppl/GSM1599497_ES_d2_LIFminus.csv.bz2"
    )
    assert [file.name for file in CATALOGUE["baron"].files] == [
        "GSM2230757_human1_umifm_counts.csv.gz", "GSM2230758_human2_umifm_counts.csv.gz",
        "GSM2230759_human3_umifm_counts.csv.gz", "GSM2230760_human4_umifm_counts.csv.gz",
    ]  # fmt: skip
    assert CATALOGUE["zheng73k"].files[6].url == (
        "https://cf.10xgenomics.com/samples/cell-exp/1.1.0/cd56_nk/cd56_nk_filtered_gene_bc_matrices.tar.gz"
    )
    assert CATALOGUE["cao"].files[0].url == (
        "https://raw.githubusercontent.com/ttgump/scDeepCluster/ff7f29d003be7112c6a3dcab37c44d461423647d/"
        "scRNA-seq%20data/worm_neuron_cell.h5"
    )


def test_only_one_address_is_not_encrypted():
    plain = [file.name for entry in CATALOGUE.values() for file in entry.files if not _https(file.url)]
    assert plain == ["retina_clusteridentities.txt"]


def _https(url: str | None) -> bool:
    return url is None or url.startswith("https://")


def test_checksums_are_whole():
    known = [file.checksum for entry in CATALOGUE.values() for file in entry.files if file.checksum]
    assert len(known) == 4
    for checksum in known:
        assert re.fullmatch("sha256:[0-9a-f]{64}|git:[0-9a-f]{40}", checksum)


def test_the_list_says_how_sets_come(monkeypatch):
    out, ended = command(monkeypatch, "list")
    assert ended == "0: "
    head, *lines = out.splitlines()
    assert head.split() == ["name", "in", "the", "paper", "cells", "genes", "types", "source", "download"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[:10]}
    assert rows["klein"] == ["Klein-2k", "2,717", "24,175", "4", "GSE65525", "trusted"]
    assert rows["cao"][-1] == rows["han"][-1] == rows["zheng68k"][-1] == "checked"
    assert rows["segerstolpe"] == ["Segerstolpe-3k", "3,514", "25,525", "13", "E-MTAB-5061", "by", "hand"]
    assert list(rows) == list(CATALOGUE)
    ends = {
        line.index(cells) + len(cells) for line, (_, cells, *_) in zip(lines, rows.values(), strict=False)
    }
    assert ends == {head.index("cells") + len("cells")}  # numbers end below each other
    assert max(map(len, out.splitlines())) <= 100


def test_a_missing_file_is_named(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ScraeError) as caught:
        convert("zeisel", [tmp_path])
    assert str(caught.value) == (
        "zeisel needs expression_mRNA_17-Aug-2014.txt, as published or unpacked (see http://linnarssonlab.org/cortex); "
        f"given were 'notes.txt', '{tmp_path.name}'."
    )
    with pytest.raises(
        ScraeError, match=r"There is no data set 'pbmc'; there is 'klein', 'han', .*'rosenberg'\."
    ):
        convert("pbmc", [tmp_path])
    with pytest.raises(ScraeError, match="nowhere does not exist"):
        convert("zeisel", [tmp_path / "nowhere"])


def test_a_known_error_is_one_line_of_the_command(monkeypatch, tmp_path):
    _, ended = command(monkeypatch, "convert", "klein", tmp_path)
    assert ended.startswith("1: scrae: klein needs GSM1599494_ES_d0_main.csv.bz2 and ")
    assert ended.count("\n") == 1
