"""`python -m benchmarks.gene_selection`: time and memory of the gene selectors on synthetic counts.

Every method runs in a process of its own on the same matrix. Its peak memory is what the process grew beyond
the loaded matrix; for a method `from_file`, which reads an h5ad block by block, beyond the loaded libraries. The
counts have log-normal gene means, eight kinds of cells and log-normal depths.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray
from scipy import optimize, sparse

from benchmarks.records import append, head

# Cells x genes: what the method is timed on. SCMarker works in memory, on fewer cells.
_FEW_CELLS = {"scmarker"}
_METHODS = (
    "m3drop",
    "nbumi",
    "nbumi_high_variance",
    "deviance",
    "dispersion",
    "scmarker",
    "scanpy_seurat_v3",
    "m3drop_from_file",
    "nbumi_from_file",
    "deviance_from_file",
    "dispersion_from_file",
)
_FROM_FILE, _FILE = "_from_file", "counts.h5ad"
_N_KINDS = 8
_TABLE = 2**20


def synthetic_counts(n_cells: int, n_genes: int, density: float, seed: int) -> sparse.csr_matrix[np.int32]:
    """Counts of ``density`` nonzero: every cell draws its molecules from the gene shares of its kind."""
    rng = np.random.default_rng(seed)
    depths = rng.lognormal(0, 0.4, n_cells)
    log_mean = rng.normal(0, 2.2, n_genes)
    tables = []
    for _ in range(_N_KINDS):
        differs = rng.random(n_genes) < 0.1
        shares = np.exp(log_mean + differs * rng.normal(0, 1.5, n_genes))
        shares /= shares.sum()
        # a table of genes, each as often as its share: a draw is one look-up
        places = np.searchsorted(np.cumsum(shares), (np.arange(_TABLE) + 0.5) / _TABLE)
        tables.append(np.minimum(places, n_genes - 1).astype(np.int32))
    drawn = [np.bincount(table, minlength=n_genes) / _TABLE for table in tables]
    depths *= _mean_depth(np.stack(drawn), np.quantile(depths, (np.arange(100) + 0.5) / 100), density)
    kinds = rng.integers(0, _N_KINDS, n_cells)
    blocks = [
        _draw(depths[start : start + 2000], kinds[start : start + 2000], tables, n_genes, rng)
        for start in range(0, n_cells, 2000)
    ]
    return sparse.vstack(blocks, format="csr")


def _mean_depth(shares: NDArray[np.float64], depths: NDArray[np.float64], density: float) -> float:
    """Molecules per cell that make ``density`` of the entries nonzero; ``shares`` is [kinds, genes]."""

    def excess(log_depth: float) -> float:
        zero = [np.exp(-np.exp(log_depth) * depths[:, None] * kind).mean() for kind in shares]
        return float(1 - np.mean(zero) - density)

    return float(np.exp(optimize.brentq(excess, np.log(10), np.log(1e6), xtol=1e-3)))


def _draw(
    depths: NDArray[np.float64],
    kinds: NDArray[np.int64],
    tables: list[NDArray[np.int32]],
    n_genes: int,
    rng: np.random.Generator,
) -> sparse.csr_matrix[np.int32]:
    totals = np.maximum(1, rng.poisson(depths))
    genes = np.concatenate(
        [tables[kind][rng.integers(0, _TABLE, total)] for kind, total in zip(kinds, totals, strict=True)]
    )
    indptr = np.concatenate([[0], np.cumsum(totals)])
    block = sparse.csr_matrix((np.ones(genes.size, np.int32), genes, indptr), shape=(depths.size, n_genes))
    block.sum_duplicates()
    return sparse.csr_matrix(
        (block.data, block.indices.astype(np.int32), block.indptr.astype(np.int32)), block.shape
    )


def run_method(method: str, matrix: Any, n_top_genes: int) -> NDArray[np.bool_]:
    """Run one method on a csr_matrix or row blocks; which genes it selected, [genes]."""
    from scrae import gene_selection

    if method == "scanpy_seurat_v3":
        import anndata
        import scanpy

        data = anndata.AnnData(matrix)
        scanpy.pp.highly_variable_genes(data, flavor="seurat_v3", n_top_genes=n_top_genes)
        return data.var["highly_variable"].to_numpy()
    if method == "scmarker":
        # Its own set. Nearly every count is on, and at this width most genes are candidates: the slow case.
        return gene_selection.scmarker(matrix, width=0.2, cutoff=0.2).selected
    if method == "nbumi_high_variance":
        return gene_selection.nbumi(matrix, variant="high_variance", n_top_genes=n_top_genes).selected
    return getattr(gene_selection, method)(matrix, n_top_genes=n_top_genes).selected


def _measure(method: str, folder: str, n_top_genes: int, repeats: int) -> dict[str, object]:
    """In a child: load the matrix, run, and say how long it took and how far the process grew."""
    warnings.simplefilter("ignore")
    import scanpy  # noqa: F401  # neither the seconds nor the memory of the imports count

    import scrae.gene_selection  # noqa: F401

    if method.endswith(_FROM_FILE):
        return _measure_from_file(method, Path(folder) / _FILE, n_top_genes, repeats)
    parts = [np.load(Path(folder) / f"{name}.npy") for name in ("data", "indices", "indptr", "shape")]
    matrix = sparse.csr_matrix(tuple(parts[:3]), shape=tuple(parts[3]))
    if method in _FEW_CELLS:  # log-normalised values of a part of the cells
        matrix = sparse.csr_matrix(matrix[: 5000 * matrix.shape[0] // 70000], dtype=np.float32)
        totals = np.asarray(matrix.sum(axis=1)).ravel()
        matrix.data = np.log1p(matrix.data / np.repeat(totals / np.median(totals), np.diff(matrix.indptr)))
    before = _forget_peak()
    run_method(method, matrix[:2000], 10)  # compilation is not timed
    taken = _clock(lambda: run_method(method, matrix, n_top_genes), repeats, before)
    matrix_mb = (matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes) / 2**20
    return _described(method, matrix, matrix.nnz, matrix_mb) | taken


def _measure_from_file(method: str, file: Path, n_top_genes: int, repeats: int) -> dict[str, object]:
    from scrae import io

    before = _forget_peak()
    blocks = io.CountBlocks(matrix=io.open_backed(file).X)
    name = method.removesuffix(_FROM_FILE)
    taken = _clock(lambda: run_method(name, blocks, n_top_genes), repeats, before)
    n_stored = int(blocks.matrix.group["data"].size)
    return _described(method, blocks, n_stored, file.stat().st_size / 2**20) | taken


def _described(method: str, matrix: Any, n_nonzero: int, matrix_mb: float) -> dict[str, object]:
    n_cells, n_genes = matrix.shape
    return {
        "method": method,
        "n_cells": n_cells,
        "n_genes": n_genes,
        "n_nonzero": n_nonzero,
        "matrix_mb": round(matrix_mb, 1),
    }


def _clock(run: Callable[[], NDArray[np.bool_]], repeats: int, before: float | None) -> dict[str, object]:
    """Seconds of each run, and how far the process grew beyond ``before``."""
    seconds, cpu_seconds = [], []
    for _ in range(repeats):
        start, cpu_start = time.perf_counter(), time.process_time()
        selected = run()
        seconds.append(round(time.perf_counter() - start, 3))
        cpu_seconds.append(round(time.process_time() - cpu_start, 3))
    peak = _memory_mb("VmHWM")
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "growth_mb": None if before is None or peak is None else round(peak - before, 1),
        "n_selected": int(selected.sum()),
    }


def _forget_peak() -> float | None:
    """Memory of now, in MB; the peak starts again from here."""
    before = _memory_mb("VmRSS")
    if before is not None:
        Path("/proc/self/clear_refs").write_text("5")
    return before


def _memory_mb(field: str) -> float | None:
    """A field of Linux's account of this process ("VmRSS" now, "VmHWM" at its peak); None elsewhere."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    line = next(line for line in status.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 2**10


