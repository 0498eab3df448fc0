"""Find the counts of an AnnData, and put them where every room of scrae looks for them."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData, ImplicitModificationWarning
from scipy import sparse

from scrae.errors import ScraeError, ScraeWarning, did_you_mean
from scrae.io.check import checked
from scrae.io.names import clean_names, some
from scrae.io.notes import add_note
from scrae.io.orientation import refuse_genes_as_cells

__all__ = [
    "GENE_EXPRESSION", "IN_ORDER", "Found", "find_counts", "put_counts", "refuse_other_features", "use_counts",
]  # fmt: skip

GENE_EXPRESSION = "Gene Expression"  # the feature type of 10x that is meant by "gene"
IN_ORDER = ("X", "counts", "raw")  # where counts are looked for


class Found(NamedTuple):
    """Checked counts and where they were."""

    counts: sparse.csr_matrix  # [cells, genes of the place]
    place: str  # "X", "raw" or the name of a layer
    words: str  # the same for a message
    rounded: str  # a sentence on values that were rounded; "" = none


def use_counts(adata: AnnData, layer: str | None = None, *, round: bool = False) -> None:
    """Find and check the counts of an AnnData and put them in their slots, in place.

    The counts are those of `layer`; where it is None, the first of ``X``, ``layers["counts"]`` and ``raw``
    that holds nothing but counts. From ``raw`` the genes of `adata` are taken.

    Parameters
    ----------
    adata
        In memory, a view or backed (it is brought into memory, and its ``raw`` is left behind). Its X may be
        any matrix that `check_counts` knows.
    layer
        Name of the layer that holds the counts; also ``"X"`` and ``"raw"``.
    round
        Round estimated counts (SoupX, CellBender, alevin, RSEM). False: they are refused.

    Raises
    ------
    ScraeError
        No place holds counts; the message is about the first place, and names another layer that does, if one
        does. Or `adata` holds features other than gene expression, or genes in its rows.

    Warns
    -----
    ScraeWarning
        X and ``layers["counts"]`` both hold counts, and differ: X is taken.

    Notes
    -----
    Writes ``layers["counts"]`` (csr_matrix int32), ``X`` (a copy of it),
    ``obs_names`` and ``var_names`` (no name empty or twice) and ``uns["scrae"]["notes"]``.
    """
    refuse_other_features(adata)
    refuse_genes_as_cells(adata)
    found = find_counts(adata, layer, round=round)
    if found.place == "raw":
        found = _genes_of_x(found, adata.raw.var_names, adata.var_names)
    put_counts(adata, found)


def find_counts(adata: AnnData, layer: str | None = None, *, round: bool = False) -> Found:
    """Return the checked counts of an AnnData, which is not changed; see `use_counts`.

    Whole numbers anywhere come before estimated counts.
    """
    if layer is not None:
        return _check(adata, layer, round=round)
    places = _places(adata)
    usual = [place for place in IN_ORDER if place in places]
    problems: list[ScraeError] = []
    for place in usual:
        try:
            found = _check(adata, place)
        except ScraeError as error:
            problems.append(error)
            continue
        if place == "X" and "counts" in usual:
            _warn_if_another(adata, found.counts)
        return found
    if round and usual:
        return _check(adata, usual[0], round=True)
    first = f"{problems[0]}" if problems else "The data has no X, layers['counts'] or raw."
    raise ScraeError(f"{first}{_hint(adata, usual)}")


def put_counts(adata: AnnData, found: Found) -> None:
    """Write ``layers["counts"]`` and ``X``, clean the names, and note where the counts were."""
    had_others = found.place != "X" and adata.X is not None
    if adata.isbacked:
        adata.filename = None  # brings it into memory
        del adata.raw  # cannot be read any more
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImplicitModificationWarning)  # a view becomes an AnnData of its own
        adata.layers["counts"] = found.counts
        adata.X = found.counts.copy()
    n_cells, n_genes = found.counts.shape
    replaced = "; they took the place of other values in X" if had_others else ""
    add_note(adata, f"Counts were found in {found.words}: {n_cells} cells x {n_genes} genes{replaced}.")
    if found.rounded:
        add_note(adata, f"In {found.words}, {found.rounded}")
        warnings.warn(f"{found.words}: {found.rounded}", ScraeWarning, stacklevel=3)
    clean_names(adata)


def refuse_other_features(adata: AnnData) -> None:
    """Raise ScraeError where ``var["feature_types"]`` names genes and other features besides."""
    if "feature_types" not in adata.var:
        return
    types = set(adata.var["feature_types"].astype(str))
    if GENE_EXPRESSION in types and len(types) > 1:
        raise ScraeError(
            f"The data holds features other than {GENE_EXPRESSION} "
            f"({some(sorted(types - {GENE_EXPRESSION}))}); keep "
            f'only genes: adata = adata[:, adata.var["feature_types"] == "{GENE_EXPRESSION}"].copy().'
        )


def _places(adata: AnnData) -> dict[str, str]:
    """Where a matrix lies, and that in words. A layer called X or raw comes before the slot of that name."""
    slots = {"X": adata.X is not None, "raw": adata.raw is not None}
    return {name: name for name, there in slots.items() if there} | {
        name: f"layers[{name!r}]" for name in layer_names(adata)
    }


def layer_names(adata: AnnData) -> list[str]:
    """Return the names of the layers, without ``X``, which anndata >= 0.13 lists among them under the key None.

    Keys that are not text cannot be written and name no layer.
    """
    return [name for name in adata.layers if isinstance(name, str)]


def _check(adata: AnnData, place: str, *, round: bool = False) -> Found:
    places = _places(adata)
    if place not in places:
        raise ScraeError(
            f"There is no layer {place!r}; there is {some(places, 8) or 'no matrix at all'}"
            f"{did_you_mean(place, places) or '.'}"
        )
    genes = adata.var_names
    if place in adata.layers:
        matrix: Any = adata.layers[place]
    elif place == "X":
        matrix = adata.X
    else:
        matrix, genes = adata.raw.X, adata.raw.var_names
    counts, rounded = checked(matrix, places[place], (adata.obs_names, genes), round=round)
    return Found(counts, place, places[place], rounded)


def _hint(adata: AnnData, tried: Sequence[str]) -> str:
    """Name the layer that does hold counts, if one does."""
    for place, words in _places(adata).items():
        if place not in tried:
            try:
                _check(adata, place)
            except ScraeError:
                continue
            return f" {words} holds counts: say layer={place!r} (--layer {shlex.quote(place)})."
    return f" Nor does {' or '.join(tried[1:])} hold counts." if len(tried) > 1 else ""


def _warn_if_another(adata: AnnData, counts: sparse.csr_matrix) -> None:
    try:
        other = _check(adata, "counts").counts
    except ScraeError:
        return
    if other.nnz != counts.nnz or abs(other - counts).nnz:
        warnings.warn(
            "X and layers['counts'] both hold counts, and differ; X was taken. If the other is meant, say "
            "layer='counts'.",
            ScraeWarning,
            stacklevel=2,
        )


def _genes_of_x(found: Found, genes: pd.Index, wanted: pd.Index) -> Found:
    """Take the columns of raw that X has."""
    if genes.equals(wanted):
        return found
    at = genes.get_indexer(wanted) if genes.is_unique else np.array([-1])
    if (at < 0).any():
        raise ScraeError(
            "raw holds counts, but its genes cannot be matched to those of X; give adata.raw.to_adata()."
        )
    words = f"raw ({len(at)} of its {len(genes)} genes: those of X)"
    return found._replace(counts=found.counts[:, at], words=words)
