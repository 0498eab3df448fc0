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

from scrae.pl import BASES, category_colors, category_column, is_category
from scrae.report._markers import ROWS, row_blocks

__all__ = ["MAX_POINTS", "embed_json", "scatter_data", "subsample"]

MAX_POINTS = 20_000
AT_LEAST = 50  # cells of each cluster are shown, where it has them
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


def scatter_data(adata: AnnData, groups: dict[str, str], genes: dict[str, str]) -> dict[str, Any]:
    """Return the cells of the scatter plot for JSON; arrays are little-endian integers in base64.

    Parameters
    ----------
    adata : AnnData
        Annotated cells.
    groups : dict of str to str
        Columns of ``obs``, and their titles.
    genes : dict of str to str
        Genes, and the cluster that each one marks.
    """
    cells = subsample(adata)
    values = [
        _quantity(title, adata.obs[key].to_numpy(dtype=np.float64)[cells], log=key != "scrae_mito")
        for key, title in QUANTITIES.items()
        if key in adata.obs and np.nan_to_num(adata.obs[key].to_numpy(dtype=np.float64)).any()
    ]
    columns = _columns(adata, cells, adata.var_names.get_indexer(pd.Index(genes)))
    return {
        "n": len(cells),
        "cells": adata.obs_names[cells].astype(str).tolist(),
        "bases": [_basis(adata, basis, cells) for basis in BASES if _is_flat(adata, basis)],
        "groups": [
            _group(adata, key, title, cells) for key, title in groups.items() if is_category(adata.obs[key])
        ],
        "values": values,
        "genes": [
            {"name": str(gene), "cluster": genes[gene], **_bytes(columns[:, i])}
            for i, gene in enumerate(genes)
        ],
    }


def _columns(adata: AnnData, cells: NDArray[np.int64], genes: NDArray[np.intp]) -> NDArray[Any]:
    """Read ``X`` of some cells and genes, shape [cells, genes], in one pass."""
    place = np.argsort(cells)
    ends = np.searchsorted(cells[place], range(0, adata.n_obs + ROWS, ROWS))
    parts = [
        block[cells[place[first:last]] - start][:, genes].toarray()
        for (start, block), first, last in zip(row_blocks(adata.X), ends, ends[1:], strict=False)
    ]
    columns = np.concatenate([*parts, np.zeros((0, len(genes)), dtype=np.float32)])
    return columns[np.argsort(place)]


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
    return {"name": BASES[basis], "x": _base64(whole[:, 0]), "y": _base64(whole[:, 1])}


def _group(adata: AnnData, key: str, title: str, cells: NDArray[np.int64]) -> dict[str, Any]:
    column = category_column(adata, key)
    codes = column.codes.astype(np.int64)  # pandas stores few categories as int8, which cannot hold 65,535
    return {
        "name": title,
        "categories": column.categories.tolist(),
        "colors": category_colors(adata, key),
        "sizes": np.bincount(codes[codes >= 0], minlength=len(column.categories)).tolist(),
        "codes": _base64(np.where(codes < 0, 65_535, codes)[cells].astype("<u2")),
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
        "data": _base64(np.rint(share * 65_535).astype("<u2")),
    }


def _bytes(values: NDArray[np.float32]) -> dict[str, Any]:
    """Quantize expression to 255 steps from 0 to the largest value."""
    high = float(values.max(initial=0.0)) or 1.0
    return {"high": high, "data": _base64(np.rint(values / high * 255).astype("u1"))}


def _base64(array: NDArray[np.generic]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
