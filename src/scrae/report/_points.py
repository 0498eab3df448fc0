"""Data of the interactive scatter plot, packed into the page."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from markupsafe import Markup
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix, vstack

from scrae.pl import BASES, category_colors, category_column, is_category
from scrae.report._markers import ROWS, row_blocks
from scrae.report._pack import pack_genes

__all__ = ["MAX_POINTS", "base64_of", "embed_json", "scatter_data", "subsample"]

MAX_POINTS = 20_000
AT_LEAST = 50  # cells of each cluster are shown, where it has them
MOST_COLUMNS = 20  # of each kind
MOST_GROUPS = 100
NOT_SHOWN = ("scrae_size_factor", "scrae_fine")  # close to the library size; the slider shows it
QUANTITIES = {
    "scrae_n_counts": "Library size",
    "scrae_n_genes": "Detected genes",
    "scrae_mito": "Mitochondrial share",
}


def subsample(adata: AnnData, max_points: int = MAX_POINTS) -> NDArray[np.int64]:
    """Return the cells to show in drawing order, shape [points]: all, or a random part with at least 50 per cluster.

    Cells that lack coordinates in an embedding are left out of such a part. The choice is deterministic.
    """
    order: NDArray[np.int64] = np.random.default_rng(0).permutation(adata.n_obs)
    if adata.n_obs <= max_points:
        return order
    embeddings = [np.asarray(adata.obsm[basis]) for basis in BASES if _is_flat(adata, basis)]
    placed = np.all([np.isfinite(xy).all(axis=1) for xy in embeddings], axis=0)
    if placed.any():
        order = order[np.broadcast_to(placed, adata.n_obs)[order]]
    cluster = pd.Series(adata.obs["scrae"].to_numpy() if "scrae" in adata.obs else 0)[order]
    rank_in_cluster = cluster.groupby(cluster, observed=True).cumcount().to_numpy()
    chosen = np.argsort(rank_in_cluster >= AT_LEAST, kind="stable")[:max_points]
    return order[np.sort(chosen)]


def scatter_data(adata: AnnData, groups: dict[str, str], markers: dict[str, str]) -> dict[str, Any]:
    """Return the cells of the scatter plot for JSON; arrays are little-endian integers in base64.

    Parameters
    ----------
    adata : AnnData
        Annotated cells.
    groups : dict of str to str
        The main columns of ``obs``, and their titles; the other columns follow under their names.
    markers : dict of str to str
        Genes, and the cluster that each one marks. These and the modeled genes are packed, see :mod:`._pack`.
    """
    cells = subsample(adata)
    titles = groups | {str(key): str(key) for key in adata.obs if key not in (*groups, *NOT_SHOWN)}
    names = _genes(adata, markers)
    expression = _columns(adata, cells, adata.var_names.get_indexer(pd.Index(names)))
    return {
        "n": len(cells),
        "cells": adata.obs_names[cells].astype(str).tolist(),
        "bases": [_basis(adata, basis, cells) for basis in BASES if _is_flat(adata, basis)],
        "groups": [
            _group(adata, key, title, cells, main=key in groups)
            for key, title in list(titles.items())[:MOST_COLUMNS]
            if _names_groups(adata.obs[key])
        ],
        "values": _values(adata, cells),
        "genes": pack_genes(expression, names),
        "markers": [[gene, cluster] for gene, cluster in markers.items()],
    }


def _names_groups(column: pd.Series) -> bool:
    return is_category(column) and 0 < column.nunique() <= MOST_GROUPS


def _genes(adata: AnnData, markers: dict[str, str]) -> list[str]:
    """Return the markers, then the modeled genes in the order of their ranks."""
    var = adata.var
    modeled = (
        var.index[var["scrae_selected"].to_numpy(dtype=bool)] if "scrae_selected" in var else var.index[:0]
    )
    if "scrae_rank" in var:
        modeled = var.loc[modeled, "scrae_rank"].sort_values(kind="stable").index
    return list(dict.fromkeys([*markers, *map(str, modeled)]))


def _values(adata: AnnData, cells: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Return the numeric columns of ``obs`` that vary, those of quality control first."""
    keys = [*QUANTITIES, *(str(key) for key in adata.obs if key not in (*QUANTITIES, *NOT_SHOWN))]
    shown: list[dict[str, Any]] = []
    for key in keys:
        if key not in adata.obs or is_category(adata.obs[key]) or len(shown) >= MOST_COLUMNS:
            continue
        values = adata.obs[key].to_numpy(dtype=np.float64, na_value=np.nan)
        finite = values[np.isfinite(values)]
        if len(finite) and np.ptp(finite) > 0:
            log = key in QUANTITIES and key != "scrae_mito"
            title = QUANTITIES.get(key, key)
            shown.append(_quantity(title, values[cells], log=log) | {"main": key in QUANTITIES})
    return shown


