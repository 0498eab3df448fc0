"""Suggest names of cell types for the clusters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from scrae.errors import ScraeError
from scrae.pp._counts import counts_of
from scrae.tl import _marker_test as test
from scrae.tl._cell_types import MarkerList, lists_for
from scrae.tl._markers import clusters_of

__all__ = ["UNKNOWN", "annotate", "can_annotate"]

UNKNOWN = "unknown"
_MIN_SCORE = 0.25
_MIN_GENES = 3  # of a list that the data must have
_SUPPORTS = 0.25  # evidence from which on a gene supports a type
_MIN_SUPPORT, _ENOUGH = 0.6, 8  # share of a list's genes that have to support it; this many are always enough
_MOST_NAMED = 8
_MAJORITY = 0.5


def annotate(
    adata: AnnData,
    *,
    cluster_key: str = "scrae",
    markers: str | Path | Mapping[str, Sequence[str]] | None = None,
    tissue: str | Sequence[str] | None = None,
    celltypist: str | None = None,
) -> None:
    """Suggest the cell type of each cluster from lists of marker genes.

    A gene is evidence for a cluster by the square root of the fraction of the cluster's cells that express it, times
    its mean log expression there divided by that in the cluster where it is highest. The score of a type is the sum
    over its genes divided by their number plus one, 0 to 1; the best type gives the name. General types
    (``epithelial cell``, ``cycling cell``) count half, because many special types express their genes too.

    Parameters
    ----------
    adata : AnnData
        Cells with clusters, gene symbols as ``var_names``, and raw counts in ``layers["counts"]``.
    cluster_key : str
        Column of ``obs`` with the clusters.
    markers : path, mapping or None
        Your own lists: a GMT file, a csv with the columns type and gene, or a mapping of types to genes. None = the
        lists that come with the package, :func:`scrae.tl.cell_types`, for human or mouse.
    tissue : str, sequence of str or None
        Use only the package's types of these tissues and those that occur everywhere. None = all types.
    celltypist : str or None
        Name or file of a CellTypist model, used instead of lists: a cluster gets the label of most of its cells. Needs
        the package celltypist. Its models are pickles: load only those you trust. None = no such model.

    Raises
    ------
    ScraeError
        No such column, no counts, lists that cannot be read, or fewer than three genes of every list in the data.

    Notes
    -----
    The names are suggestions: check the genes. Writes ``obs["scrae_name"]`` (``obs[cluster_key + "_name"]``), with
    "unknown" where no type has a score of 0.25, or fewer than 60 % of the best type's genes (and fewer than eight)
    support it with evidence of 0.25, and ``uns[cluster_key]["annotation"]``, a DataFrame with a row for each cluster:

    - ``cluster``, ``name``
    - ``score``: of the best type, also where there is no name; with CellTypist the fraction of the cells.
    - ``genes``: up to eight genes that support the best type, strongest first, separated by spaces.
    - ``runner_up``, ``runner_up_score``: the second best type.

    Examples
    --------
    >>> scrae.tl.annotate(adata, tissue="blood")
    >>> names = adata.uns["scrae"]["annotation"][["cluster", "name", "genes"]]
    """
    clusters = clusters_of(adata, cluster_key, at_least=1)
    if celltypist is None:
        table = _by_lists(adata, clusters, lists_for(adata.var_names, markers, tissue))
    elif markers is not None or tissue is not None:
        raise ScraeError("celltypist is used instead of marker lists: leave out markers and tissue")
    else:
        table = _by_celltypist(adata, clusters, celltypist)
    found = pd.Series(clusters.astype(object)).map(dict(zip(table["cluster"], table["name"], strict=True)))
    adata.obs[f"{cluster_key}_name"] = pd.Categorical(found, list(dict.fromkeys(table["name"])))
    adata.uns.pop(f"{cluster_key}_name_colors", None)
    adata.uns.setdefault(cluster_key, {})["annotation"] = table


def can_annotate(adata: AnnData) -> bool:
    """Return whether the genes have names that the lists of the package know."""
    return bool(_known(adata, lists_for(adata.var_names, None, None)))


def _known(adata: AnnData, lists: MarkerList) -> MarkerList:
    """Return the lists with enough genes in the data, and only these genes."""
    here = {
        name: ([gene for gene in genes if gene in adata.var_names], weight)
        for name, (genes, weight) in lists.items()
    }
    return {name: entry for name, entry in here.items() if len(entry[0]) >= _MIN_GENES}


def _by_lists(adata: AnnData, clusters: pd.Categorical, lists: MarkerList) -> pd.DataFrame:
    known = _known(adata, lists)
    if not known:
        raise ScraeError(
            f"annotate: expected {_MIN_GENES} genes of at least one marker list, found genes such as "
            f"{', '.join(map(str, adata.var_names[:3]))}; var_names have to be gene symbols"
        )
    genes = pd.Index(sorted({gene for own, _ in known.values() for gene in own}))
    strength = _evidence(adata, clusters, genes)
    columns = [genes.get_indexer(pd.Index(own)) for own, _ in known.values()]
    weights = [weight / (len(own) + 1) for own, weight in known.values()]
    scores = np.stack(
        [weight * strength[:, at].sum(axis=1) for at, weight in zip(columns, weights, strict=True)], axis=1
    )
    supports = strength >= _SUPPORTS
    enough, support = np.zeros_like(scores, dtype=bool), []
    for i, own in enumerate(columns):
        enough[:, i] = supports[:, own].sum(axis=1) >= min(_MIN_SUPPORT * len(own), _ENOUGH)
    for row, best in zip(strength, scores.argmax(axis=1), strict=True):
        own = columns[best][np.argsort(-row[columns[best]], kind="stable")]
        support.append(" ".join(genes[own[row[own] >= _SUPPORTS]][:_MOST_NAMED]))
    return _table(clusters, list(known), scores, (scores >= _MIN_SCORE) & enough, support)


def _evidence(adata: AnnData, clusters: pd.Categorical, genes: pd.Index) -> NDArray[np.float64]:
    """Return the evidence [clusters, genes], 0 to 1."""
    counts = counts_of(adata)
    first = np.flatnonzero(~adata.var_names.duplicated())
    mean, _, share = test.log_values(
        counts[:, first[adata.var_names[first].get_indexer(genes)]],
        clusters.codes.astype(np.int64),
        len(clusters.categories),
        depth=test.depth_of(counts),
    )
    highest = mean.max(axis=0)
    relative = np.divide(mean, highest, out=np.zeros_like(mean), where=highest > 0)
    return np.asarray(np.sqrt(share) * relative)


def _by_celltypist(adata: AnnData, clusters: pd.Categorical, model: str) -> pd.DataFrame:
    try:
        import celltypist
    except ImportError as error:
        raise ScraeError(
            "celltypist: expected the package celltypist, found none; pip install 'scrae[celltypist]'"
        ) from error
    counts = counts_of(adata)
    scale = 1e4 / np.maximum(test.depth_of(counts), 1)  # what its models were trained on
    x = sparse.csr_matrix(sparse.diags(scale) @ counts, dtype=np.float32)
    x.data = np.log1p(x.data)
    cells = AnnData(x, obs=pd.DataFrame(index=adata.obs_names), var=pd.DataFrame(index=adata.var_names))
    labels = pd.Categorical(celltypist.annotate(cells, model=model).predicted_labels["predicted_labels"])
    known = clusters.codes >= 0
    votes = np.zeros((len(clusters.categories), len(labels.categories)))
    np.add.at(votes, (clusters.codes[known], labels.codes[known]), 1)
    shares = votes / np.maximum(votes.sum(axis=1, keepdims=True), 1)
    return _table(clusters, list(map(str, labels.categories)), shares, shares >= _MAJORITY, [""] * len(votes))


def _table(
    clusters: pd.Categorical,
    types: list[str],
    scores: NDArray[np.float64],
    enough: NDArray[np.bool_],
    support: Sequence[str],
) -> pd.DataFrame:
    """Return the best and second best type of each cluster by ``scores``; both arrays are [clusters, types]."""
    order = np.argsort(-scores, axis=1, kind="stable")
    rows: list[dict[str, Any]] = []
    for k, name in enumerate(clusters.categories):
        first, second = order[k, 0], order[k, 1] if len(types) > 1 else None
        score = float(scores[k, first])
        rows.append(
            {
                "cluster": str(name),
                "name": types[first] if enough[k, first] else UNKNOWN,
                "score": score,
                "genes": support[k],
                "runner_up": "" if second is None else types[second],
                "runner_up_score": 0.0 if second is None else float(scores[k, second]),
            }
        )
    return pd.DataFrame(rows, index=[str(k) for k in range(len(rows))])
