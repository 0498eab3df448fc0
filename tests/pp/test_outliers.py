from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse
from typer.testing import CliRunner

from scrae import pp
from scrae.cli import app
from scrae.errors import ScraeError
from scrae.io.lazy import use_dask
from scrae.pp._outliers import mad_table, outliers


def columns(n: int = 200, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "scrae_n_counts": rng.lognormal(7, 0.3, n),
        "scrae_n_genes": rng.lognormal(6, 0.2, n),
        "scrae_mito": rng.beta(2, 50, n),
    }


def cells() -> AnnData:
    """300 cells of two samples, of which one is four times as deep; three cells of each are broken."""
    rng = np.random.default_rng(0)
    depth = np.repeat([1.0, 4.0], 150)
    counts = rng.poisson(depth[:, None] * rng.gamma(1.0, 2.0, 60))
    counts[0] = 0
    counts[0, :5] = 1  # few counts and genes
    counts[151] *= 8  # many counts
    counts[2, -1] = counts[2].sum()  # half mitochondrial
    matrix = sparse.csr_matrix(counts.astype(np.int32))
    adata = AnnData(matrix.astype(np.float32), layers={"counts": matrix})
    adata.var_names = [*(f"Gene{i}" for i in range(59)), "MT-CO1"]
    adata.obs["sample"] = np.repeat(["shallow", "deep"], 150)
    return adata


def test_limits_are_those_of_the_definition():
    values = columns()
    table = mad_table(values).set_index("measure")
    logs = np.log1p(values["scrae_n_counts"])
    deviation = 1.482602218505602 * np.median(np.abs(logs - np.median(logs)))
    assert table.loc["counts", "low"] == pytest.approx(np.exp(np.median(logs) - 5 * deviation) - 1)
    assert table.loc["counts", "high"] == pytest.approx(np.exp(np.median(logs) + 5 * deviation) - 1)
    mito = values["scrae_mito"]
    deviation = 1.482602218505602 * np.median(np.abs(mito - np.median(mito)))
    assert table.loc["mitochondrial share", "high"] == pytest.approx(np.median(mito) + 3 * deviation)
    assert table.loc["mitochondrial share", "low"] == 0
    assert mad_table(values | {"scrae_mito": mito / 100})["high"].iloc[2] == 0.05
    few = {name: part[:49] for name, part in values.items()}
    assert not outliers(few | {"scrae_n_counts": np.r_[1.0, few["scrae_n_counts"][1:]]}).any()
    assert outliers(values).sum() == (mito > np.median(mito) + 3 * deviation).sum()


def test_every_sample_has_its_own_limits():
    one, other = columns(), columns(seed=1)
    other["scrae_n_counts"] = other["scrae_n_counts"] * 30
    both = {name: np.concatenate([one[name], other[name]]) for name in one}
    samples = pd.Series(["b", "a"]).repeat(200)
    found = outliers(both, samples)
    np.testing.assert_array_equal(found, np.concatenate([outliers(one), outliers(other)]))
    assert outliers(both, samples.where(samples == "a")).tolist() == found.tolist()  # missing is a sample too


def test_filter_drops_outliers_only_if_asked():
    adata = cells()
    pp.filter(adata, min_cells=1, sample_key="sample")
    assert adata.n_obs == 300
    (note,) = [line for line in adata.uns["scrae"]["notes"] if line.startswith("Quality:")]
    assert note.startswith("Quality: 3 of 300 cells are outliers")
    assert note.endswith("--qc mad drops them.")
    adata = cells()
    pp.filter(adata, min_cells=1, qc="mad", sample_key="sample")
    assert set(map(str, range(300))) - set(adata.obs_names) == {"0", "2", "151"}
    assert adata.uns["scrae"]["filter"]["cells_dropped"]["qc"] == 3
    assert adata.uns["scrae"]["filter"]["qc"] == "mad"
    assert not any(line.startswith("Quality:") for line in adata.uns["scrae"]["notes"])
    with pytest.raises(ScraeError, match=r"no 'smple'; did you mean 'sample'\?"):
        pp.filter(cells(), qc="mad", sample_key="smple")


def test_counts_in_blocks_are_filtered_the_same_way():
    pytest.importorskip("dask")
    whole, blocks = cells(), cells()
    pp.filter(whole, min_cells=1, qc="mad", sample_key="sample")
    import dask.array

    blocks.X = dask.array.from_array(blocks.layers.pop("counts").toarray(), chunks=(70, -1))
    use_dask(blocks)
    pp.preprocess_backed(
        blocks, method="deviance", n_top_genes=20, min_cells=1, qc="mad", sample_key="sample"
    )
    assert blocks.obs_names.tolist() == whole.obs_names.tolist()


def test_info_says_what_would_be_dropped(tmp_path):
    adata = cells()
    del adata.layers["counts"]
    adata.write_h5ad(tmp_path / "a.h5ad")
    done = CliRunner().invoke(app, ["info", str(tmp_path / "a.h5ad")], catch_exceptions=False)
    assert "  3 of 300 cells are outliers by median absolute deviation" in done.output
    assert "within obs 'sample'; scrae run --qc mad drops them" in done.output
