"""Read an AnnData file element by element, so that one that cannot be read does not cost the others."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anndata
import h5py
import pandas as pd
from anndata import AnnData

from scrae.errors import ScraeWarning
from scrae.io.names import some
from scrae.io.notes import add_note

__all__ = ["read_h5ad_parts", "read_parts", "read_table_parts"]

_ARRAYS = ("layers", "obsm", "varm", "obsp", "varp")


def read_h5ad_parts(path: Path) -> AnnData:
    """Read an h5ad, or those of its elements that can be read; see `read_parts`."""
    try:
        return anndata.read_h5ad(path)
    except MemoryError:
        raise
    except Exception:  # of one element, of any kind
        with h5py.File(path, "r") as file:
            return read_parts(file, path)


def read_parts(root: Any, path: object) -> AnnData:
    """Read the elements of an AnnData file that can be read; the others are left out with a ScraeWarning and a note.

    Parameters
    ----------
    root : h5py.Group or zarr.Group
        The root of the file.
    path : object
        Its name, for the warning.

    Raises
    ------
    Exception
        Of the reader, if names of cells or genes, or all matrices of counts, cannot be read.
    """
    lost: list[str] = []
    obs, var = (read_table_parts(root[slot], slot, lost) for slot in ("obs", "var"))
    adata = AnnData(obs=obs, var=var)
    failures: list[Exception] = []
    if "X" in root:
        with _or_lost("X", lost, failures):
            adata.X = anndata.io.read_elem(root["X"])
    for slot in _ARRAYS:
        for key in root.get(slot, ()):
            with _or_lost(f"{slot}[{key!r}]", lost, failures):
                getattr(adata, slot)[key] = anndata.io.read_elem(root[slot][key])
    adata.uns = _mapping(root["uns"], "uns", lost) if "uns" in root else {}
    if "raw" in root:
        with _or_lost("raw", lost, failures):
            if hasattr(
                root["raw"], "keys"
            ):  # anndata >= 0.12 writes a value for none, which older ones cannot read
                of_raw = read_table_parts(root["raw/var"], "raw.var", lost)
                adata.raw = AnnData(
                    anndata.io.read_elem(root["raw/X"]), obs=pd.DataFrame(index=obs.index), var=of_raw
                )
    if failures and adata.X is None and adata.raw is None and "counts" not in adata.layers:
        raise failures[0]
    if not lost:
        return adata
    said = f"Elements that could not be read were left out: {some(lost, 8, show=str)}."
    add_note(adata, said)
    with warnings.catch_warnings():
        warnings.simplefilter("always", ScraeWarning)  # its caller silences those of the readers
        warnings.warn(f"{path}: {said}", ScraeWarning, stacklevel=2)
    return adata


def read_table_parts(group: Any, where: str, lost: list[str]) -> pd.DataFrame:
    """Return a table without those columns that cannot be read, which are appended to ``lost``."""
    try:
        table: pd.DataFrame = anndata.io.read_elem(group)
    except MemoryError:
        raise
    except Exception:  # of one column, of any kind: the columns are then read one by one
        if "_index" not in getattr(group, "attrs", {}):
            raise
    else:
        return table
    index = pd.Index(anndata.io.read_elem(group[group.attrs["_index"]]))
    columns = {}
    for key in group.attrs["column-order"]:
        with _or_lost(f"{where}[{key!r}]", lost, []):
            columns[key] = pd.Series(anndata.io.read_elem(group[key]), index=index)
    return pd.DataFrame(columns, index=index)


def _mapping(group: Any, where: str, lost: list[str]) -> dict[str, Any]:
    """Return the readable elements of a group of ``uns``, and of the groups in it."""
    found: dict[str, Any] = {}
    for key in group:
        place = f"{where}[{key!r}]"
        child: Any = None
        try:
            child = group[key]  # a broken link raises
            found[key] = anndata.io.read_elem(child)
        except MemoryError:
            raise
        except Exception:  # of any kind, by content: the element is left out and named
            if hasattr(child, "keys") and child.attrs.get("encoding-type", "dict") == "dict":
                found[key] = _mapping(child, place, lost)
            else:
                lost.append(place)
    return found


@contextmanager
def _or_lost(where: str, lost: list[str], failures: list[Exception]) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # by content, nearly any
        lost.append(where)
        failures.append(error)
