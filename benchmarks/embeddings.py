"""The peers' embeddings: counts in, codes out, no labels anywhere."""

from __future__ import annotations

from time import perf_counter
from typing import Any, NamedTuple, Protocol

import numpy as np
import scanpy as sc
from anndata import AnnData
from numpy.typing import NDArray

from benchmarks.genes import choose_genes

__all__ = [
    "Embed",
    "EmbedEachEpoch",
    "Embedding",
    "EpochCodes",
    "pca",
    "scvi",
    "scvi_each_epoch",
    "split_cells",
]

_TEST_SHARE = 0.2


class Embedding(NamedTuple):
    """What an embedding method gives.

    Attributes
    ----------
    codes
        float32 [cells, dimensions], one row for each cell of the input, in its order.
    facts
        What turned out during the run and belongs in the record: genes used, epochs trained.
    clusters
        The method's own cluster of each cell, int64 [cells]; None where it has none.
    """

    codes: NDArray[np.float32]
    facts: dict[str, Any]
    clusters: NDArray[np.int64] | None = None


class EpochCodes(NamedTuple):
    """What a method gives that can be watched while it trains (protocol `paper`).

    Attributes
    ----------
    cells
        int64 [test cells], the rows that training did not see.
    codes
        One float32 [test cells, dimensions] for each epoch.
    facts
        As in `Embedding`.
    """

    cells: NDArray[np.int64]
    codes: list[NDArray[np.float32]]
    facts: dict[str, Any]


class EmbedEachEpoch(Protocol):
    """Trains on a part of the cells and embeds the others after every epoch."""

    def __call__(
        self, counts: AnnData, *, n_clusters: int, seed: int, config: dict[str, Any], device: str
    ) -> EpochCodes:
        """Split, train, embed."""
        ...


class Embed(Protocol):
    """An embedding method: a function of counts (changed in place), the true K, seed, config and device.

    Most do not use K; for some it is a part of the model.
    """

    def __call__(
        self, counts: AnnData, *, n_clusters: int, seed: int, config: dict[str, Any], device: str
    ) -> Embedding:
        """Embed every cell of `counts`."""
        ...


def split_cells(n_cells: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The cells that the protocol paper trains on (80 %) and those it scores, drawn with the seed, each sorted."""
    order = np.random.default_rng(seed).permutation(n_cells)
    n_test = round(_TEST_SHARE * n_cells)
    return np.sort(order[n_test:]), np.sort(order[:n_test])


def pca(counts: AnnData, *, n_clusters: int, seed: int, config: dict[str, Any], device: str) -> Embedding:
    """Scanpy's usual path: total-count normalisation, log1p, the chosen genes, principal components."""
    del n_clusters, device
    genes = choose_genes(counts, config["genes"], config["n_top_genes"])
    sc.pp.normalize_total(counts)
    sc.pp.log1p(counts)
    chosen = counts[:, genes].copy()
    n_components = min(config["n_components"], min(chosen.shape) - 1)
    sc.pp.pca(chosen, n_comps=n_components, random_state=seed)
    return Embedding(chosen.obsm["X_pca"].astype(np.float32), {"n_genes_used": int(genes.sum())})


def scvi(
    counts: AnnData,
    *,
    n_clusters: int,
    seed: int,
    config: dict[str, Any],
    device: str,
    batch_key: str | None = None,
) -> Embedding:
    """The mean latent of scVI at scvi-tools' defaults, with its own heuristic for the number of epochs."""
    del n_clusters
    genes = choose_genes(counts, config["genes"], config["n_top_genes"])
    model = _scvi_model(counts[:, genes].copy(), seed, config, batch_key)
    start = perf_counter()
    _scvi_train(model, config, device, callbacks=[])
    seconds = round(perf_counter() - start, 3)
    codes = model.get_latent_representation().astype(np.float32)
    facts = {"n_genes_used": int(genes.sum()), "epochs": int(model.trainer.current_epoch)}
    return Embedding(codes, facts | {"train_seconds": seconds})


def scvi_each_epoch(
    counts: AnnData, *, n_clusters: int, seed: int, config: dict[str, Any], device: str
) -> EpochCodes:
    """Train scVI on 80 % of the cells; the mean latent of the others after every epoch."""
    del n_clusters
    from lightning.pytorch.callbacks import LambdaCallback

    genes = choose_genes(counts, config["genes"], config["n_top_genes"])
    train, test = split_cells(counts.n_obs, seed)
    unseen = counts[test][:, genes].copy()
    model = _scvi_model(counts[train][:, genes].copy(), seed, config)
    codes: list[NDArray[np.float32]] = []

    def encode(*_: object) -> None:
        model.is_trained_ = True  # else it refuses
        model.module.eval()
        codes.append(model.get_latent_representation(unseen).astype(np.float32))
        model.module.train()

    _scvi_train(model, config, device, callbacks=[LambdaCallback(on_train_epoch_end=encode)])
    return EpochCodes(test, codes, {"n_genes_used": int(genes.sum()), "epochs": len(codes)})


def _scvi_model(counts: AnnData, seed: int, config: dict[str, Any], batch_key: str | None = None) -> Any:
    import scvi as scvi_tools  # takes 15 s, and only the bench extra has it

    scvi_tools.settings.seed = seed
    scvi_tools.model.SCVI.setup_anndata(counts, batch_key=batch_key)
    return scvi_tools.model.SCVI(
        counts,
        n_hidden=config["n_hidden"],
        n_latent=config["n_latent"],
        n_layers=config["n_layers"],
        dropout_rate=config["dropout_rate"],
        gene_likelihood=config["gene_likelihood"],
    )


def _scvi_train(model: Any, config: dict[str, Any], device: str, callbacks: list[Any]) -> None:
    model.train(
        max_epochs=config["max_epochs"],  # None: min(400, 400 * 20,000 / cells)
        batch_size=config["batch_size"],
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        callbacks=callbacks,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
