"""A run whose counts stay in their file, against the run in memory; and the plan that chooses between them."""

from __future__ import annotations

import json
import mmap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad
from scipy import sparse

import scrae
import scrae.pipeline.run as pipeline
from scrae import ScraeError, Settings, io, pp
from scrae.io import CountBlocks
from scrae.io.stored_size import Stored, stored
from scrae.pipeline.memory_plan import available_memory, plan_memory

pytestmark = pytest.mark.filterwarnings("ignore:Writing zarr v2 data:UserWarning")  # anndata's default today

SMALL = Settings(
    preprocess=scrae.PreprocessConfig(
        min_cells=5, n_top_genes=40, gene_selection="deviance", min_counts=60, max_mito=0.2
    ),
    model=scrae.ModelConfig(n_latent=2, encoder_layers=(8,), decoder_layers=(8,)),
    train=scrae.TrainConfig(max_epochs=2, batch_size=32),
    cluster=scrae.ClusterConfig(n_clusters=2),
)
GIB = 2**30


def cells(n: int = 150, n_genes: int = 90) -> AnnData:
    """Two types; some cells are nearly empty, some full of mitochondrial genes, some genes rare."""
    rng = np.random.default_rng(8)
    rates = rng.lognormal(-0.5, 1.0, n_genes) * np.where(
        np.arange(n)[:, None] % 2, np.linspace(0.3, 3, n_genes), np.linspace(3, 0.3, n_genes)
    )
    rates[:6] *= 0.01
    rates[:, :3] *= 0.01
    rates[10:14, 5:8] = 60
    made = AnnData(sparse.csr_matrix(rng.poisson(rates).astype(np.float32)))
    made.var_names = [("MT-" if 5 <= i < 8 else "") + f"g{i}" for i in range(n_genes)]
    made.obs_names = [f"c{i}" for i in range(n)]
    made.obs["half"] = pd.Categorical(np.where(np.arange(n) % 2, "odd", "even"))
    made.var["length"] = np.arange(n_genes)
    return made


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    make = CountBlocks.__init__
    monkeypatch.setattr(CountBlocks, "__init__", lambda self, **given: make(self, **{"rows": 37, **given}))


@pytest.fixture(params=["h5ad", "zarr"])
def file(request, tmp_path) -> Path:
    path = tmp_path / f"cells.{request.param}"
    (cells().write_zarr if request.param == "zarr" else cells().write_h5ad)(path)
    return path


def test_the_prefix_of_mitochondrial_genes_holds_in_blocks_too(file):
    config = replace(SMALL.preprocess, max_mito=None, mito_prefix="MT-g6")
    adata = io.open_backed(file)
    pipeline.preprocess(adata, config)
    assert adata.uns["scrae"]["filter"]["n_mito_genes"] == 1
    counts = io.read(file).layers["counts"][[int(name[1:]) for name in adata.obs_names]].toarray()
    np.testing.assert_allclose(adata.obs["scrae_mito"], counts[:, 6] / counts.sum(axis=1))


def test_the_same_genes_counts_and_facts_as_in_memory(file):
    for method in ("seurat_v3", "m3drop", "seurat"):
        config = replace(SMALL.preprocess, gene_selection=method)
        ours, other = io.open_backed(file), io.read(file, min_counts=config.min_counts)
        for adata in (ours, other):
            pipeline.preprocess(adata, config)
        chosen = other.var["scrae_selected"].to_numpy()
        assert list(ours.var_names) == list(other.var_names[chosen])
        assert 100 < ours.n_obs < 150
        assert other.n_vars < 90
        for ours_in, others_in in ((ours.layers["counts"], other.layers["counts"]), (ours.X, other.X)):
            expected = others_in[:, chosen]
            assert ours_in.dtype == expected.dtype
            for part in ("indptr", "indices", "data"):
                np.testing.assert_array_equal(getattr(ours_in, part), getattr(expected, part))
        in_memory = ["scrae_doublet_score", "scrae_doublet"]  # of counts in memory only
        pd.testing.assert_frame_equal(ours.obs, other.obs.drop(columns=in_memory))
        pd.testing.assert_frame_equal(
            ours.var, other.var[chosen], rtol=1e-9 if method != "seurat_v3" else 0, atol=0
        )
        facts, others = ours.uns["scrae"], other.uns["scrae"]
        assert facts["filter"] == others["filter"]
        assert facts["filter"]["cells_dropped"]["max_mito"] == 4
        np.testing.assert_array_equal(facts["genes"]["scrae_rank"], other.var["scrae_rank"])
        assert facts["gene_selection"]["mean"].shape == (other.n_vars,)
        assert facts["notes"][:-1] == [line for line in others["notes"] if not line.startswith("Doublets:")]
        assert facts["notes"][1] == "6 of 150 cells with fewer than 60 counts were left out."
        assert facts["notes"][-1] == (
            f"The counts were read block by block. Only the 40 selected of {other.n_vars} genes are kept; "
            "obsm, layers and uns of the file are left out."
        )


