from __future__ import annotations

import pytest
from anndata import AnnData
from helpers.fabricated import fabricate


@pytest.fixture
def adata() -> AnnData:
    return fabricate()
