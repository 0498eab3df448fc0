from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.stats import median_abs_deviation

from scrae import pl
from scrae.errors import ScraeError


@pytest.fixture
def cells() -> AnnData:
    """Three samples of 80, 120 and 10 cells of different depth."""
    rng = np.random.default_rng(0)
    sample = np.repeat([0, 1, 2], [80, 120, 10])
    counts = rng.lognormal(np.array([7.0, 8, 9])[sample], 0.3)
    obs = pd.DataFrame(
        {"scrae_n_counts": counts, "scrae_n_genes": counts / 3, "scrae_mito": rng.beta(2, 60, 210)}
    )
    obs["lane"] = pd.Categorical.from_codes(sample, ["a_1", "b$2", "c"])
    obs.index = obs.index.astype(str)
    return AnnData(obs=obs)


def test_each_sample_has_its_limits(cells: AnnData):
    counts, genes, mito = pl.qc(cells, sample_key="lane")
    assert [text.get_text() for text in counts.get_xticklabels()] == ["a_1", "b$2", "c"]
    lines = [
        line.get_ydata()[0] for line in counts.lines
    ]  # median, low and high of two, median of the small one
    assert len(lines) == 7
    logs = np.log1p(cells.obs["scrae_n_counts"][cells.obs["lane"] == "b$2"])
    width = 5 * median_abs_deviation(logs, scale="normal")
    expected = [np.expm1(np.median(logs) - width), np.expm1(np.median(logs) + width)]
    np.testing.assert_allclose(10 ** np.array(lines[4:6]), expected)
    assert len(mito.lines) == 5  # no lower limit
    assert mito.get_ylabel() == "% mitochondrial counts"
    assert len(genes.collections) == 3


def test_one_sample_and_one_panel(cells: AnnData):
    (ax,) = pl.qc(cells, panels=["scrae_mito"])
    assert len(ax.collections) == 1


def test_missing_columns_are_named(cells: AnnData):
    with pytest.raises(
        ScraeError, match=r"expected a column 'lan' in obs, found none.*did you mean 'lane'\?"
    ):
        pl.qc(cells, sample_key="lan")
    del cells.obs["scrae_mito"]
    with pytest.raises(ScraeError, match="expected a column 'scrae_mito' in obs, found none"):
        pl.qc(cells)
