"""Columns of obs that a user names: labels to score against, and the experimental batch of each cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from scrae.errors import ScraeError, did_you_mean
from scrae.io.names import some

__all__ = ["batch_codes", "batches_of", "check_keys", "join_columns", "refuse_one_batch"]


def check_keys(adata: AnnData, label_key: str | None, batch_key: str | None) -> None:
    """Refuse wrong names and empty columns before the work, not after it; the message suggests a column that is there.

    Raises
    ------
    ScraeError
        If there is no such column, all labels are missing, a cell has no batch, or there is only one batch.
    """
    if label_key is not None and label_key not in adata.obs:
        there = ", ".join(adata.obs.columns) or "no columns at all"
        raise ScraeError(
            f"--label-key: expected a column of obs, found no {label_key!r}; there is {there}"
            f"{did_you_mean(label_key, adata.obs)}"
        )
    if label_key is not None and adata.obs[label_key].isna().all():
        raise ScraeError(
            f"--label-key: expected labels in obs[{label_key!r}], found none: all of its {adata.n_obs} values are "
            "missing; leave the option out or name another column"
        )
    if batch_key is not None:
        refuse_one_batch(batches_of(adata, batch_key).categories, batch_key)


def refuse_one_batch(names: Sequence[str] | pd.Index, key: str) -> None:
    """Raise ScraeError if all cells are of one batch."""
    if len(names) == 1:
        raise ScraeError(
            f"batch_key: expected at least two batches in obs[{key!r}], found only {names[0]!r}; leave batch_key out"
        )


def join_columns(adata: AnnData, key: str | None) -> None:
    """Write ``obs[key]`` if ``key`` names several columns, e.g. ``"donor,chemistry"``: their values, joined.

    Raises
    ------
    ScraeError
        If one of the columns is missing or has missing values.
    """
    if key is None or key in adata.obs or "," not in key:
        return
    columns = [pd.Series(batches_of(adata, name)).astype(str) for name in key.split(",")]
    adata.obs[key] = pd.Categorical([", ".join(values) for values in zip(*columns, strict=True)])


def batches_of(adata: AnnData, key: str) -> pd.Categorical:
    """Return the batch of each cell by the name that ``obs[key]`` holds, as text; the categories are in use, sorted.

    Raises
    ------
    ScraeError
        If there is no such column (the message suggests a similar one), or a cell has no batch.
    """
    if key not in adata.obs:
        raise ScraeError(
            f"batch_key: expected a column of obs, found no {key!r}; there is {some(adata.obs, 8) or 'none'}"
            f"{did_you_mean(key, adata.obs)}"
        )
    column = adata.obs[key]
    if column.isna().any():
        raise ScraeError(
            f"batch_key: expected a batch for every cell, found {int(column.isna().sum())} of {len(column)} cells "
            f"without one in obs[{key!r}]; fill them or leave these cells out"
        )
    return pd.Categorical(column.astype(str))


def batch_codes(batches: pd.Categorical, known: tuple[str, ...], key: str) -> NDArray[np.int64]:
    """Return the place of each cell's batch among those that a model knows.

    Raises
    ------
    ScraeError
        If a batch is unknown.
    """
    unknown = sorted(set(batches.categories) - set(known))
    if unknown:
        raise ScraeError(
            f"batch_key: expected batches that the model knows ({some(known, 8)}), found {some(unknown)} in "
            f"obs[{key!r}]; name a known batch to decode these cells as if from it, or train with them"
        )
    places = pd.Index(known).get_indexer(batches.categories)
    return np.asarray(places[batches.codes], dtype=np.int64)
