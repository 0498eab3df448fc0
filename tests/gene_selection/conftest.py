from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.selection_data import draw_counts

GOLD = Path(__file__).parent.parent / "gold" / "gene_selection"


@pytest.fixture
def counts() -> np.ndarray:
    return draw_counts(1)


@pytest.fixture(scope="session")
def gold() -> Path:
    """The folder of what the R packages wrote; a missing file fails the test that reads it."""
    return GOLD
