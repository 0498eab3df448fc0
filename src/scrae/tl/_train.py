"""From the counts of the selected genes to a trained model and codes."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from scrae.config import ModelConfig, TrainConfig, to_dict
from scrae.core.checkpoint import Checkpoint, Epoch
from scrae.core.data import CountData
from scrae.core.distributed import Processes
from scrae.core.fit import FitResult, fit
from scrae.core.input_pca import input_components
from scrae.core.model import SCRAE
from scrae.errors import ScraeError, ScraeWarning
from scrae.io.batches import batch_codes, batches_of
from scrae.io.notes import add_note
from scrae.tl._codes import INPUT

__all__ = ["count_data", "embed", "fitted", "train"]


def count_data(
    adata: AnnData,
    *,
    genes: Sequence[str] | None = None,
    batch_key: str | None = None,
    batch_names: Sequence[str] | None = None,
    min_overlap: float = 0.5,
    device: torch.device | str = "cpu",
) -> CountData:
    """Return the raw counts of the modelled genes, from ``layers["counts"]``.

    Parameters
    ----------
    genes : names to align to, e.g. ``model.genes``: other order and further genes do not matter, missing ones
        count as zero, with a warning. None = the genes of ``var["scrae_selected"]``.
    batch_key : column of obs with the experimental batch of each cell; None = the cells are of one.
    batch_names : names to align to, e.g. ``model.batch_names``; None = those of the column.
    min_overlap : the least share of ``genes`` that must be there.

    Raises
    ------
    ScraeError : no counts, no selected genes, doubled names, or too small an overlap; no such column, cells without
        a batch, or a batch that is not among ``batch_names``.
    """
    if "counts" not in adata.layers:
        raise ScraeError(
            'count_data: expected raw counts in layers["counts"], found none; use scrae.io.use_counts(adata)'
        )
    counts = sparse.csr_matrix(adata.layers["counts"])
    names, codes = _batches(adata, batch_key, batch_names)
    if genes is None:
        if "scrae_selected" not in adata.var:
            raise ScraeError(
                'count_data: expected var["scrae_selected"], found none; use scrae.pp.select_genes(adata)'
            )
        chosen = np.asarray(adata.var["scrae_selected"], dtype=bool)
        ours = counts if chosen.all() else counts[:, chosen]
        names_of_genes = list(adata.var_names[chosen])
        return CountData(ours, names_of_genes, batch_names=names, batch_codes=codes, device=device)
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
        add_note(adata, message)
        warnings.warn(message, ScraeWarning, stacklevel=2)
    picked = sparse.csc_matrix(counts)[:, np.maximum(at, 0)]
    present = sparse.diags_array((at >= 0).astype(picked.dtype), dtype=picked.dtype)
    aligned = sparse.csr_matrix(picked @ present)
    aligned.eliminate_zeros()
    return CountData(aligned, genes, batch_names=names, batch_codes=codes, device=device)


def _batches(
    adata: AnnData, key: str | None, known: Sequence[str] | None
) -> tuple[tuple[str, ...], NDArray[np.int64] | None]:
    """Return the batches' names, and the place of each cell's among them."""
    if key is None:
        return (), None
    batches = batches_of(adata, key)
    names = tuple(batches.categories if known is None else known)
    return names, batch_codes(batches, names, key)


def train(
    adata: AnnData,
    model_config: ModelConfig | None = None,
    train_config: TrainConfig | None = None,
    *,
    seed: int = 0,
    batch_key: str | None = None,
    device: torch.device | str = "cpu",
    key_added: str = "X_scrae",
    checkpoint: Checkpoint | None = None,
    on_epoch: Callable[[Epoch, int], None] | None = None,
    processes: Processes | None = None,
) -> SCRAE:
    """Train a model on the selected genes and embed the cells.

    Parameters
    ----------
    model_config, train_config : None = the defaults.
    seed : of initialization, split, minibatches and noise.
    batch_key : column of obs with the experimental batch of each cell, at least two. The decoder and the library size's
        prior are then given the batch, and the codes are to be spread in each batch as in the others, so that they
        forget it (docs/batches.md). None = nothing is corrected.
    checkpoint : where the training is kept while it runs, and whether it goes on from there; None = nowhere.
    on_epoch : called after every epoch, with it and the most epochs there can be, for progress.
    processes : the processes that train this model together, each with its own cells in ``adata``, as :func:`scrae.fit`
        has them; None: a single one.

    Returns
    -------
    The trained model, on ``device``, in evaluation mode.

    Notes
    -----
    Writes ``obsm[key_added]``, float32 [cells, latent]; without ``batch_key`` ``obsm["X_scrae_input"]``, float32
    [cells, at most 15], the principal components of what the encoder reads, for :func:`neighbours`; and, for the usual
    key, ``uns["scrae"]["settings" | "train" | "history" | "seed"]``. The settings are JSON text:
    ``scrae.config.from_dict(scrae.Settings, json.loads(text))`` reads them back.
    Where training ended because a loss was no number, ``uns["scrae"]["train"]["fault"]`` says so, otherwise it is "".

    Raises
    ------
    ScraeError : as :func:`count_data` and :func:`scrae.fit`; or a single batch.
    """
    model_config, train_config = model_config or ModelConfig(), train_config or TrainConfig()
    model, data, result = fitted(
        adata,
        model_config,
        train_config,
        seed=seed,
        batch_key=batch_key,
        device=device,
        checkpoint=checkpoint,
        on_epoch=on_epoch,
        processes=processes,
    )
    _write_codes(adata, model, data, key_added, seed)
    if key_added == "X_scrae":
        slots = adata.uns.setdefault("scrae", {})
        settings: dict[str, object] = {"seed": seed, "batch_key": batch_key}
        settings |= {"model": to_dict(model_config), "train": to_dict(train_config)}
        slots["settings"] = json.dumps(settings)
        slots["train"] = {
            "epochs": result.epochs,
            "best_epoch": result.best_epoch,
            "stopped_because": result.stopped_because,
            "fault": result.fault or "",
            "batch_key": batch_key or "",
        }
        slots["history"] = result.history
        slots["seed"] = seed
    return model


def fitted(
    adata: AnnData,
    model_config: ModelConfig,
    train_config: TrainConfig,
    *,
    seed: int,
    batch_key: str | None,
    device: torch.device | str,
    checkpoint: Checkpoint | None = None,
    on_epoch: Callable[[Epoch, int], None] | None = None,
    processes: Processes | None = None,
) -> tuple[SCRAE, CountData, FitResult]:
    """Train as :func:`train` does, but write nothing except notes; also the counts and how training went."""
    data = count_data(adata, batch_key=batch_key, device=device)
    if len(data.batch_names) == 1:
        raise ScraeError(
            f"batch_key: expected at least two batches in obs[{batch_key!r}], found {data.batch_names[0]!r} alone; "
            "leave batch_key out"
        )
    empty = int((data.totals == 0).sum())
    if empty:
        add_note(
            adata,
            f"{empty} cells have no count in the selected genes; they are kept, but their place means nothing.",
        )
    model = SCRAE.for_data(data, model_config, seed=seed)
    result = fit(
        model, data, train_config, seed=seed, checkpoint=checkpoint, on_epoch=on_epoch, processes=processes
    )
    return model, data, result


def embed(
    adata: AnnData, model: SCRAE, *, min_overlap: float = 0.5, key_added: str = "X_scrae", seed: int = 0
) -> None:
    """Embed cells with a trained model, genes aligned by name.

    Writes ``obsm[key_added]`` and ``obsm["X_scrae_input"]``, as :func:`train` does.

    Parameters
    ----------
    min_overlap : the least share of the model's genes that must be there.
    seed : draws the cells that the components are found from, where there are more than 20,000.

    Raises
    ------
    ScraeError : as :func:`count_data`.
    """
    device = model.library_mean.device
    data = count_data(adata, genes=model.genes, min_overlap=min_overlap, device=device)
    _write_codes(adata, model, data, key_added, seed)


def _write_codes(adata: AnnData, model: SCRAE, data: CountData, key_added: str, seed: int) -> None:
    adata.obsm[key_added] = model.encode(data)
    adata.obsm.pop(INPUT, None)
    if not model.batch_names:  # else cells would be neighbours by batch again
        adata.obsm[INPUT] = input_components(model, data, seed=seed)
