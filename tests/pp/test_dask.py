"""Counts as a dask array, in chunks that two worker processes read and judge, against the same in memory."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

import scrae
import scrae.pipeline.run as pipeline
from scrae import ScraeError, Settings, io, pp
from scrae.io import CountBlocks

dask = pytest.importorskip("dask", reason="the extra 'dask' is not installed")
da = pytest.importorskip("dask.array", reason="the extra 'dask' is not installed")
distributed = pytest.importorskip("distributed", reason="the extra 'dask' is not installed")

CHUNK = 40
SMALL = Settings(
    preprocess=scrae.PreprocessConfig(min_cells=5, n_top_genes=30, min_counts=60, max_mito=0.2),
    model=scrae.ModelConfig(n_latent=2, encoder_layers=(8,), decoder_layers=(8,)),
    train=scrae.TrainConfig(max_epochs=2, batch_size=32),
    cluster=scrae.ClusterConfig(n_clusters=2),
)


def cells(n: int = 150, n_genes: int = 90) -> AnnData:
    """Two types; some cells are nearly empty, some full of mitochondrial genes, some genes rare."""
    rng = np.random.default_rng(3)
    rates = rng.lognormal(-0.5, 1.0, n_genes) * np.where(
        np.arange(n)[:, None] % 2, np.linspace(0.3, 3, n_genes), np.linspace(3, 0.3, n_genes)
    )
    rates[[2, 70, 149]] *= 0.01
    rates[:, :3] *= 0.01
    rates[38:42, 5:8] = 60  # on both sides of a cut
    made = AnnData(sparse.csr_matrix(rng.poisson(rates).astype(np.float32)))
    made.var_names = [("MT-" if 5 <= i < 8 else "") + f"g{i}" for i in range(n_genes)]
    made.obs_names = [f"c{i}" for i in range(n)]
    made.obs["half"] = pd.Categorical(np.where(np.arange(n) % 2, "odd", "even"))
    return made


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "cells.h5ad"
    cells().write_h5ad(path)
    return path


def lazily(file, **slots) -> AnnData:
    """The file's tables, and its counts as a dask array that anndata reads when a chunk is asked for."""
    try:
        from anndata.experimental import read_elem_lazy
    except ImportError:  # anndata 0.11
        from anndata.experimental import read_elem_as_dask as read_elem_lazy
    with h5py.File(file) as stored:
        x = read_elem_lazy(stored["X"], chunks=(CHUNK, stored["X"].attrs["shape"][1]))
        return AnnData(x, **{name: anndata.io.read_elem(stored[name]) for name in ("obs", "var")})


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    ) as made:
        yield made


@pytest.fixture
def client(cluster):
    with distributed.Client(cluster) as made:
        yield made


@pytest.fixture
def here():
    """No cluster: dask works in this process."""
    with pytest.MonkeyPatch.context() as patch, dask.config.set(scheduler="synchronous"):
        yield patch


def assert_equal(ours: sparse.csr_matrix, other: sparse.csr_matrix) -> None:
    assert (type(ours), ours.dtype, ours.shape) == (type(other), other.dtype, other.shape)
    for part in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(ours, part), getattr(other, part))


def in_memory(file, config) -> AnnData:
    adata = io.read(file, min_counts=config.min_counts)
    pipeline.preprocess(adata, config)
    return adata


@pytest.mark.parametrize("method", ["seurat_v3", "m3drop", "seurat"])
def test_two_workers_give_the_same_as_in_memory(file, client, method):
    config = replace(SMALL.preprocess, gene_selection=method)
    ours, other = lazily(file), in_memory(file, config)
    pipeline.preprocess(ours, config)
    chosen = other.var["scrae_selected"].to_numpy()
    assert list(ours.var_names) == list(other.var_names[chosen])
    assert_equal(ours.layers["counts"], other.layers["counts"][:, chosen])
    assert_equal(ours.X, other.X[:, chosen])
    in_memory_only = ["scrae_doublet_score", "scrae_doublet"]
    pd.testing.assert_frame_equal(ours.obs, other.obs.drop(columns=in_memory_only))
    exact = method == "seurat_v3"  # sums of whole numbers; the others' sums are in another order
    pd.testing.assert_frame_equal(ours.var, other.var[chosen], rtol=0 if exact else 1e-9, atol=0)
    facts, others = ours.uns["scrae"], other.uns["scrae"]
    assert facts["filter"] == others["filter"]
    assert facts["filter"]["cells_dropped"]["max_mito"] == 4
    assert facts["filter"]["n_genes_before"] == 90 > facts["filter"]["n_genes_after"]
    np.testing.assert_array_equal(facts["genes"]["scrae_rank"], other.var["scrae_rank"])
    assert facts["notes"][:-1] == [line for line in others["notes"] if not line.startswith("Doublets:")]
    assert facts["notes"][1] == "3 of 150 cells with fewer than 60 counts were left out."
    assert facts["notes"][-1] == (
        f"The counts were read block by block. Only the 30 selected of {other.n_vars} genes are kept."
    )