def test_a_run_gives_the_same_bits(tmp_path):
    cells().write_h5ad(tmp_path / "cells.h5ad")
    ours, other = (
        scrae.run(tmp_path / "cells.h5ad", tmp_path / name, SMALL, label_key="half", backed=backed)
        for name, backed in (("ours", True), ("other", False))
    )
    for key in ("X_scrae", "X_umap"):
        np.testing.assert_array_equal(ours.obsm[key], other.obsm[key])
    assert list(ours.obs["scrae"]) == list(other.obs["scrae"])
    assert ours.uns["scrae"]["scores"] == other.uns["scrae"]["scores"]
    for name, value in ours.uns["scrae"]["history"].items():
        np.testing.assert_array_equal(value, other.uns["scrae"]["history"][name])
    records = [json.loads((tmp_path / name / "run.json").read_text()) for name in ("ours", "other")]
    assert records[0]["n_genes"] == records[1]["n_genes"] == other.n_vars > ours.n_vars == 40
    written = io.read_h5ad(tmp_path / "ours" / "result.h5ad")
    assert written.shape == ours.shape
    assert abs(written.X - ours.X).nnz == 0
    assert len(written.uns["scrae"]["genes"]) == other.n_vars
    page = (tmp_path / "ours" / "report.html").read_text(encoding="utf-8")
    assert f"of {other.n_vars}" in page
    assert "; 40 genes are selected" in page
    model = scrae.load(tmp_path / "ours" / "model")
    np.testing.assert_array_equal(model.encode(scrae.tl.count_data(written)), ours.obsm["X_scrae"])


def test_scratch_files_hold_the_same_and_train_the_same_bits(tmp_path):
    cells().write_h5ad(tmp_path / "cells.h5ad")
    folder, prepared = tmp_path / "scratch", []
    folder.mkdir()
    for scratch in (folder, None):
        adata = io.open_backed(tmp_path / "cells.h5ad")
        pipeline.preprocess(adata, SMALL.preprocess, scratch=scratch)
        scrae.tl.train(adata, SMALL.model, SMALL.train)
        prepared.append(adata)
    assert list(folder.iterdir()) == []  # they have no names
    ours, other = prepared
    for mine, others in ((ours.layers["counts"], other.layers["counts"]), (ours.X, other.X)):
        for part in ("data", "indices"):
            np.testing.assert_array_equal(getattr(mine, part), getattr(others, part))
            assert (is_mapped(getattr(mine, part)), is_mapped(getattr(others, part))) == (True, False)
    data = scrae.tl.count_data(ours)  # reads the same memory, not a copy
    assert data.indices.data_ptr() == ours.layers["counts"].indices.ctypes.data
    np.testing.assert_array_equal(ours.obsm["X_scrae"], other.obsm["X_scrae"])
    with pytest.raises(ScraeError, match=r"none: scratch files could not be written: No such file"):
        pipeline.preprocess(
            io.open_backed(tmp_path / "cells.h5ad"), SMALL.preprocess, scratch=tmp_path / "none"
        )


def is_mapped(array):
    while array is not None and not isinstance(array, mmap.mmap):
        array = getattr(array, "base", None)
    return array is not None


