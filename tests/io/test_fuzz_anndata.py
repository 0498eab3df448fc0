"""The property: a result that can be read, written and clustered again, or one known error before training.

There are 50 cases, always the same ones; ``tests/long/fuzz_anndata.py`` makes thousands.
"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from helpers.odd_anndata import odd_anndatas
from helpers.one_epoch import through_the_path
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@settings(
    max_examples=50, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
@given(odd_anndatas(), st.sampled_from(["memory", "h5ad", "zarr"]), st.integers(0, 3), st.integers(0, 3))
def test_a_result_that_can_be_read_or_one_known_error_before_training(
    tmp_path_factory: pytest.TempPathFactory, adata: Any, ending: str, label: int, batch: int
):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        through_the_path(adata, tmp_path_factory.mktemp("case"), ending, label, batch)
