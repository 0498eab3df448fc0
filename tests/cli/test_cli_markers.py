from __future__ import annotations

import pandas as pd
import pytest
from helpers.fabricated import fabricate, run_record, write_run
from typer.testing import CliRunner

from scrae.cli import app
from scrae.errors import ScraeError
from scrae.io import write_h5ad


def test_markers_writes_the_table_and_prints_the_best_genes(tmp_path):
    adata = fabricate()
    names = adata.var_names.to_list()
    names[0] = "RPS14"
    adata.var_names = names
    write_h5ad(adata, tmp_path / "a.h5ad")
    command = ["markers", str(tmp_path / "a.h5ad"), "-o", str(tmp_path / "markers.csv")]
    found = CliRunner().invoke(app, command, catch_exceptions=False)
    table = pd.read_csv(tmp_path / "markers.csv", dtype={"cluster": str})
    assert found.output.splitlines()[0].startswith("0: Gene")
    assert "RPS14" not in found.output
    assert "RPS14" in set(table["gene"][table["cluster"] == "0"])
    shown = CliRunner().invoke(app, [*command, "--all-genes"], catch_exceptions=False)
    number = [int(text.split("(")[1].split()[0]) for text in (found.output, shown.output)]
    assert number[1] == number[0] + 1  # in the first line, of cluster 0


def named(tmp_path):
    """The folder of a run whose first cluster expresses genes of T cells."""
    adata = fabricate()
    names = adata.var_names.to_list()
    names[0:20:5] = ["CD3D", "CD3E", "CD2", "TRAC"]  # mark cluster 0
    table = adata.uns["scrae"]["markers"]
    table["gene"] = table["gene"].replace(dict(zip(adata.var_names, names, strict=True)))
    adata.var_names = names
    del adata.uns["scrae"]["scores"]
    return write_run(tmp_path / "out", adata, run_record(adata) | {"config": {}, "label_key": None})


def test_annotate_renews_the_folder_of_a_run(tmp_path):
    folder = named(tmp_path)
    (tmp_path / "lists.csv").write_text("type,gene\nmy type,CD3D CD3E CD2 TRAC\n")
    done = CliRunner().invoke(app, ["annotate", str(folder)], catch_exceptions=False)
    assert done.output.splitlines()[0].startswith("0: T cell (0.")
    assert pd.read_csv(folder / "clusters.csv")["suggested_name"].value_counts().index[0] in (
        "T cell",
        "unknown",
    )
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert '<td data-label="Suggested name">T cell' in page
    command = ["annotate", str(folder), "--markers", str(tmp_path / "lists.csv")]
    CliRunner().invoke(app, command, catch_exceptions=False)
    table = pd.read_csv(folder / "suggested_names.csv", dtype={"cluster": str})
    assert table["name"][0] == "my type"
    command = ["recluster", str(folder), "--names", str(folder / "suggested_names.csv")]
    CliRunner().invoke(app, command, catch_exceptions=False)
    assert not (folder / "suggested_names.csv").exists()  # the user has decided
    assert "name" in pd.read_csv(folder / "clusters.csv")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Suggested name" not in page
    assert "my type" in page


def test_annotate_writes_the_names_of_an_h5ad(tmp_path):
    folder = named(tmp_path)
    output = tmp_path / "names.csv"
    command = ["annotate", str(folder / "result.h5ad"), "-o", str(output), "--tissue", "blood,gut"]
    assert CliRunner().invoke(app, command, catch_exceptions=False).output.startswith("0: T cell")
    assert pd.read_csv(output)["name"][0] == "T cell"
    with pytest.raises(ScraeError, match="leave out -o"):
        CliRunner().invoke(app, ["annotate", str(folder), "-o", str(output)], catch_exceptions=False)