def main() -> None:
    """Make the counts, run every method in a child, print and record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gene_selection", description=__doc__)
    parser.add_argument("--n-cells", type=int, default=70_000, help="SCMarker gets one in 14 of them")
    parser.add_argument("--n-genes", type=int, default=20_000)
    parser.add_argument("--density", type=float, default=0.05)
    parser.add_argument("--n-top-genes", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--methods", nargs="+", choices=_METHODS, default=list(_METHODS))
    parser.add_argument("--busy", action="store_true", help="say in the record that the machine was shared")
    parser.add_argument("-o", "--output", type=Path, help="JSON lines file to add the records to")
    options = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(options.threads)
    data = {name: getattr(options, name) for name in ("n_cells", "n_genes", "density", "seed")}
    with tempfile.TemporaryDirectory() as folder:
        matrix = synthetic_counts(**data)
        for name in ("data", "indices", "indptr"):
            np.save(Path(folder) / f"{name}.npy", getattr(matrix, name))
        np.save(Path(folder) / "shape.npy", matrix.shape)
        if any(method.endswith(_FROM_FILE) for method in options.methods):
            AnnData(matrix).write_h5ad(Path(folder) / _FILE)
        del matrix
        for method in options.methods:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                result = pool.apply(_measure, (method, folder, options.n_top_genes, options.repeats))
            print(
                f"{method:22s} {result['n_cells']:6d} x {result['n_genes']} "
                f"{min(result['seconds']):7.2f} s, of the processor {min(result['cpu_seconds']):6.2f} s "
                f"(best of {options.repeats})  grew by {result['growth_mb']} MB, "
                f"matrix {result['matrix_mb']:.0f} MB"
            )
            if options.output:
                shared = head("gene_selection", threads=options.threads, device="cpu", busy=options.busy)
                append(options.output, {**shared, "data": data, "n_top_genes": options.n_top_genes, **result})


if __name__ == "__main__":
    main()
