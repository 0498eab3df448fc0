"""Which genes the model looks at: one door to our own selectors and to scanpy's."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from scrae.errors import ScraeError
from scrae.gene_selection import GeneScores, combine_batches, deviance, dispersion, m3drop, nbumi, scmarker
from scrae.io import note
from scrae.io.names import forget, some
from scrae.pp._counts import counts_of
from scrae.pp._scanpy import cell_ranger, pearson_residuals, seurat_v3

__all__ = ["METHODS", "select_genes"]

METHODS = (
    "seurat_v3",
    "seurat",
    "cell_ranger",
    "pearson_residuals",
    "deviance",
    "m3drop",
    "nbumi",
    "nbumi_high_variance",
    "scmarker",
)
_WITH_TEST = ("m3drop", "nbumi")
_ON_NORMALISED = ("seurat", "cell_ranger", "scmarker")


class _Cells(NamedTuple):
    """What the selectors read, of all cells or of one batch."""

    counts: sparse.csr_matrix  # [cells, genes]
    x: Any  # csr_matrix [cells, genes], log-normalised
    size_factor: NDArray[np.float64] | None  # [cells]; None before pp.normalize

    def only(self, rows: NDArray[np.bool_]) -> _Cells:
        factor = None if self.size_factor is None else self.size_factor[rows]
        return _Cells(self.counts[rows], self.x[rows], factor)


def select_genes(
    adata: AnnData,
    *,
    method: str = "seurat_v3",
    n_top_genes: int | None = 2000,
    fdr: float | None = None,
    batch_key: str | None = None,
) -> None:
    """Score and rank all genes and mark the best, in place.

    Parameters
    ----------
    adata
        After `scrae.pp.normalize`.
    method
        ``seurat_v3`` (Stuart et al. 2019), ``pearson_residuals`` (Lause et al. 2021), ``deviance`` (Townes
        et al. 2019), ``m3drop``, ``nbumi`` and ``nbumi_high_variance`` (Andrews and Hemberg 2019) read the
        counts; ``seurat`` (Satija et al. 2015; the scRAE paper's choice with 720 genes), ``cell_ranger``
        (Zheng et al. 2017) and ``scmarker`` (Wang et al. 2019) the normalised values. The details of our
        own are in `scrae.gene_selection`; the others are scanpy's.
    n_top_genes
        Exactly so many genes are selected, ties going to the gene that comes first. None: the genes that
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
    Writes ``var["scrae_selected"]`` (bool), ``var["scrae_score"]`` (float64, larger is better, -inf for
    genes that the method drops), ``var["scrae_rank"]`` (int64, 0 is best),
    ``uns["scrae"]["gene_selection"]`` (method, numbers, and what a plot needs: ``mean``, ``statistic``,
    ``statistic_name``, ``expected``, fitted parameters) and ``uns["scrae"]["notes"]``.
    """
    _check(adata, method, n_top_genes, fdr, batch_key)
    n = None if fdr is not None else n_top_genes
    factor = adata.obs.get("scrae_size_factor")
    size_factor = None if factor is None else factor.to_numpy(dtype=np.float64)
    cells = _Cells(counts_of(adata), adata.X, size_factor)
    if batch_key is None or n is None:
        result = _score(method, cells, n, fdr)
        remarks = list(result.notes)
    else:
        codes, batches = pd.factorize(adata.obs[batch_key], sort=True)
        parts = [_score(method, cells.only(codes == code), n, fdr) for code in range(len(batches))]
        result = combine_batches(parts, n_top_genes=n)
        remarks = [
            f"{batch}: {line}" for batch, part in zip(batches, parts, strict=True) for line in part.notes
        ]
    adata.var["scrae_selected"] = result.selected
    adata.var["scrae_score"] = result.score
    adata.var["scrae_rank"] = result.rank
    forget(adata, "Gene selection:")
    note(adata, f"Gene selection: {int(result.selected.sum())} of {adata.n_vars} genes by {method}.")
    for line in remarks:
        note(adata, f"Gene selection: {line}.")
    facts = {"method": method, "n_top_genes": n, "fdr": fdr, "batch_key": batch_key}
    adata.uns["scrae"]["gene_selection"] = (
        facts | {"n_selected": int(result.selected.sum())} | _for_plot(result)
    )


def _score(method: str, cells: _Cells, n: int | None, fdr: float | None) -> GeneScores:
    """Rank the genes of some cells, and select so many; None: as many as pass the method's own test."""
    counts, alpha = cells.counts, 0.05 if fdr is None else fdr
    match method:
        case "m3drop":
            return m3drop(counts, n_top_genes=n, alpha=alpha, correction="fdr")
        case "nbumi":
            return nbumi(counts, n_top_genes=n, alpha=alpha, correction="fdr")
        case "scmarker":
            return scmarker(cells.x, n_top_genes=n)
    assert n is not None  # _check refused it
    match method:
        case "nbumi_high_variance":
            return nbumi(counts, variant="high_variance", n_top_genes=n)
        case "deviance":
            return deviance(counts, n_top_genes=n)
        case "seurat":
            return dispersion(counts, n_top_genes=n, size_factors=cells.size_factor)
        case "cell_ranger":
            return cell_ranger(cells.x, n_top_genes=n)
        case "pearson_residuals":
            return pearson_residuals(counts, n_top_genes=n)
    return seurat_v3(counts, n_top_genes=n)


def _check(
    adata: AnnData, method: str, n_top_genes: int | None, fdr: float | None, batch_key: str | None
) -> None:
    if method not in METHODS:
        raise ScraeError(f"There is no gene selection {method!r}; choose one of {', '.join(METHODS)}.")
    if fdr is not None and method not in _WITH_TEST:
        raise ScraeError(
            f"{method} has no test, so fdr says nothing; give n_top_genes, or use m3drop or nbumi."
        )
    if fdr is not None and not 0 < fdr < 1:
        raise ScraeError(f"fdr is a rate between 0 and 1, found {fdr}; for 5 % say 0.05.")
    if n_top_genes is None and method not in (*_WITH_TEST, "scmarker"):
        raise ScraeError(f"{method} has no threshold of its own; give n_top_genes.")
    if n_top_genes is not None and n_top_genes < 1:
        raise ScraeError(f"n_top_genes must be 1 or more, found {n_top_genes}.")
    x = adata.X
    is_float = isinstance(x, sparse.csr_matrix) and x.dtype.kind == "f"
    normalised = is_float and "scrae_size_factor" in adata.obs
    if method in _ON_NORMALISED and not normalised:
        raise ScraeError(
            f"{method} reads normalised values, and X holds none; call scrae.pp.normalize first."
        )
    if batch_key is None:
        return
    if batch_key not in adata.obs:
        raise ScraeError(
            f"There is no column {batch_key!r} in obs for batch_key; there is {some(adata.obs, 8)}."
        )
    if adata.obs[batch_key].isna().any():
        raise ScraeError(f"obs[{batch_key!r}] has missing values; give every cell a batch.")
    if fdr is not None or n_top_genes is None:
        raise ScraeError("Batches are combined by rank; give n_top_genes instead of a threshold.")


def _for_plot(result: GeneScores) -> dict[str, Any]:
    """Return what a plot needs as plain values; nothing over batches, of which each has a fit of its own."""
    fit = result.fit
    if fit is None:
        return {}
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
