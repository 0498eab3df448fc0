"""Other clusters, or names for them, in the folder of a run: all its files are renewed together."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from .. import io, tl
from ..config import ClusterConfig, Settings, from_dict, to_dict
from ..errors import ScraeError, ScraeWarning, did_you_mean
from ..files import exclusive_lock, replaced_together
from ..report import read_run
from ..tl._codes import ABOUT_CLUSTERS
from .results import OF_CLUSTERS, Clock, Progress, write_results
from .run import find_clusters

__all__ = ["read_names", "recluster"]


def recluster(
    folder: str | Path,
    *,
    cluster: ClusterConfig | None = None,
    cut: int | None = None,
    divide: tuple[str, int | None] | None = None,
    names: Mapping[str, str] | None = None,
    annotation: Mapping[str, Any] | None = None,
    command: str = "scrae.recluster",
    progress: Progress | None = None,
) -> AnnData:
    """Cluster the cells of a run again, or name its clusters, and renew its table, figures, result, record and report.

    The model and the latent representation stay. The files are replaced together: after an error they are as before.

    Parameters
    ----------
    folder : str or Path
        Folder of a run.
    cluster : ClusterConfig or None
        How to cluster; None = as the run did, or not at all if there are ``names`` or an ``annotation``.
    cut : int or None
        Take the clusters that the slider of the report shows at this number (:func:`scrae.tl.cluster_levels`). They
        are nested in those of the run or hold them; those of ``cluster`` are found anew. None = do not.
    divide : (str, int or None) or None
        Name of a cluster to divide, and the number of its parts (None = chosen; :func:`scrae.tl.subcluster`); the
        other clusters stay. None = do not.
    names : mapping of str to str or None
        Cluster → its name, for ``obs["scrae_name"]``; a cluster without one keeps its number. None = no names.
    annotation : mapping of str to object or None
        Arguments of :func:`scrae.tl.annotate`, for other suggestions of names. None = those of the run.
    command : str
        How this was started, for ``run.json``.
    progress : Progress or None
        Callbacks; None = none.

    Returns
    -------
    AnnData
        What was written as ``result.h5ad``.

    Raises
    ------
    ScraeError
        Not the folder of a finished run, no latent representation or no such cut, or a cluster that does not exist.

    Warns
    -----
    ScraeWarning
        A division of the earlier clusters was lost with them.
    """
    folder, clock = Path(folder), Clock(progress or Progress())
    record = dict(read_run(folder).record)
    settings = from_dict(Settings, record.get("config") or {})
    with exclusive_lock(folder):
        adata = io.read_h5ad(folder / "result.h5ad")
        if (
            divide is not None
            or cut is not None
            or cluster is not None
            or (names is None and annotation is None)
        ):
            if cut is not None:
                cluster = replace(settings.cluster, n_clusters=cut, resolution=None)
            settings = replace(settings, cluster=cluster or settings.cluster)
            _change_clusters(adata, cut, divide, settings)
            find_clusters(adata, settings, clock, given=cut is not None or divide is not None)
            if settings.label_key is not None:
                tl.score(adata, settings.label_key)
        if annotation is not None:
            tl.annotate(adata, **annotation)
        if names is not None:
            _name(adata, names)
        _describe(record, adata, settings, command)
        clock.seconds = dict(record.get("seconds") or {}) | clock.seconds
        with replaced_together(folder, OF_CLUSTERS) as draft:
            write_results(adata, record, draft, clock)
    return adata


def _change_clusters(
    adata: AnnData, cut: int | None, divide: tuple[str, int | None] | None, settings: Settings
) -> None:
    """Cut the tree or divide a cluster, if one is given, and remove what described the old clusters."""
    divided = adata.uns["scrae"]["clusters"].get("subclustered")
    if divided is not None and divide is None:
        warnings.warn(
            f"recluster: the division of cluster {divided} was lost with the earlier clusters; to divide one again: "
            "scrae subcluster OUT NAME",
            ScraeWarning,
            stacklevel=3,
        )
    if cut is not None:
        tl.cut_tree(adata, cut, cluster_key="scrae_fine", key_added="scrae")
    if divide is not None:
        tl.subcluster(
            adata, divide[0], n_clusters=divide[1], method=settings.cluster.method, seed=settings.seed
        )
    _remove_facts(adata)


def _remove_facts(adata: AnnData) -> None:
    """Remove what describes the old clusters."""
    facts = adata.uns.setdefault("scrae", {})
    for key in ABOUT_CLUSTERS:
        facts.pop(key, None)
    notes = [str(line) for line in np.atleast_1d(facts.get("notes", []))]
    facts["notes"] = [line for line in notes if " clusters were requested;" not in line]
    adata.obs = adata.obs.drop(columns="scrae_name", errors="ignore")
    for key in ("rank_genes_groups", "scrae_name_colors"):
        adata.uns.pop(key, None)


def _name(adata: AnnData, names: Mapping[str, str]) -> None:
    """Write the names of the clusters into ``obs["scrae_name"]``."""
    clusters = adata.obs["scrae"].astype(str)
    known = [str(name) for name in adata.obs["scrae"].cat.categories]
    for cluster in names:
        if cluster not in known:
            raise ScraeError(
                f"names: expected clusters of this run ({', '.join(known)}), found {cluster!r}"
                f"{did_you_mean(cluster, known)}"
            )
    all_names = {cluster: names.get(cluster) or cluster for cluster in known}
    order = list(dict.fromkeys(all_names.values()))
    adata.obs["scrae_name"] = pd.Categorical(clusters.map(all_names).to_numpy(), order)
    adata.uns.pop("scrae_name_colors", None)
    adata.uns["scrae"].pop("annotation", None)  # the names are no suggestions


def _describe(record: dict[str, Any], adata: AnnData, settings: Settings, command: str) -> None:
    """Bring the record and the settings in the AnnData up to date."""
    facts = adata.uns["scrae"]
    scores = facts.get("scores", {})
    record["config"] = to_dict(settings)
    record["n_clusters"] = int(facts["clusters"]["n_clusters"])
    record["scores"] = {name: value for name, value in scores.items() if name != "label_key"} or None
    record["reclustered"] = command
    facts["settings"] = json.dumps(record["config"])


def read_names(path: str | Path) -> dict[str, str]:
    """Read the names of clusters from a csv, or a tsv, with the columns cluster and name.

    Raises
    ------
    ScraeError
        The file cannot be read, lacks a column, or names a cluster twice.
    """
    path = Path(path)
    try:
        table = pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", dtype=str).fillna("")
    except (OSError, ValueError) as error:
        raise ScraeError(
            f"{path}: expected a table of names, found {' '.join(str(error).split())}"
        ) from error
    if not {"cluster", "name"} <= set(table.columns):
        raise ScraeError(
            f"{path}: expected the columns cluster and name, found {', '.join(map(str, table.columns))}"
        )
    if table["cluster"].duplicated().any():
        twice = table["cluster"][table["cluster"].duplicated()].iloc[0]
        raise ScraeError(f"{path}: expected each cluster once, found {twice!r} twice")
    return dict(zip(table["cluster"].str.strip(), table["name"].str.strip(), strict=True))
