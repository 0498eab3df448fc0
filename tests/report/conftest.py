from __future__ import annotations

from pathlib import Path

import pytest
from anndata import AnnData
from helpers.fabricated import fabricate, run_record, write_run

from scrae import report
from scrae.report._run import Run


@pytest.fixture
def adata() -> AnnData:
    return fabricate()


@pytest.fixture
def run(adata: AnnData) -> Run:
    return Run(adata=adata, record=run_record(adata))


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of a usual run."""
    folder: Path = write_run(tmp_path_factory.mktemp("run"), fabricate())
    return report.build(folder).read_text(encoding="utf-8")
