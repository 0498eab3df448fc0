"""From prepared counts to codes, clusters, scores and pictures' coordinates, on AnnData."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from scipy import sparse

from .clustering import choose_n_clusters, kmeans
from .config import ClusterConfig, ClusterMethod, ModelConfig, TrainConfig, to_dict
from .counts import CountData
from .errors import ScraeError, ScraeWarning
from .graph import leiden, neighbours, smoothed
from .io import note
from .metrics import score as score_clusters
from .model import SCRAE
from .train import Checkpoint, Epoch, fit

__all__ = ["cluster", "count_data", "embed", "project", "score", "train"]

_FEW = 4  # cells: too few for a neighbour graph
_TSNE_LIMIT = 20_000  # cells; above it the picture takes longer than training


def count_data(
    adata: AnnData,
    *,
    genes: Sequence[str] | None = None,
    min_overlap: float = 0.5,
    device: torch.device | str = "cpu",
) -> CountData:
    """Return the raw counts of the modelled genes, from ``layers["counts"]``.

    Parameters
    ----------
    genes : names to align to, e.g. ``model.genes``: other order and further genes do not matter, missing ones
        count as zero, with a warning. None = the genes of ``var["scrae_selected"]``.
    min_overlap : the least share of ``genes`` that must be there.

    Raises
    ------
    ScraeError : no counts, no selected genes, doubled names, or too small an overlap.
    """
    if "counts" not in adata.layers:
        raise ScraeError(
            'count_data: expected raw counts in layers["counts"], found none; use scrae.io.use_counts(adata)'
        )
    counts = sparse.csr_matrix(adata.layers["counts"])
    if genes is None:
        if "scrae_selected" not in adata.var:
            raise ScraeError(
                'count_data: expected var["scrae_selected"], found none; use scrae.pp.select_genes(adata)'
            )
        chosen = np.asarray(adata.var["scrae_selected"], dtype=bool)
        return CountData(counts[:, chosen], list(adata.var_names[chosen]), device=device)
    if not adata.var_names.is_unique:
        raise ScraeError(
            "count_data: expected unique gene names to align by, found doubles; use var_names_make_unique()"
        )
    at = adata.var_names.get_indexer(list(genes))
    overlap = float((at >= 0).mean())
    if overlap < min_overlap:
        raise ScraeError(
            f"count_data: expected at least {min_overlap:.0%} of the model's {len(genes)} genes, found {overlap:.0%} "
            f"(the model has e.g. {', '.join(genes[:3])}; the data {', '.join(adata.var_names[:3])}); "
            "use the same kind of gene names"
        )
    if overlap < 1:
        message = (
            f"{(at < 0).sum()} of the model's {len(genes)} genes are missing in the data and count as zero."
        )
        note(adata, message)
        warnings.warn(message, ScraeWarning, stacklevel=2)
    picked = sparse.csc_matrix(counts)[:, np.maximum(at, 0)]
    present = sparse.diags_array((at >= 0).astype(picked.dtype), dtype=picked.dtype)
    aligned = sparse.csr_matrix(picked @ present)
    aligned.eliminate_zeros()
    return CountData(aligned, genes, device=device)


def train(
    adata: AnnData,
    model_config: ModelConfig | None = None,
    train_config: TrainConfig | None = None,
    *,
    device: torch.device | str = "cpu",
    key_added: str = "X_scrae",
    checkpoint: Checkpoint | None = None,
    on_epoch: Callable[[Epoch, int], None] | None = None,
) -> SCRAE:
    """Train a model on the selected genes and embed the cells.

    Parameters
    ----------
    model_config, train_config : None = the defaults.
    checkpoint : where the training is kept while it runs, and whether it goes on from there; None = nowhere.
    on_epoch : called after every epoch, with it and the most epochs there can be, for progress.

    Returns
    -------
    The trained model, on ``device``, in evaluation mode.

    Notes
    -----
    Writes ``obsm[key_added]`` and, for the usual key, ``uns["scrae"]["model" | "train" | "history" | "seed"]``.
    Where training ended because a loss was no number, ``uns["scrae"]["train"]["fault"]`` says so, otherwise it is "".

    Raises
    ------
    ScraeError : as :func:`count_data` and :func:`scrae.fit`.
    """
    model_config, train_config = model_config or ModelConfig(), train_config or TrainConfig()
    data = count_data(adata, device=device)
    empty = int((data.totals == 0).sum())
    if empty:
        note(
            adata,
            f"{empty} cells have no count in the selected genes; they are kept, but their place means nothing.",
        )
    model = SCRAE.for_data(data, model_config, seed=train_config.seed)
    result = fit(model, data, train_config, checkpoint=checkpoint, on_epoch=on_epoch)
    adata.obsm[key_added] = model.encode(data)
    if key_added == "X_scrae":
        slots = adata.uns.setdefault("scrae", {})
        slots["model"] = _plain(to_dict(model_config))
        facts = {
            "epochs": result.epochs,
            "best_epoch": result.best_epoch,
            "stopped_because": result.stopped_because,
            "fault": result.fault or "",
        }
        slots["train"] = _plain(to_dict(train_config)) | facts
        slots["history"] = result.history
        slots["seed"] = train_config.seed
    return model


def embed(adata: AnnData, model: SCRAE, *, min_overlap: float = 0.5, key_added: str = "X_scrae") -> None:
    """Embed cells with a trained model, genes aligned by name; writes ``obsm[key_added]``, float32 [cells, latent].

    Parameters
    ----------
    min_overlap : the least share of the model's genes that must be there.

    Raises
    ------
    ScraeError : as :func:`count_data`.
    """
    device = model.library_mean.device
    adata.obsm[key_added] = model.encode(
        count_data(adata, genes=model.genes, min_overlap=min_overlap, device=device)
    )


def cluster(
    adata: AnnData,
    *,
    n_clusters: int | None = None,
    method: ClusterMethod = "smoothed",
    use_rep: str = "X_scrae",
    key_added: str = "scrae",
    seed: int = 0,
) -> None:
    """Cluster the codes; writes ``obs[key_added]``, named "0", "1", ... by decreasing size.

    Parameters
    ----------
    n_clusters : K; None = chosen without labels by :func:`scrae.clustering.choose_n_clusters`, whose curve goes to
        ``uns["scrae"]["clusters"]``.
    method : ``smoothed``: K-means on the codes after averaging over the graph of 15 neighbours
        (:func:`scrae.graph.smoothed`); ``leiden``: on that graph, at the resolution that gives K clusters, or the
        nearest number that it can give (noted); ``kmeans``: on the codes, as in the paper.

    Raises
    ------
    ScraeError : no such codes, another method, or more clusters than cells.
    """
    z = _codes(adata, use_rep)
    config = ClusterConfig(n_clusters=n_clusters, method=method)
    facts: dict[str, Any] = {"method": config.method, "use_rep": use_rep, "seed": seed}
    graph = None if method == "kmeans" or len(z) <= _FEW else neighbours(z)
    points = z if graph is None or method == "leiden" else smoothed(graph)
    if n_clusters is None:
        choice = choose_n_clusters(z, seed=seed, smoothed=points)
        facts |= asdict(choice)
        n_clusters = choice.n_clusters
    if n_clusters > len(z):
        raise ScraeError(
            f"cluster: expected at most as many clusters as cells ({len(z)}), found {n_clusters}"
        )
    if method == "leiden" and graph is not None:
        labels, facts["resolution"] = leiden(graph, n_clusters, seed=seed)
    else:
        labels = kmeans(points, n_clusters, seed=seed)
    found = int(labels.max()) + 1
    if found != n_clusters:
        note(adata, f"{n_clusters} clusters were asked for; Leiden gives {found} at the nearest resolution.")
    adata.obs[key_added] = pd.Categorical(labels.astype(str), [str(k) for k in range(found)])
    adata.uns.setdefault("scrae", {})["clusters"] = facts | {"n_clusters": found}


def score(adata: AnnData, label_key: str, *, cluster_key: str = "scrae") -> dict[str, float]:
    """Score clusters against labels; the only place where labels are read.

    Cells without a label are left out. Writes ``uns["scrae"]["scores"]`` and returns it: nmi (geometric), ari,
    ami, homogeneity, completeness.

    Raises
    ------
    ScraeError : no such column; the message suggests one that is there.
    """
    for key in (label_key, cluster_key):
        if key not in adata.obs:
            raise ScraeError(
                f"score: expected a column {key!r} in obs, found {', '.join(adata.obs.columns) or 'none'}"
            )
    known = adata.obs[label_key].notna().to_numpy()
    if not known.any():
        raise ScraeError(f"score: expected labels in obs[{label_key!r}], found none")
    labels = adata.obs[label_key].astype(str).to_numpy()[known]
    scores = asdict(score_clusters(labels, adata.obs[cluster_key].astype(str).to_numpy()[known]))
    adata.uns.setdefault("scrae", {})["scores"] = scores | {"label_key": label_key}
    return scores


def project(adata: AnnData, *, use_rep: str = "X_scrae", seed: int = 0) -> None:
    """Make two-dimensional pictures of the codes by PCA, t-SNE (up to 20,000 cells) and UMAP.

    Writes ``obsm["X_pca_scrae" | "X_tsne_scrae" | "X_umap_scrae"]``, float32 [cells, 2].
    """
    import scanpy as sc
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    z = _codes(adata, use_rep)
    spread = z.shape[1] > 1 and np.ptp(z, axis=0).max() > 0  # else there are no axes to turn to
    if z.shape[1] > 1:
        adata.obsm["X_pca_scrae"] = PCA(2, random_state=seed).fit_transform(z).astype(np.float32)
    if len(z) <= _FEW:
        note(adata, "Too few cells for t-SNE and UMAP.")
        return
    if len(z) <= _TSNE_LIMIT:
        tsne = TSNE(
            2,
            init="pca" if spread else "random",
            perplexity=min(30, (len(z) - 1) / 3),
            max_iter=500,
            angle=0.8,
            random_state=seed,
        )
        adata.obsm["X_tsne_scrae"] = tsne.fit_transform(z).astype(np.float32)
    else:
        note(adata, f"t-SNE was left out: it is slow above {_TSNE_LIMIT} cells. UMAP is there.")
    picture = neighbours(z)
    sc.tl.umap(picture, random_state=seed)
    adata.obsm["X_umap_scrae"] = picture.obsm["X_umap"].astype(np.float32)


def _codes(adata: AnnData, use_rep: str) -> np.ndarray:
    if use_rep not in adata.obsm:
        raise ScraeError(
            f"expected codes in obsm[{use_rep!r}], found {', '.join(adata.obsm) or 'none'}; embed the cells first"
        )
    return np.asarray(adata.obsm[use_rep])


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings as h5ad can hold them: None and lists become text."""
    return {
        name: value if isinstance(value, (int, float, str)) else str(value)
        for name, value in settings.items()
    }
