from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse, stats
from typer.testing import CliRunner

from scrae import tl
from scrae.cli import app
from scrae.errors import ScraeError
from scrae.io import write_h5ad

SAMPLES = [f"donor{i}" for i in range(6)]


@pytest.fixture(scope="module")
def adata() -> AnnData:
    """Six samples, two conditions, two clusters; ten of 80 genes are higher in treated cells of cluster 0."""
    rng = np.random.default_rng(0)
    sample = rng.integers(0, 6, 720)
    cluster = rng.integers(0, 2, 720)
    treated = sample >= 3
    rates = rng.gamma(2.0, 1.0, 80) * rng.lognormal(0, 0.1, (6, 80))[sample]
    rates[:, :10] *= np.where(treated & (cluster == 0), 4.0, 1.0)[:, None]
    counts = sparse.csr_matrix(rng.poisson(rates).astype(np.int32))
    made = AnnData(counts.astype(np.float32), layers={"counts": counts})
    made.var_names = [f"Gene{i}" for i in range(80)]
    made.obs["donor"] = pd.Categorical.from_codes(sample, SAMPLES)
    made.obs["treatment"] = np.where(treated, "drug", "control")
    made.obs["scrae"] = pd.Categorical(cluster.astype(str))
    made.obs["quality"] = rng.random(720)
    return made


def test_sums_are_those_of_the_cells(adata: AnnData):
    sums = tl.pseudobulk(adata, sample_key="donor")
    assert sums.shape == (12, 80)
    assert sums.X.dtype == np.int64
    for name in ("donor2_0", "donor5_1"):
        row = sums.obs.loc[name]
        cells = ((adata.obs["donor"] == row["donor"]) & (adata.obs["scrae"] == row["scrae"])).to_numpy()
        assert row["n_cells"] == cells.sum()
        np.testing.assert_array_equal(sums[name].X.ravel(), adata.layers["counts"][cells].sum(axis=0).A1)
    assert sums.obs["treatment"].tolist() == ["control"] * 6 + ["drug"] * 6  # constant within samples
    assert "quality" not in sums.obs


def test_small_sums_and_cells_without_a_sample_are_left_out(adata: AnnData):
    some = adata.copy()
    donors = some.obs["donor"].astype(object)
    donors[(donors == "donor1") & (some.obs["scrae"] == "1")] = None
    some.obs["donor"] = donors
    assert "donor1_1" not in tl.pseudobulk(some, sample_key="donor").obs_names
    with pytest.raises(ScraeError, match="expected a sample with 1000 cells in a cluster, found at most"):
        tl.pseudobulk(some, sample_key="donor", min_cells=1000)
    with pytest.raises(
        ScraeError, match=r"expected a column 'doner' in obs, found none; did you mean 'donor'\?"
    ):
        tl.pseudobulk(some, sample_key="doner")


def test_composition_has_wilson_s_interval(adata: AnnData):
    table = tl.composition(adata, sample_key="donor").set_index(["sample", "cluster"])
    row = table.loc[("donor3", "1")]
    own = adata.obs[adata.obs["donor"] == "donor3"]
    k, n = int((own["scrae"] == "1").sum()), len(own)
    z = stats.norm.ppf(0.975)
    center, width = (k + z**2 / 2) / (n + z**2), z / (n + z**2) * np.sqrt(k * (n - k) / n + z**2 / 4)
    assert row.tolist() == pytest.approx([k, k / n, center - width, center + width])
    assert table.groupby("sample")["share"].sum().tolist() == pytest.approx([1.0] * 6)


def test_a_sample_in_two_conditions_has_a_composition_for_each(adata: AnnData):
    paired = adata.copy()
    paired.obs["half"] = np.where(np.arange(720) % 3 == 0, "a", "b")
    table = tl.composition(paired, sample_key="donor", condition_key="half")
    assert table.groupby(["sample", "condition"])["share"].sum().tolist() == pytest.approx([1.0] * 12)
    row = table.set_index(["sample", "condition", "cluster"]).loc[("donor4", "a", "0")]
    own = paired.obs[(paired.obs["donor"] == "donor4") & (paired.obs["half"] == "a")]
    assert row["cells"] == (own["scrae"] == "0").sum()


def test_the_test_finds_the_genes_that_differ(adata: AnnData):
    pytest.importorskip("pydeseq2")
    tl.differential_expression(adata, condition_key="treatment", sample_key="donor")
    table = adata.uns["scrae"]["differential_expression"]
    found = table[table["fdr"] < 0.05]
    assert set(found["gene"][found["cluster"] == "0"]) >= {f"Gene{i}" for i in range(10)}
    assert len(found) <= 13
    up = found[found["cluster"] == "0"].set_index("gene")["log2_fold_change"]
    assert up[[f"Gene{i}" for i in range(10)]].mean() == pytest.approx(2, abs=0.4)
    tl.differential_expression(
        adata, condition_key="treatment", sample_key="donor", contrast=("control", "drug")
    )
    other = adata.uns["scrae"]["differential_expression"].set_index(["cluster", "gene"])["log2_fold_change"]
    assert other[("0", "Gene0")] == pytest.approx(-up["Gene0"], rel=1e-3)


def test_without_replicates_the_test_is_refused_with_the_reason(adata: AnnData, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydeseq2", object())
    with pytest.raises(ScraeError, match=r"found 1 and 1 samples in all; without replicates a difference"):
        tl.differential_expression(adata, condition_key="treatment", sample_key="treatment")
    with pytest.raises(ScraeError, match=r"found none; there are donor0, donor1"):
        tl.differential_expression(adata, condition_key="donor", sample_key="donor")
    monkeypatch.setitem(sys.modules, "pydeseq2", None)
    with pytest.raises(ScraeError, match=r"pip install 'scrae\[conditions\]'"):
        tl.differential_expression(adata, condition_key="treatment", sample_key="donor")


def test_commands(adata: AnnData, tmp_path):
    write_h5ad(adata, tmp_path / "a.h5ad")

    def scrae(*words: object):
        return CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)

    done = scrae("pseudobulk", tmp_path / "a.h5ad", "-o", tmp_path / "b.h5ad", "--sample-key", "donor")
    assert "12 sums over 80 genes" in done.output
    done = scrae("composition", tmp_path / "a.h5ad", "-o", tmp_path / "c.csv", "--sample-key", "donor")
    assert "6 samples, 2 clusters" in done.output
    assert len(pd.read_csv(tmp_path / "c.csv")) == 12
    keys = ("--condition-key", "treatment", "--sample-key", "donor")
    done = scrae("de", tmp_path / "a.h5ad", "-o", tmp_path / "d.csv", *keys, "--reference", "drug")
    assert done.exit_code == 2
    pytest.importorskip("pydeseq2")
    done = scrae("de", tmp_path / "a.h5ad", "-o", tmp_path / "d.csv", *keys)
    assert done.output.startswith("0: 1")
    assert "higher: Gene" in done.output
    assert "Gene" in pd.read_csv(tmp_path / "d.csv")["gene"][0]
