from __future__ import annotations

import pandas as pd
from helpers.fabricated import fabricate
from typer.testing import CliRunner

from scrae.cli import app
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
