"""Training, and embedding of cells with a trained model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from anndata import AnnData
from numpy.typing import NDArray

from scrae.config import ModelConfig, TrainConfig, to_dict
from scrae.core.alignment import align_batches
from scrae.core.checkpoint import Checkpoint, Epoch
from scrae.core.data import CountData
from scrae.core.density import fit_density
from scrae.core.device import resolve_device
from scrae.core.distributed import Processes
from scrae.core.fit import FitResult, fit
from scrae.core.input_pca import input_components
from scrae.core.model import SCRAE
from scrae.core.refine import refine_codes
from scrae.errors import ScraeError
from scrae.io.batches import join_columns, refuse_one_batch
from scrae.io.notes import add_note
from scrae.tl._counts import count_data, counts_for
from scrae.tl._progress import training_bar

__all__ = ["embed", "encode", "train", "train_model"]


def train(
    adata: AnnData,
    model_config: ModelConfig | None = None,
    train_config: TrainConfig | None = None,
    *,
    seed: int = 0,
    batch_key: str | None = None,
    device: torch.device | str = "auto",
    key_added: str = "X_scrae",
    write_input: bool = True,
    checkpoint: Checkpoint | None = None,
    progress: bool = False,
    on_epoch: Callable[[Epoch, int], None] | None = None,
    processes: Processes | None = None,
) -> SCRAE:
    """Train a model on the selected genes and embed the cells.

    Parameters
    ----------
    adata : AnnData
        Cells with raw counts in ``layers["counts"]`` and selected genes in ``var["scrae_selected"]``.
    model_config : ModelConfig, optional
        Networks and likelihood; None = the defaults.
    train_config : TrainConfig, optional
        Optimization; None = the defaults.
    seed : int
        Seed of initialization, validation split, minibatches and noise.
    batch_key : str, optional
        Column of ``obs`` with the experimental batch of each cell, at least two; several columns separated by commas
        are joined to one, which is added to ``obs``. The decoder and the prior of the library size are conditioned on
        the batch, and the latent representation is trained not to depend on it (docs/batches.md). None = no
        correction.
    device : torch.device or str
        ``"auto"`` = CUDA if available, otherwise the CPU.
    key_added : str
        Key of ``obsm`` for the latent representation.
    write_input : bool
        Also write the principal components of the model's input, for :func:`neighbors`.
    checkpoint : Checkpoint, optional
        Where the training is saved while it runs, and whether to resume it; None = nowhere.
    progress : bool
        Show the progress on standard error: a bar in a terminal or notebook, elsewhere a line every 10 % of the epochs
        or 30 s.
    on_epoch : callable, optional
        Called after every epoch with the epoch and the largest possible number of epochs.
    processes : Processes, optional
        The processes that train this model together, each with its own cells in ``adata``, see :func:`scrae.fit`;
        None = a single one.

    Returns
    -------
    SCRAE
        The trained model, on ``device``, in evaluation mode.

    Raises
    ------
    ScraeError
        As :func:`count_data` and :func:`scrae.fit`; a single batch; or no such device.

    Notes
    -----
    Writes ``obsm[key_added]``, float32 [cells, latent], and ``obsm[f"{key_added}_input"]``, float32 [cells, at most
    15], the principal components of the model's input; with ``batch_key`` they are aligned. For the default key also
    ``obs["scrae_held_out"]``, bool, the cells that were held out for early stopping, and
    ``uns["scrae"]["settings" | "train" | "history" | "seed"]``. The settings are JSON text:
    ``scrae.config.from_dict(scrae.Settings, json.loads(text))`` reads them back. If a non-finite loss ended the
    training, ``uns["scrae"]["train"]["fault"]`` describes it; otherwise it is "".

    Examples
    --------
    >>> model = scrae.tl.train(adata)
    >>> adata.obsm["X_scrae"].shape
    (700, 10)
    """
    model_config, train_config = model_config or ModelConfig(), train_config or TrainConfig()
    join_columns(adata, batch_key)
    with _shown(on_epoch) if progress else nullcontext(on_epoch) as after_epoch:
        model, data, result = train_model(
            adata,
            model_config,
            train_config,
            seed=seed,
            batch_key=batch_key,
            device=device,
            checkpoint=checkpoint,
            on_epoch=after_epoch,
            processes=processes,
        )
    if empty := int((data.totals == 0).sum()):
        add_note(
            adata,
            f"{empty} cells have no counts in the selected genes; they are kept, but their position is arbitrary.",
        )
    model.density = fit_density(model, data, seed=seed, held_out=result.held_out)
    _write_codes(adata, model.encode(data), key_added)
    if write_input:
        components = result.components
        if components is None:
            components = input_components(model, data, seed=seed)
        if data.batch_codes is not None:  # the components would join cells by batch again
            components = align_batches(components, data.batch_codes.cpu().numpy(), seed=seed)
        adata.obsm[f"{key_added}_input"] = components
    if key_added == "X_scrae":
        adata.obs["scrae_held_out"] = np.isin(np.arange(adata.n_obs), result.held_out)
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


@contextmanager
def _shown(on_epoch: Callable[[Epoch, int], None] | None) -> Iterator[Callable[[Epoch, int], None]]:
    """Show the progress in this block, and call ``on_epoch`` too."""
    bar, move = training_bar()

    def after_epoch(epoch: Epoch, max_epochs: int) -> None:
        move(epoch, max_epochs)
        if on_epoch is not None:
            on_epoch(epoch, max_epochs)

    with nullcontext() if bar is None else bar:
        yield after_epoch


def train_model(
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
    """Train as :func:`train` does, without writing into ``adata``."""
    data = count_data(adata, batch_key=batch_key, device=resolve_device(device))
    if batch_key is not None:
        refuse_one_batch(data.batch_names, batch_key)
    model = SCRAE.for_data(data, model_config, seed=seed)
    result = fit(
        model, data, train_config, seed=seed, checkpoint=checkpoint, on_epoch=on_epoch, processes=processes
    )
    return model, data, result


def embed(
    adata: AnnData,
    model: SCRAE,
    *,
    min_overlap: float = 0.5,
    key_added: str = "X_scrae",
    seed: int = 0,
    refine: bool = False,
) -> None:
    """Embed cells with a trained model.

    Parameters
    ----------
    adata : AnnData
        Cells with raw counts in ``layers["counts"]``; genes are aligned to the model's by name.
    model : SCRAE
        The trained model.
    min_overlap : float
        Smallest allowed fraction of the model's genes in the data.
    key_added : str
        Key of ``obsm`` for the latent representation.
    seed : int
        Seed of the sample of 20,000 cells from which the principal components of more cells are computed.
    refine : bool
        Replace the encoder's code by the one that maximizes the likelihood of the counts times the density of the
        codes (:func:`scrae.core.refine.refine_codes`), for cells with far fewer molecules than the training cells. It
        takes a few milliseconds per cell.

    Raises
    ------
    ScraeError
        As :func:`count_data`; or ``refine`` for a model with batches or without density.

    Notes
    -----
    Writes ``obsm[key_added]`` and, for a model without batches, ``obsm[f"{key_added}_input"]``, as :func:`train` does.

    Examples
    --------
    >>> scrae.tl.embed(new, model)
    >>> new.obsm["X_scrae"].shape
    (50, 10)
    """
    data = counts_for(adata, model, min_overlap=min_overlap)
    _write_codes(adata, encode(model, data, refine=refine), key_added)
    if not model.batch_names:
        adata.obsm[f"{key_added}_input"] = input_components(model, data, seed=seed)


def encode(model: SCRAE, data: CountData, *, refine: bool) -> NDArray[np.float32]:
    """Return the codes of cells, refined if asked."""
    if not refine:
        return model.encode(data)
    if model.density is None or model.batch_names:
        found = "batches" if model.batch_names else "no density: scrae.fit and version 0.1.0 did not fit one"
        raise ScraeError(
            f"refine=True: expected a model without batches and with a density of its codes, found {found}; "
            "use refine=False, or train with scrae.tl.train"
        )
    return refine_codes(model, model.density, data)


def _write_codes(adata: AnnData, codes: NDArray[np.float32], key: str) -> None:
    adata.obsm[key] = codes
    adata.obsm.pop(f"{key}_input", None)