def _columns(adata: AnnData, cells: NDArray[np.int64], genes: NDArray[np.intp]) -> csc_matrix:
    """Read ``X`` of some cells and genes, shape [cells, genes], in one pass."""
    place = np.argsort(cells)
    ends = np.searchsorted(cells[place], range(0, adata.n_obs + ROWS, ROWS))
    parts = [
        block[cells[place[first:last]] - start][:, genes]
        for (start, block), first, last in zip(row_blocks(adata.X), ends, ends[1:], strict=False)
    ]
    whole = csr_matrix(vstack(parts, format="csr"))
    return csc_matrix(whole[np.argsort(place)])


def embed_json(data: object) -> Markup:
    """Return JSON that cannot close its script element or open a comment."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704  without markup


def _is_flat(adata: AnnData, basis: str) -> bool:
    return basis in adata.obsm and adata.obsm[basis].shape[1] == 2


def _basis(adata: AnnData, basis: str, cells: NDArray[np.int64]) -> dict[str, Any]:
    """Quantize both axes on one scale of 0 to 65,534; 65,535 stands for missing coordinates."""
    xy = np.asarray(adata.obsm[basis], dtype=np.float64)[cells]
    known = np.isfinite(xy).all(axis=1)
    low = xy[known].min(axis=0) if known.any() else np.zeros(2)
    span = float((xy[known] - low).max()) if known.any() else 1.0
    whole = np.full(xy.shape, 65_535, dtype="<u2")
    whole[known] = np.rint((xy[known] - low) / (span or 1.0) * 65_534)
    return {"name": BASES[basis], "x": base64_of(whole[:, 0]), "y": base64_of(whole[:, 1])}


def _group(adata: AnnData, key: str, title: str, cells: NDArray[np.int64], *, main: bool) -> dict[str, Any]:
    column = category_column(adata, key)
    codes = column.codes.astype(np.int64)  # pandas stores few categories as int8, which cannot hold 65,535
    return {
        "name": title,
        "main": main,
        "categories": column.categories.tolist(),
        "colors": category_colors(adata, key),
        "sizes": np.bincount(codes[codes >= 0], minlength=len(column.categories)).tolist(),
        "codes": base64_of(np.where(codes < 0, 65_535, codes)[cells].astype("<u2")),
    }


def _quantity(title: str, values: NDArray[np.float64], *, log: bool) -> dict[str, Any]:
    """Quantize to 65,535 steps of the value or, if ``log``, of log(1 + value)."""
    values = np.log1p(values) if log else values
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    share = (np.nan_to_num(values, nan=low) - low) / ((high - low) or 1.0)
    return {
        "name": title,
        "log": log,
        "low": low,
        "high": high,
        "data": base64_of(np.rint(share * 65_535).astype("<u2")),
    }


def base64_of(array: NDArray[np.generic]) -> str:
    """Return the bytes of an array as text."""
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
