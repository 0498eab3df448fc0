"""Counts that are not in memory: they lie in a file, or are a dask array whose blocks are made where dask says."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import anndata
import h5py
import pandas as pd
import zarr
from anndata import AnnData

from scrae.errors import ScraeError
from scrae.io.find_counts import layer_names, refuse_other_features
from scrae.io.names import clean_names
from scrae.io.notes import add_note

__all__ = ["computed", "in_blocks", "is_dask", "lazy_counts", "use_dask"]

T = TypeVar("T")

_AT_ONCE = 64  # blocks, without a cluster; what they give is in memory then


def is_dask(matrix: Any) -> bool:
    """Whether a matrix is a dask array; dask is not imported for it."""
    return hasattr(matrix, "__dask_graph__")


def in_blocks(matrix: Any) -> bool:
    """Whether a matrix is read block by block: it lies in an h5ad or zarr file, or is a dask array."""
    kinds = (h5py.Dataset, zarr.Array, anndata.abc.CSRDataset, anndata.abc.CSCDataset)
    return isinstance(matrix, kinds) or is_dask(matrix)


def lazy_counts(adata: AnnData) -> Any:
    """Return the counts if they are read block by block: ``layers["counts"]``, or ``X`` without it; otherwise None."""
    matrix = adata.layers.get("counts", adata.X)
    return matrix if in_blocks(matrix) else None


def use_dask(adata: AnnData) -> None:
    """Bring an AnnData whose counts are a dask array into the form of `open_backed`, in place.

    Raises
    ------
    ScraeError
        Its tables are not in memory, or it holds features other than gene expression.

    Notes
    -----
    Writes ``X`` (the dask array of counts; all other dask arrays are left out), ``obs_names`` and ``var_names`` (no
    name empty or twice) and ``uns["scrae"]["notes"]``.
    """
    for name, table in (("obs", adata.obs), ("var", adata.var)):
        if not isinstance(table, pd.DataFrame):
            raise ScraeError(
                f"{name}: expected a table in memory, found a {type(table).__name__}; read it with "
                f'anndata.io.read_elem(file["{name}"])'
            )
    refuse_other_features(adata)
    if adata.is_view:
        adata._init_as_actual(adata.copy())
    words = "layers['counts']" if "counts" in adata.layers else "X"
    counts = adata.layers.pop("counts", adata.X)
    others = [] if words == "X" or not is_dask(adata.X) else ["X"]
    adata.X = counts
    for slot, arrays, names in (
        ("layers", adata.layers, layer_names(adata)),
        ("obsm", adata.obsm, list(adata.obsm)),
    ):
        for name in [name for name in names if is_dask(arrays[name])]:
            del arrays[name]
            others.append(f"{slot}[{name!r}]")
    if adata.raw is not None and is_dask(adata.raw.X):
        del adata.raw
        others.append("raw")
    add_note(adata, f"Counts were found in {words}: {adata.n_obs} cells x {adata.n_vars} genes.")
    if others:
        add_note(adata, f"Dask arrays other than the counts were left out: {', '.join(others)}.")
    clean_names(adata)


def computed(function: Callable[..., T], calls: Iterable[tuple[Any, ...]]) -> Iterator[T]:
    """Yield function(*call) of every call in order, made by dask: on the cluster of the current client, or here.

    Parameters
    ----------
    function
        Sent once, whatever it holds.
    calls
        Arguments, of which dask's own are computed first.

    Raises
    ------
    ScraeError
        A worker cannot import what it needs, or cannot read a block.
    """
    import dask

    once = dask.delayed(function, traverse=False)
    tasks = [dask.delayed(_call)(once, *call) for call in calls]
    client = _client()
    try:
        if client is None:
            for start in range(0, len(tasks), _AT_ONCE):
                yield from dask.compute(*tasks[start : start + _AT_ONCE])
            return
        futures = deque(client.compute(tasks))
        while futures:
            yield futures.popleft().result()  # and let the cluster forget it
    except (ImportError, OSError) as error:
        raise ScraeError(
            f"a block of the dask array could not be made: {type(error).__name__}: {error}; every worker needs scrae, "
            "and to see the file"
        ) from error


def _call(function: Callable[..., T], *arguments: Any) -> T:
    return function(*arguments)


def _client() -> Any:
    """The current client of a cluster; None: there is none, so dask works here."""
    distributed = sys.modules.get("distributed")  # who made a client has imported it
    try:
        return distributed and distributed.default_client()
    except ValueError:
        return None