def test_a_run_trains_the_same_bits(file, client, tmp_path, monkeypatch):
    monkeypatch.setattr("scrae.pl.save_figures", lambda adata, folder, **_: folder.mkdir())
    other = in_memory(file, SMALL.preprocess)
    scrae.tl.train(other, SMALL.model, SMALL.train)
    ours = scrae.run(lazily(file), tmp_path / "out", SMALL, label_key="half")
    np.testing.assert_array_equal(ours.obsm["X_scrae"], other.obsm["X_scrae"])
    written = io.read_h5ad(tmp_path / "out" / "result.h5ad")
    assert_equal(written.layers["counts"], ours.layers["counts"])


def test_each_block_is_worked_on_by_a_worker_and_combined_in_order(file, client):
    rng = np.random.default_rng(0)
    kept, genes, of_cells = rng.random(150) < 0.5, rng.random(90) < 0.5, rng.random(150)
    blocks = CountBlocks(matrix=lazily(file).X).only(cells=kept, genes=genes)
    workers = {worker["pid"] for worker in client.run(lambda: {"pid": os.getpid()}).values()}
    assert len(workers) == 2
    found = list(blocks.map(lambda block, part: (os.getpid(), block.toarray(), part), of_cells[kept]))
    assert {pid for pid, _, _ in found} <= workers
    expected = cells().X.toarray()[kept][:, genes]
    assert [len(block) for _, block, _ in found] == [
        kept[at : at + CHUNK].sum() for at in range(0, 150, CHUNK)
    ]
    np.testing.assert_array_equal(np.vstack([block for _, block, _ in found]), expected)
    np.testing.assert_array_equal(np.concatenate([part for _, _, part in found]), of_cells[kept])
    assert_equal(blocks.gather(), sparse.csr_matrix(expected.astype(np.int32)))


def test_a_worker_says_what_is_no_count(file, client):
    adata = lazily(file)
    adata.X = adata.X.map_blocks(np.log1p)
    with pytest.raises(
        ScraeError,
        match=r"^the dask array holds a value that is not a whole number \(0.69\d+\) at cell '\d+', gene 'g\d+'; "
        r"counts are whole numbers from 0 up. It looks like log-normalized values. Give the matrix of raw counts",
    ):
        pp.preprocess_backed(adata)


def test_a_file_that_the_workers_cannot_see(client, tmp_path):
    cells().write_h5ad(tmp_path / "gone.h5ad")
    adata = lazily(tmp_path / "gone.h5ad")
    (tmp_path / "gone.h5ad").unlink()
    with pytest.raises(
        ScraeError,
        match=r"could not be made: FileNotFoundError: .*gone.h5ad.*; every worker needs scrae, and to see",
    ):
        pp.preprocess_backed(adata)


def test_without_a_cluster_dask_works_here(file, here):
    here.setattr("scrae.io.lazy._AT_ONCE", 3)
    ours, other = lazily(file), in_memory(file, SMALL.preprocess)
    pipeline.preprocess(ours, SMALL.preprocess)
    assert_equal(ours.X, other.X[:, other.var["scrae_selected"].to_numpy()])
    ranked = lazily(file)
    pp.select_genes(ranked, method="deviance", n_top_genes=7, batch_key="half")
    whole = io.read(file)
    pp.normalize(whole)
    pp.select_genes(whole, method="deviance", n_top_genes=7, batch_key="half")
    np.testing.assert_array_equal(ranked.var["scrae_rank"], whole.var["scrae_rank"])


