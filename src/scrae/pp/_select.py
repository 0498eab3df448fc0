"""Gene selection by our own methods or scanpy's."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from scrae.config import PreprocessConfig
from scrae.errors import ScraeError
from scrae.gene_selection import (
    GeneScores,
    combine_batches,
    deviance,
    dispersion,
    m3drop,
    nbumi,
    scmarker,
    seurat_v3,
)
from scrae.io import CountBlocks
from scrae.io.lazy import is_dask, lazy_counts
from scrae.io.notes import add_note, remove_notes
from scrae.pp._counts import counts_of
from scrae.pp._normalize import size_factors
from scrae.pp._options import BY_SIZE_FACTOR, check_batches, check_options, check_streams
from scrae.pp._scanpy import pearson_residuals

__all__ = ["Cells", "blocks_of", "select", "select_genes"]


class Cells(NamedTuple):
    """Input of the selectors: all cells, or those of one batch."""

    counts: Any  # csr_matrix or CountBlocks [cells, genes]
    x: Any  # csr_matrix [cells, genes], log-normalized; None where the counts are read block by block
    size_factor: NDArray[np.float64] | None  # [cells]; None before pp.normalize

    def only(self, rows: NDArray[np.bool_]) -> Cells:
        factor = None if self.size_factor is None else self.size_factor[rows]
        if isinstance(self.counts, CountBlocks):
            return Cells(self.counts.only(cells=rows), None, factor)
        return Cells(self.counts[rows], self.x[rows], factor)


def select_genes(
    adata: AnnData,
    *,
    method: str = PreprocessConfig.gene_selection,
    n_top_genes: int | None = PreprocessConfig.n_top_genes,
    fdr: float | None = None,
    batch_key: str | None = None,
) -> None:
    """Score and rank all genes and mark the best, in place.

    Parameters
    ----------
    adata
        After `scrae.pp.normalize`; or backed by a file with raw counts in ``X``, not normalized: one of
        `scrae.io.open_backed` or ``anndata.read_h5ad(path, backed="r")``. The counts are then read in blocks
        of cells, once or a few times, as is a dask array of them in ``layers["counts"]`` or ``X``. Not for
        ``pearson_residuals`` and ``scmarker``.
    method
        ``seurat_v3`` (Stuart et al. 2019), ``pearson_residuals`` (Lause et al. 2021), ``deviance`` (Townes
        et al. 2019), ``m3drop``, ``nbumi`` and ``nbumi_high_variance`` (Andrews and Hemberg 2019) read the
        counts; ``seurat`` (Satija et al. 2015; the scRAE paper's choice with 720 genes), ``cell_ranger``
        (Zheng et al. 2017) and ``scmarker`` (Wang et al. 2019) the normalized values. The details of our
        own are in `scrae.gene_selection`; the others are scanpy's.
    n_top_genes
        Exactly this many genes are selected; ties go to the gene that comes first. None: the genes that
        pass the method's own test (``m3drop``, ``nbumi``: with `fdr`; ``scmarker``: its markers).
    fdr
        Select the genes whose adjusted p-value (Benjamini and Hochberg) is below this, instead of a number.
        For ``m3drop`` and ``nbumi``.
    batch_key
        Column of obs. Genes are ranked within each batch, and then by the median of the ranks over those
        batches in which they are among the best `n_top_genes`. None: all cells together.

    Raises
    ------
    ScraeError
        The method is unknown, needs `scrae.pp.normalize` first, or has no threshold of its own; `batch_key`
        is no column, or has missing values; or the method cannot work on these counts.

    Warns
    -----
    ScraeWarning
        ``seurat_v3`` needed a wider span for its loess curve, or could not be used.

    Notes
    -----
    Writes ``var["scrae_selected"]`` and scanpy's ``var["highly_variable"]`` (bool), ``var["scrae_score"]``
    (float64, larger is better, -inf for genes that the method drops), ``var["scrae_rank"]`` (int64, 0 is best),
    ``uns["scrae"]["gene_selection"]`` (method, numbers, and what a plot needs: ``mean``, ``statistic``,
    ``statistic_name``, ``expected``, fitted parameters; over batches ``mean`` alone) and ``uns["scrae"]["notes"]``.

    Examples
    --------
    >>> adata = scrae.datasets.pbmc()
    >>> scrae.pp.filter(adata)
    >>> scrae.pp.normalize(adata)
    >>> scrae.pp.select_genes(adata, method="m3drop", n_top_genes=300)
    >>> int(adata.var["scrae_selected"].sum())
    300
    """
    check_options(method, n_top_genes, fdr, batch_key)
    check_batches(adata, batch_key)
    select(adata, _cells_of(adata, method), method, n_top_genes, fdr, batch_key)


def _cells_of(adata: AnnData, method: str) -> Cells:
    """Input of a method, from an AnnData in memory or backed by a file."""
    factor = adata.obs.get("scrae_size_factor")
    size_factor = None if factor is None else factor.to_numpy(dtype=np.float64)
    if adata.isbacked and adata.is_view:
        raise ScraeError(
            "Expected an AnnData that is not a view, found a view of a backed one; call .to_memory(), or "
            "select genes over the whole file."
        )
    if (matrix := lazy_counts(adata)) is not None:
        check_streams(method, dask=is_dask(matrix))
        blocks = blocks_of(adata)
        if size_factor is None and method in BY_SIZE_FACTOR:
            size_factor = size_factors(blocks, adata.n_vars).factor
        return Cells(blocks, None, size_factor)
    x = adata.X
    is_float = isinstance(x, sparse.csr_matrix) and x.dtype.kind == "f"
    if method in (*BY_SIZE_FACTOR, "scmarker") and not (is_float and size_factor is not None):
        raise ScraeError(f"{method} needs normalized values in X, found none; call scrae.pp.normalize first.")
    return Cells(counts_of(adata), x, size_factor)


def blocks_of(adata: AnnData) -> CountBlocks:
    """Row blocks of counts in a file or a dask array, to whose workers no cell names are sent."""
    matrix = lazy_counts(adata)
    cell_names = None if is_dask(matrix) else adata.obs_names
    return CountBlocks(matrix=matrix, cell_names=cell_names, gene_names=adata.var_names)


def select(
    adata: AnnData,
    cells: Cells,
    method: str,
    n_top_genes: int | None,
    fdr: float | None,
    batch_key: str | None,
) -> None:
    """Score, rank and mark the genes, and write the slots."""
    n = None if fdr is not None else n_top_genes
    if batch_key is None or n is None:
        result = _score(method, cells, n, fdr)
        remarks, picture = list(result.notes), _for_plot(result)
    else:
        codes, batches = pd.factorize(adata.obs[batch_key], sort=True)
        parts = [
            _score_batch(method, cells, codes == code, n, f"obs[{batch_key!r}] == {batch!r}")
            for code, batch in enumerate(batches)
        ]
        result = combine_batches(parts, n_top_genes=n)
        picture = {"mean": np.average([_mean(part) for part in parts], axis=0, weights=np.bincount(codes))}
        remarks = [
            f"{batch}: {line}" for batch, part in zip(batches, parts, strict=True) for line in part.notes
        ]
    adata.var["scrae_selected"] = result.selected
    adata.var["highly_variable"] = result.selected.copy()  # where scanpy looks
    adata.var["scrae_score"] = result.score
    adata.var["scrae_rank"] = result.rank
    remove_notes(adata, "Gene selection:")
    add_note(adata, f"Gene selection: {int(result.selected.sum())} of {adata.n_vars} genes by {method}.")
    for line in remarks:
        add_note(adata, f"Gene selection: {line}.")
    facts = {"method": method, "n_top_genes": n, "fdr": fdr, "batch_key": batch_key}
    adata.uns["scrae"]["gene_selection"] = facts | {"n_selected": int(result.selected.sum())} | picture


def _score(method: str, cells: Cells, n: int | None, fdr: float | None) -> GeneScores:
    """Rank the genes and select n of them; None: those that pass the method's own test."""
    counts, alpha = cells.counts, 0.05 if fdr is None else fdr
    match method:
        case "m3drop":
            return m3drop(counts, n_top_genes=n, alpha=alpha, correction="fdr")
        case "nbumi":
            return nbumi(counts, n_top_genes=n, alpha=alpha, correction="fdr")
        case "scmarker":
            return scmarker(cells.x, n_top_genes=n)
    assert n is not None  # check_options refused it
    match method:
        case "nbumi_high_variance":
            return nbumi(counts, variant="high_variance", n_top_genes=n)
        case "deviance":
            return deviance(counts, n_top_genes=n)
        case "seurat":
            return dispersion(counts, n_top_genes=n, size_factors=cells.size_factor)
        case "cell_ranger":
            return dispersion(counts, flavor="cell_ranger", n_top_genes=n, size_factors=cells.size_factor)
        case "pearson_residuals":
            return pearson_residuals(counts, n_top_genes=n)
    return seurat_v3(counts, n_top_genes=n)


def _score_batch(method: str, cells: Cells, rows: NDArray[np.bool_], n: int, name: str) -> GeneScores:
    """Rank the genes within one batch, which an error names."""
    try:
        return _score(method, cells.only(rows), n, None)
    except ScraeError as error:
        raise ScraeError(
            f"{method}: the batch {name}, number of cells {int(rows.sum())}, is too small or too sparse; leave these "
            f"cells out, merge the batch with another, or select genes without batch_key ({error})"
        ) from error


def _mean(result: GeneScores) -> NDArray[np.float64]:
    assert result.fit is not None  # of one batch
    return result.fit.mean


def _for_plot(result: GeneScores) -> dict[str, Any]:
    """Values that a plot of the selection needs."""
    fit = result.fit
    assert fit is not None  # of all cells together
    facts: dict[str, Any] = {
        "mean": fit.mean,
        "statistic": fit.statistic,
        "statistic_name": fit.statistic_name,
    }
    if fit.expected is not None:
        facts["expected"] = fit.expected
    if fit.parameters is not None:
        facts |= {name: float(value) for name, value in fit.parameters._asdict().items()}
    if result.p_value is not None:
        facts["p_value"] = result.p_value
    return facts