def test_an_unfiltered_matrix_is_refused_in_blocks_too(tmp_path):
    counts = np.zeros((300, 50), dtype=np.float32)
    counts[:, 0] = 1
    counts[:20] = 30
    path = tmp_path / "raw.h5ad"
    AnnData(sparse.csr_matrix(counts)).write_h5ad(path)
    message = "280 of 300 barcodes have fewer than 10 counts, as in an unfiltered 10x matrix"
    with pytest.raises(ScraeError, match=message):
        pp.select_genes_of_file(path)
    adata = io.open_backed(path)
    with pytest.raises(ScraeError, match=message):
        pp.preprocess_backed(adata)
    kept = io.open_backed(path)
    pp.preprocess_backed(kept, min_counts=500, n_top_genes=5, method="deviance")
    assert kept.n_obs == 20


def test_what_cannot_be_read_in_blocks(file, tmp_path):
    with pytest.raises(ScraeError, match=r"expected counts in a file .*, found counts in memory; open the"):
        pp.preprocess_backed(io.read(file))
    if file.suffix == ".h5ad":
        with pytest.raises(
            ScraeError, match=r"found a backed AnnData, which would change its file; open the"
        ):
            pp.preprocess_backed(read_h5ad(file, backed="r"))
    with pytest.raises(ScraeError, match="scmarker needs the counts in memory, and these are in a file"):
        scrae.run(
            file,
            tmp_path / "out",
            replace(SMALL, preprocess=scrae.PreprocessConfig(gene_selection="scmarker")),
            backed=True,
        )
    by_columns = cells()
    by_columns.X = by_columns.X.tocsc()
    by_columns.write_h5ad(tmp_path / "csc.h5ad")
    with pytest.raises(ScraeError, match=r"X is stored by columns \(csc\) and cannot be read by rows"):
        scrae.run(tmp_path / "csc.h5ad", tmp_path / "out", SMALL, backed=True)
    with pytest.raises(ScraeError, match="--backed: expected one h5ad or zarr file, found 2 files"):
        scrae.run([file, tmp_path / "csc.h5ad"], tmp_path / "out", SMALL, backed=True)
    with pytest.raises(ScraeError, match="--transpose is for csv and tsv: leave one out"):
        scrae.run(file, tmp_path / "out", SMALL, backed=True, transpose=True)
    assert not (tmp_path / "out").exists()