def test_counts_in_a_layer_of_a_view_and_dense_chunks(file, here):
    """X holds other values, and dask arrays beside the counts are left out; what is in memory stays."""
    odd = np.arange(150) % 3 > 0
    whole = cells()
    counts = da.from_array(whole.X.toarray(), chunks=((0, 70, 0, 80), (90,)))
    adata = AnnData(
        np.log1p(counts), obs=whole.obs, var=whole.var, layers={"counts": counts, "other": counts}
    )
    adata.obsm["X_pca"], adata.obsm["X_lazy"] = np.arange(300.0).reshape(150, 2), counts
    adata.raw = adata.copy()
    ours = adata[odd]
    assert ours.is_view
    pp.preprocess_backed(ours, method="deviance", n_top_genes=30, min_cells=5)
    other = AnnData(whole[odd].X, obs=whole.obs[odd], var=whole.var)
    io.use_counts(other)
    pipeline.preprocess(other, scrae.PreprocessConfig(gene_selection="deviance", n_top_genes=30, min_cells=5))
    chosen = other.var["scrae_selected"].to_numpy()
    assert_equal(ours.layers["counts"], other.layers["counts"][:, chosen])
    np.testing.assert_array_equal(ours.obsm["X_pca"][:, 0], np.flatnonzero(odd) * 2)
    layers = [name for name in ours.layers if name is not None]  # anndata >= 0.13 lists X as the layer None
    assert (layers, list(ours.obsm), ours.raw) == (["counts"], ["X_pca"], None)
    assert ours.uns["scrae"]["notes"][:2] == [
        "Counts were found in layers['counts']: 100 cells x 90 genes.",
        "Dask arrays other than the counts were left out: X, layers['other'], obsm['X_lazy'], raw.",
    ]
    assert (adata.n_obs, "other" in adata.layers) == (150, True)  # the view's parent is as it was


def test_the_record_has_a_checksum_of_all_counts(file, here):
    def checksum(adata):
        return scrae.pipeline.provenance.source_of_anndata(adata, "title")["sha256"]

    def dense(counts):
        return AnnData(da.from_array(counts, chunks=(CHUNK, -1)))

    counts = cells().X.toarray()
    assert checksum(dense(counts)) == checksum(lazily(file))
    counts[149, 89] += 1
    assert checksum(dense(counts)) != checksum(lazily(file))


def test_what_is_refused(file, here, tmp_path):
    cut = lazily(file)
    cut.X = da.from_array(cells().X.toarray(), chunks=(40, 30))
    with pytest.raises(
        ScraeError,
        match=r"^the dask array: expected chunks of whole cells, found 3 chunks of columns; .*rechunk\(\{1: -1\}\)",
    ):
        scrae.run(cut, tmp_path / "out", SMALL)
    cut.X = cut.X.rechunk({1: -1})
    pp.preprocess_backed(cut, n_top_genes=9)
    assert cut.n_vars == 9
    for method in pp.IN_MEMORY:
        with pytest.raises(
            ScraeError,
            match=f"^{method} needs the counts in memory, and these are in a dask array; .* call adata.to_mem",
        ):
            pp.preprocess_backed(lazily(file), method=method)
    odd = lazily(file)
    odd.X = odd.X.map_blocks(lambda block: block.toarray().tolist(), meta=np.empty((0, 0)))
    with pytest.raises(
        ScraeError, match="expected blocks that are SciPy sparse matrices or NumPy arrays, found a list;"
    ):
        pp.preprocess_backed(odd)
    proteins = lazily(file)
    proteins.var["feature_types"] = ["Gene Expression"] * 89 + ["Antibody Capture"]
    with pytest.raises(ScraeError, match="features other than Gene Expression"):
        pp.preprocess_backed(proteins)
    with pytest.raises(
        ScraeError, match=r"^X is a dask array; give it to scrae.pp.preprocess_backed or scrae.run"
    ):
        io.use_counts(lazily(file))
    layer = lazily(file)
    layer.layers["counts"] = layer.X
    with pytest.raises(
        ScraeError, match=r"^Expected counts in memory .*, found a dask array; call scrae.pp.preprocess"
    ):
        pp.filter(layer)


def test_dask_is_not_needed_for_counts_in_memory(file):
    """Nor imported by us: anndata does that for itself where it is installed."""
    code = (
        "import sys; sys.modules['dask'] = sys.modules['distributed'] = None; import scrae; "
        f"adata = scrae.io.read({str(file)!r}); scrae.pp.filter(adata); scrae.pp.normalize(adata); "
        "scrae.pp.select_genes(adata, method='deviance', n_top_genes=5); print(adata.var['scrae_selected'].sum())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("5", 0), done.stderr
