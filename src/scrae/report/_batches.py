"""Columns of ``obs`` along which the clusters are divided, as a batch effect would do."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from scrae.io.notes import add_note, remove_notes
from scrae.io.roles import names_batches, names_clusters, names_labels
from scrae.pl import category_column, is_category

__all__ = ["batch_notes", "divided_by", "note_batches"]

_START = "Batches: "
MOST_CATEGORIES = 50
MIN_CELLS = 50
"""Smaller clusters are not assessed."""
MIN_SHARE, MIN_ODDS, MAX_OVERALL = 0.5, 10, 0.6
"""Share of a cluster in one category, how many times the odds of all cells, and the share of all cells in it."""
MIN_AFFECTED = 0.05
"""Share of the cells in divided clusters from which on a column is reported."""
SAME, NESTED = 0.5, 0.9
"""Goodman and Kruskal's lambda from which on a column is an annotation, not a batch: between the column and the
clusters in both directions, and of the column given the labels."""
_MOST_COLUMNS, _MOST_LABELS = 3, 200


def batch_notes(adata: AnnData, *, label_key: str | None = None, batch_key: str | None = None) -> list[str]:
    """Return a sentence for each column of ``obs`` along which the clusters are divided.

    Parameters
    ----------
    adata
        Cells with clusters in ``obs["scrae"]``.
    label_key
        Column with labels, which is no batch. None: there are none.
    batch_key
        Column that the latent representation is corrected for. None: it is not corrected.
    """
    n_clusters = int(adata.obs["scrae"].nunique())
    sentences = []
    for column, names in divided_by(adata, label_key=label_key).items():
        listed = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        found = f"{_START}in {len(names)} of {n_clusters} clusters ({listed}), most cells have the same “{column}”"
        if column == batch_key:
            sentences.append(
                f"{found} after the correction for it: some batch effect is left, or these cells are "
                "only in some batches."
            )
            continue
        sentences.append(
            f"{found}. If it is technical (sample, donor, day), correct for it: "
            f"`scrae run INPUT -o OUT_batch --batch-key {shlex.quote(column)}`. "
            "If it describes the cells (type, tissue, stage), "
            "the difference is biological."
        )
    return sentences


def note_batches(adata: AnnData, *, label_key: str | None, batch_key: str | None) -> None:
    """Write the sentences of `batch_notes` into ``uns["scrae"]["notes"]``, in place of earlier ones."""
    remove_notes(adata, _START)
    for sentence in batch_notes(adata, label_key=label_key, batch_key=batch_key):
        add_note(adata, sentence)


def divided_by(adata: AnnData, *, label_key: str | None = None) -> dict[str, list[str]]:
    """Return the columns of ``obs`` along which clusters are divided, with the names of these clusters.

    A cluster is divided off if at least half of its cells are of one category, at ten times the odds of this category
    in all cells. Annotations are left out: the label column and those named like labels or clusters; and, unless they
    are named like batches, those that agree with the clusters and those with one category for each label, such as a
    lineage. Of columns that divide the cells in the same way, only the first is returned; at most three columns, those
    that affect most cells first.
    """
    clusters = category_column(adata, "scrae")
    labels = [category_column(adata, key).codes for key in _label_columns(adata, label_key)]
    found: list[tuple[int, str, list[str]]] = []
    seen: list[NDArray[np.integer]] = []
    for column, codes in _candidates(adata, label_key):
        names, n_cells = _one_sided(clusters, codes)
        if n_cells < MIN_AFFECTED * len(codes):
            continue
        if not names_batches(column) and _annotates(codes, np.asarray(clusters.codes), labels):
            continue
        if any(_explained(codes, other) == 1 and _explained(other, codes) == 1 for other in seen):
            continue
        seen.append(codes)
        found.append((n_cells, column, names))
    found.sort(key=lambda one: -one[0])
    return {column: names for _, column, names in found[:_MOST_COLUMNS]}


def _label_columns(adata: AnnData, label_key: str | None) -> list[str]:
    columns = {
        key: adata.obs[key] for key in map(str, adata.obs.columns) if key == label_key or names_labels(key)
    }
    return [
        key for key, column in columns.items() if is_category(column) and column.nunique() <= _MOST_LABELS
    ]


def _annotates(
    codes: NDArray[np.integer], clusters: NDArray[np.integer], labels: Sequence[NDArray[np.integer]]
) -> bool:
    """Return whether a column agrees with the clusters, or has one category for each label."""
    same = min(_explained(codes, clusters), _explained(clusters, codes)) >= SAME
    return same or any(_explained(codes, one) >= NESTED for one in labels)


def _candidates(adata: AnnData, label_key: str | None) -> Iterator[tuple[str, NDArray[np.integer]]]:
    """Yield name and codes [cells] of the columns with 2 to 50 categories that may hold batches."""
    for key in map(str, adata.obs.columns):
        if key == label_key or key.startswith("scrae") or names_labels(key) or names_clusters(key):
            continue
        if (is_category(adata.obs[key]) or names_batches(key)) and 2 <= adata.obs[
            key
        ].nunique() <= MOST_CATEGORIES:
            yield key, np.asarray(category_column(adata, key).codes)


def _one_sided(clusters: pd.Categorical, codes: NDArray[np.integer]) -> tuple[list[str], int]:
    """Return the names of the clusters whose cells are mostly of one category, and the number of their cells."""
    known = (codes >= 0) & (clusters.codes >= 0)
    table = np.zeros((len(clusters.categories), int(codes.max()) + 1))
    np.add.at(table, (clusters.codes[known], codes[known]), 1)
    size = table.sum(axis=1)
    overall = table.sum(axis=0) / max(size.sum(), 1)
    share = table / np.maximum(size, 1)[:, None]
    enriched = share * (1 - overall) >= MIN_ODDS * overall * (1 - share)
    one_sided = (enriched & (share >= MIN_SHARE) & (overall < MAX_OVERALL)).any(axis=1) & (size >= MIN_CELLS)
    return [str(name) for name in clusters.categories[one_sided]], int(size[one_sided].sum())


def _explained(codes: NDArray[np.integer], groups: NDArray[np.integer]) -> float:
    """Return how well the groups predict the category of a cell: Goodman and Kruskal's lambda, 1 = exactly."""
    known = (codes >= 0) & (groups >= 0)
    table = np.zeros((int(groups.max(initial=0)) + 1, int(codes.max(initial=0)) + 1))
    np.add.at(table, (groups[known], codes[known]), 1)
    guess = table.sum(axis=0).max()
    return float((table.max(axis=1).sum() - guess) / max(table.sum() - guess, 1))
