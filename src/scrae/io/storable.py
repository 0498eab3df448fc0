"""Bring what an h5ad file cannot hold into a form that it can, before any long work."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from datetime import date, time, timedelta
from io import BytesIO
from pathlib import PurePath
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
from anndata import AnnData

from scrae.io.lazy import in_blocks
from scrae.io.names import UNFIT, make_unique, some
from scrae.io.notes import add_note

__all__ = ["make_storable", "storable_keys"]

_DEEPEST = 30  # levels of dictionaries; one that contains itself has no end
_ARRAYS = ("layers", "obsm", "varm", "obsp", "varp")
_RENAMED = "Renamed, because an h5ad file cannot hold such names"
_AS_TEXT = "Stored as text, because an h5ad file cannot hold the values as they were"
_AS_NUMBERS = "Stored as floating-point numbers, because an h5ad file cannot hold the values as they were"
_LEFT_OUT = "Left out, because an h5ad file cannot hold them"

_Changes = defaultdict[str, list[str]]  # what happened, and to which elements


def make_storable(adata: AnnData) -> None:
    """Bring everything except the counts into a form that an h5ad file can hold, in place.

    Each doubtful element of ``obs``, ``var``, ``raw.var``, ``uns``, ``obsm``, ``varm``, ``obsp``, ``varp`` and
    ``layers`` is written to a file in memory and read again. Columns that fail are stored as text or as floating-point
    numbers, other elements are left out. Keys that an HDF5 file cannot hold, such as those with a slash, are renamed.
    Every change is listed in ``uns["scrae"]["notes"]``. Numeric matrices are not copied.

    Parameters
    ----------
    adata : AnnData
        With text as names of cells and genes, as `scrae.io.use_counts` leaves them. A view becomes an AnnData of its
        own.
    """
    if adata.is_view and not adata.isbacked:
        adata._init_as_actual(adata.copy())
    changes: _Changes = defaultdict(list)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other libraries, on odd content
        for slot in ("obs", "var"):
            frame = getattr(adata, slot)
            if isinstance(frame, pd.DataFrame) and (table := _table(frame, slot, changes)) is not frame:
                setattr(adata, slot, table)
        for slot in _ARRAYS:
            old = _named(getattr(adata, slot), adata.X)
            _replace(getattr(adata, slot), old, _elements(old, slot, changes, _array))
        adata.uns = _elements(adata.uns, "uns", changes, _value)
        _raw(adata, changes)
    for what, elements in changes.items():
        add_note(adata, f"{what}: {some(dict.fromkeys(elements), 8, show=str)}.")


def storable_keys(names: Iterable[Hashable], *, slashes: bool = False) -> list[str]:
    """Return keys for these names that an HDF5 group can hold, none of them twice.

    Parameters
    ----------
    names : iterable
        Keys of any type.
    slashes : bool
        Keep a slash where no other name is the beginning of the path, as in ``CD4`` beside ``CD4/CD8``.
    """
    taken = {str(name) for name in names}
    keys = []
    for name in names:
        key = UNFIT.sub("\ufffd", str(name))
        parts = key.split("/")
        beginnings = {"/".join(parts[:n]) for n in range(1, len(parts))}
        if not (slashes and all(parts) and not beginnings & taken):
            key = key.replace("/", "_")
        if key in ("", ".", "..", "_index"):  # taken by HDF5 and anndata
            key = f"{key.strip('.')}_"
        keys.append(key)
    return make_unique(keys)


def _table(frame: pd.DataFrame, where: str, changes: _Changes) -> pd.DataFrame:
    """Return the same table if an h5ad can hold it, otherwise one that it can hold."""
    keys = storable_keys(frame.columns, slashes=True)
    keys = [k if "/" not in k or _is_storable(pd.DataFrame({k: [1]})) else k.replace("/", "_") for k in keys]
    keys = make_unique(keys)
    columns = {}
    for position, (old, key) in enumerate(zip(frame.columns, keys, strict=True)):
        if old != key:
            changes[_RENAMED].append(f"{where}[{old!r}] is now {key!r}")
        columns[key] = _column(frame.iloc[:, position], f"{where}[{key!r}]", changes)
    index = _index(frame.index, keys, where, changes)
    is_same = index is frame.index and list(frame.columns) == keys
    if is_same and all(columns[key] is None for key in keys):
        return frame
    values = [frame.iloc[:, n].array if columns[key] is None else columns[key] for n, key in enumerate(keys)]
    return pd.DataFrame(dict(zip(keys, values, strict=True)), index=index)


def _index(index: pd.Index, columns: list[str], where: str, changes: _Changes) -> pd.Index:
    """Return the index, as text where the file cannot hold it, and without a name that a column has."""
    if not _is_storable(pd.DataFrame(index=index[:0] if len(index) and _is_text(index) else index)):
        changes[_AS_TEXT].append(f"the index of {where}")
        index = pd.Index(_texts(index.to_series()), name=index.name)
    if index.name is not None and (index.name in columns or storable_keys([index.name]) != [index.name]):
        changes[_LEFT_OUT].append(f"the name {index.name!r} of the index of {where}")
        index = index.rename(None)
    return index


def _is_text(index: pd.Index) -> bool:
    return index.dtype == object and all(isinstance(name, str) and not UNFIT.search(name) for name in index)


def _column(column: pd.Series, where: str, changes: _Changes) -> Any:
    """Return None if an h5ad can hold the column, otherwise values that it can hold."""
    dtype = column.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf" and dtype.itemsize <= 8:
        return None if dtype.isnative else column.to_numpy().astype(dtype.newbyteorder("="))
    doubtful: Any = column.array
    if isinstance(dtype, pd.CategoricalDtype):  # its codes are numbers
        doubtful = pd.Categorical(dtype.categories, dtype=dtype)
    if _is_storable(pd.DataFrame({"x": doubtful})):
        return None
    if pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_complex_dtype(dtype):
        changes[_AS_NUMBERS].append(where)
        return column.to_numpy(np.float64, na_value=np.nan)
    changes[_AS_TEXT].append(where)
    if isinstance(dtype, pd.CategoricalDtype) and dtype.ordered:
        known = pd.Index(make_unique(_texts(dtype.categories.to_series())))
        return pd.Categorical.from_codes(column.cat.codes.to_numpy(), known, ordered=True)
    texts = _texts(column)
    missing = column.isna().to_numpy()
    texts[missing] = None
    return pd.Categorical(texts) if missing.any() else texts


def _texts(column: pd.Series) -> Any:
    """Values as text, those that are missing as empty text."""
    missing = column.isna().to_numpy()
    texts = [
        "" if gone else UNFIT.sub("\ufffd", str(value))
        for value, gone in zip(column.astype(object), missing, strict=True)
    ]
    return np.array(texts, dtype=object)


def _elements(
    values: Mapping[Any, Any], where: str, changes: _Changes, convert: Callable[[Any, str, _Changes], Any]
) -> dict[str, Any]:
    """Return the elements of a mapping under keys that the file can hold, without those that it cannot hold."""
    kept = {}
    for (old, value), key in zip(values.items(), storable_keys(values), strict=True):
        if old != key:
            changes[_RENAMED].append(f"{where}[{old!r}] is now {key!r}")
        fixed = convert(value, f"{where}[{key!r}]", changes)
        if fixed is None and value is not None:
            changes[_LEFT_OUT].append(f"{where}[{key!r}]")
        else:
            kept[key] = fixed
    return kept


def _array(value: Any, where: str, changes: _Changes) -> Any:
    """Return an array or table that a file can hold; None: there is none."""
    if isinstance(value, pd.DataFrame):
        return _table(value, where, changes)
    if _is_numeric(value) or _is_storable(value):
        return value
    if hasattr(value, "tocsr"):
        return value.tocsr() if value.dtype.kind in "biuf" else None
    return None


def _value(value: Any, where: str, changes: _Changes) -> Any:
    """Return a value of ``uns`` that a file can hold; None: there is none."""
    if isinstance(value, Mapping):
        too_deep = where.count("[") > _DEEPEST
        return None if too_deep else _elements(value, where, changes, _value)
    array = _array(value, where, changes)
    if array is not None or value is None:
        return array
    if isinstance(value, np.ndarray) and value.dtype.names:
        changes[_AS_TEXT].append(where)
        texts = np.empty(value.shape, dtype=[(name, object) for name in value.dtype.names])
        for name in value.dtype.names:
            texts[name] = _texts(pd.Series(list(value[name])))
        return texts
    if isinstance(value, (set, frozenset)):
        value = sorted(value, key=str)
    if isinstance(value, (list, tuple, pd.Index, pd.Series, pd.api.extensions.ExtensionArray)):
        value = pd.Series(value).to_numpy()
    if _is_numeric(value):
        return value
    if isinstance(value, np.ndarray):
        changes[_AS_TEXT].append(where)
        return _texts(pd.Series(value.ravel())).reshape(value.shape)
    if isinstance(value, (date, time, timedelta, PurePath, np.generic)):
        changes[_AS_TEXT].append(where)
        return UNFIT.sub("\ufffd", str(value))
    return None


def _raw(adata: AnnData, changes: _Changes) -> None:
    if adata.raw is None or adata.isbacked:
        return
    var, varm = adata.raw.var, dict(adata.raw.varm)
    table = _table(var, "raw.var", changes)
    arrays = _elements(varm, "raw.varm", changes, _array)
    if table is not var or arrays.keys() != varm.keys() or any(arrays[k] is not varm[k] for k in varm):
        obs = pd.DataFrame(index=adata.obs_names)
        adata.raw = AnnData(adata.raw.X, obs=obs, var=table, varm=arrays)


def _named(arrays: Mapping[Any, Any], x: Any) -> dict[Any, Any]:
    """Elements of a slot without X, which anndata >= 0.13 lists among the layers under the key None."""
    return {key: arrays[key] for key in arrays if key is not None or arrays[key] is not x}


def _replace(arrays: Any, old: Mapping[Any, Any], new: Mapping[str, Any]) -> None:
    """Put new elements of a slot in the place of the old ones."""
    for key in old:
        if key not in new:
            del arrays[key]
    for key, value in new.items():
        if key not in old or old[key] is not value:
            arrays[key] = value


def _is_numeric(value: Any) -> bool:
    """Whether it is a numeric matrix of a plain kind, which any h5ad can hold."""
    if in_blocks(value):
        return True
    is_plain = type(value) is np.ndarray or getattr(value, "format", "") in ("csr", "csc")
    return is_plain and value.dtype.kind in "biuf" and value.dtype.itemsize <= 8


def _is_storable(value: Any) -> bool:
    """Whether a file can hold a value: it is written to a file in memory, and read again."""
    try:
        with h5py.File(BytesIO(), "w") as file:
            anndata.io.write_elem(file, "value", value)
            again = anndata.io.read_elem(file["value"])
            return not isinstance(value, pd.DataFrame) or list(again.columns) == list(value.columns)
    except Exception:  # nearly any, by content
        return False