class TestPlan:
    """The files state sizes of their own; the free memory is injected."""

    @pytest.fixture
    def large(self, monkeypatch):
        """A million cells with 20,000 genes at 5 %, which no test writes."""
        monkeypatch.setattr(
            "scrae.pipeline.memory_plan.stored", lambda *_: Stored(10**6, 20_000, 10**9, 8 * 10**9, True)
        )

    @pytest.fixture
    def free(self, monkeypatch):
        return lambda gib: monkeypatch.setattr(
            "scrae.pipeline.memory_plan.available_memory", lambda: gib and int(gib * GIB)
        )

    def plan(self, **options):
        return plan_memory([Path("a.h5ad")], Settings(**options))

    @pytest.mark.parametrize(("gib", "streamed"), [(64, False), (8, True), (None, False)])
    def test_streams_what_does_not_fit(self, large, free, gib, streamed):
        free(gib)
        plan = self.plan()
        assert plan.streamed == streamed
        assert plan.fits
        assert sum(size for _, size in plan.parts) == plan.peak
        assert (2 * GIB < plan.peak < 6.2 * GIB) if streamed else (40 * GIB < plan.peak < 45 * GIB)

    def test_says_what_is_held(self, large, free):
        free(8)
        assert str(self.plan()) == (
            "Memory: the counts stay in their file and are read in blocks; estimated peak 6.1 GiB of 8.0 GiB available "
            "(the program 0.8 GiB, a block 0.3 GiB, counts of 2000 genes 3.7 GiB, 1000000 cells 1.3 GiB)."
        )

    def test_what_is_not_stated_is_not_planned(self, monkeypatch, free):
        free(0.1)
        plan = self.plan()
        assert (plan.streamed, plan.fits, plan.parts) == (False, True, ())
        assert "cannot be estimated from these file formats" in str(plan)
        assert self.plan(backed=True).streamed

    def test_the_selected_genes_go_to_the_disk_where_they_do_not_fit(self, large, free):
        free(4)
        plan = self.plan()
        assert plan.streamed
        assert plan.on_disk == 16 * 2 * 10**8
        assert 2.5 * GIB < plan.peak < 3 * GIB
        assert (
            "in blocks, those of the selected genes in 3.0 GiB of scratch files; estimated peak 2.9 GiB"
            in str(plan)
        )
        free(8)
        assert self.plan().on_disk == 0

    def test_too_little_is_an_error_with_what_to_do(self, large, free, monkeypatch):
        free(2)
        with pytest.raises(
            ScraeError, match=r"expected about 2\.9 GiB of memory, found 2\.0 GiB available; select fewer"
        ):
            self.plan()
        with pytest.raises(ScraeError, match=r"keep the counts in their file \(--backed\), or free some"):
            self.plan(backed=False)
        with pytest.raises(ScraeError, match="use another --gene-selection: scmarker needs all counts"):
            plan_memory(
                [Path("a.h5ad")], replace(SMALL, preprocess=scrae.PreprocessConfig(gene_selection="scmarker"))
            )
        with pytest.raises(ScraeError, match=r"store the counts by rows \(csr\) in one h5ad"):
            plan_memory([Path("a.h5ad")] * 2, Settings())

    def test_a_run_refuses_before_it_reads(self, file, tmp_path, free, monkeypatch):
        free(0.5)
        monkeypatch.setattr("scrae.io.read", None)
        monkeypatch.setattr("scrae.io.open_backed", None)
        with pytest.raises(ScraeError, match=r"of memory, found 0\.5 GiB available"):
            scrae.run(file, tmp_path / "out", SMALL)
        assert not (tmp_path / "out").exists()


def test_sizes_from_the_head_of_a_file(file, tmp_path):
    adata = cells()
    entries = adata.X.nnz
    size = stored(file)
    assert size[:3] == (150, 90, entries)
    assert size.in_blocks
    assert 8 * entries < size.n_bytes < 12 * entries + 20_000
    adata.layers["dense"] = adata.X.toarray()
    adata.X = adata.X.tocsc()
    adata.write_h5ad(tmp_path / "more.h5ad")
    assert not stored(tmp_path / "more.h5ad").in_blocks
    more = stored(tmp_path / "more.h5ad", "dense")
    assert more[:3] == (150, 90, 150 * 90)
    assert more.n_bytes >= 4 * 150 * 90 + 8 * entries
    (tmp_path / "a.csv").write_text("gene,1")
    assert stored(tmp_path / "a.csv") is None
    assert stored(tmp_path / "none.h5ad") is None


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    2048 kB\n"}, 2048 * 1024),
        (
            {
                "proc/meminfo": "MemAvailable:    4096 kB\n",
                "proc/self/cgroup": "0::/user/job\n",
                "sys/fs/cgroup/user/job/memory.max": "max\n",
                "sys/fs/cgroup/user/job/memory.current": "100\n",
                "sys/fs/cgroup/user/memory.max": "3000000\n",
                "sys/fs/cgroup/user/memory.current": "1000000\n",
                "sys/fs/cgroup/user/memory.stat": "anon 5\ninactive_file 500\nactive_file 7\n",
            },
            2_000_500,
        ),
        (
            {
                "proc/meminfo": "MemAvailable:    4096 kB\n",
                "proc/self/cgroup": "3:cpu:/x\n2:memory:/job\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "900000\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "950000\n",
                "sys/fs/cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 60000\n",
            },
            10_000,
        ),
    ],
)
def test_free_memory_is_the_least_of_system_and_groups(tmp_path, files, expected):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert available_memory(tmp_path) == expected


def test_free_memory_here_is_known():
    found = available_memory()
    assert found is not None
    assert 2**20 < found < 2**50
