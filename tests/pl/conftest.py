from __future__ import annotations

import sys
from pathlib import Path

import pytest
from anndata import AnnData

sys.path.insert(0, str(Path(__file__).parent.parent / "report"))

from fabricated import fabricate


@pytest.fixture
def adata() -> AnnData:
    return fabricate()
