"""Training, and embedding of cells with a trained model."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from scrae.config import ModelConfig, TrainConfig, to_dict
from scrae.core.checkpoint import Checkpoint, Epoch
from scrae.core.data import CountData
from scrae.core.density import fit_density
from scrae.core.device import resolve_device
from scrae.core.distributed import Processes
from scrae.core.fit import FitResult, fit
from scrae.core.input_pca import input_components
from scrae.core.model import SCRAE
from scrae.core.refine import refine_codes
from scrae.errors import ScraeError, ScraeWarning
from scrae.io.batches import batch_codes, batches_of, refuse_one_batch
from scrae.io.notes import add_note
from scrae.tl._progress import training_bar

__all__ = ["count_data", "counts_for", "embed", "missing_genes", "train", "train_model"]


def count_data(
    adata: AnnData,
    *,
    genes: Sequence[str] | None = None,
    batch_key: str | None = None,
    batch_names: Sequence[str] | None = None,
    min_overlap: float = 0.5,
    device: torch.device | str = "auto",
) -> CountData:
    """Return the raw counts of the modeled genes as the model reads them.

    Parameters
    ----------
    adata : AnnData
        Cells with raw counts in ``layers["counts"]``; not changed.
    genes : sequence of str, optional
        Gene names to align to, e.g. ``model.genes``: order and additional genes do not matter, missing genes count as
        zero, with a warning. None = the genes of ``var["scrae_selected"]``.
    batch_key : str, optional
        Column of ``obs`` with the experimental batch of each cell; None = a single batch.
    batch_names : sequence of str, optional
        Batch names to align to, e.g. ``model.batch_names``; None = those of the column.
    min_overlap : float
        Smallest allowed fraction of ``genes`` in the data.
    device : torch.device or str
        Device for the counts; "auto" = CUDA if available, otherwise the CPU, as for :func:`scrae.load`.

    Returns
    -------
    CountData

    Raises
    ------
    ScraeError
        No counts, no selected genes, duplicate gene names, or too few of ``genes``; no such column, cells without a
        batch, or a batch that is not among ``batch_names``.

    Warns
    -----
    ScraeWarning
        Some of ``genes`` are missing.
    """
    if "counts" not in adata.layers:
        raise ScraeError(
            'adata: expected raw counts in layers["counts"], found none; use scrae.io.use_counts(adata)'
        )
    counts = sparse.csr_matrix(adata.layers["counts"])
    names, codes = _batches(adata, batch_key, batch_names)
    if genes is None:
        if "scrae_selected" not in adata.var:
            raise ScraeError(
                'adata: expected var["scrae_selected"], found none; use scrae.pp.select_genes(adata)'
            )
        selected = np.asarray(adata.var["scrae_selected"], dtype=bool)
        genes = list(adata.var_names[selected])
        counts = counts if selected.all() else counts[:, selected]
    else:
        counts = _align(counts, adata, genes, min_overlap)
    return CountData(counts, genes, batch_names=names, batch_codes=codes, device=resolve_device(device))


def _align(
    counts: sparse.csr_matrix, adata: AnnData, genes: Sequence[str], min_overlap: float
) -> sparse.csr_matrix:
    """Return the counts of the given genes, in their order; missing genes are zero, with a warning."""
    if not adata.var_names.is_unique:
        raise ScraeError(
            "adata: expected unique gene names to align by, found duplicates; use var_names_make_unique()"
        )
    at = adata.var_names.get_indexer(list(genes))
    overlap = float((at >= 0).mean())
    if overlap < min_overlap:
        raise ScraeError(
            f"adata: expected at least {min_overlap:.0%} of the model's {len(genes)} genes, found {overlap:.0%} "
            f"(the model has e.g. {', '.join(genes[:3])}; the data {', '.join(adata.var_names[:3])}); "
            "use the same kind of gene names"
        )
    if message := missing_genes(adata, genes):
        warnings.warn(message, ScraeWarning, stacklevel=3)
    picked = sparse.csc_matrix(counts)[:, np.maximum(at, 0)]
    present = sparse.diags_array((at >= 0).astype(picked.dtype), dtype=picked.dtype)
    aligned = sparse.csr_matrix(picked @ present)
    aligned.eliminate_zeros()
    return aligned


def missing_genes(adata: AnnData, genes: Sequence[str]) -> str:
    """Return a sentence about the genes that the data lack; empty if they lack none."""
    n_missing = int((adata.var_names.get_indexer(list(genes)) < 0).sum())
    if not n_missing:
        return ""
    return f"{n_missing} of the model's {len(genes)} genes are missing in the data and count as zero."


def _batches(
    adata: AnnData, key: str | None, known: Sequence[str] | None
) -> tuple[tuple[str, ...], NDArray[np.int64] | None]:
    """Return the names of the batches, and the index of each cell's batch among them."""
    if key is None:
        return (), None
    batches = batches_of(adata, key)
    names = tuple(batches.categories if known is None else known)
    return names, batch_codes(batches, names, key)


def counts_for(adata: AnnData, model: SCRAE, *, min_overlap: float) -> CountData:
    """Return the counts aligned to a model's genes, on its device, and note missing genes."""
    device = model.library_mean.device
    data = count_data(adata, genes=model.genes, min_overlap=min_overlap, device=device)
    if message := missing_genes(adata, model.genes):
        add_note(adata, message)
    return data


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
        Column of ``obs`` with the experimental batch of each cell, at least two. The decoder and the prior of the
        library size are conditioned on the batch, and the latent representation is trained not to depend on it
        (docs/batches.md). None = no correction.
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
    Writes ``obsm[key_added]``, float32 [cells, latent], and, without ``batch_key``, ``obsm[f"{key_added}_input"]``,
    float32 [cells, at most 15], the principal components of the model's input. For the default key also
    ``obs["scrae_held_out"]``, bool, the cells that were held out for early stopping, and
    ``uns["scrae"]["settings" | "train" | "history" | "seed"]``. The settings are JSON text:
    ``scrae.config.from_dict(scrae.Settings, json.loads(text))`` reads them back. If a non-finite loss ended the
    training, ``uns["scrae"]["train"]["fault"]`` describes it; otherwise it is "".
    """
    model_config, train_config = model_config or ModelConfig(), train_config or TrainConfig()
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
    _write_codes(adata, model, data, model.encode(data), key_added, seed, write_input)
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
    Writes ``obsm[key_added]`` and ``obsm[f"{key_added}_input"]``, as :func:`train` does.
    """
    data = counts_for(adata, model, min_overlap=min_overlap)
    _write_codes(adata, model, data, encode(model, data, refine=refine), key_added, seed, True)


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


def _write_codes(
    adata: AnnData,
    model: SCRAE,
    data: CountData,
    codes: NDArray[np.float32],
    key: str,
    seed: int,
    write_input: bool,
) -> None:
    adata.obsm[key] = codes
    adata.obsm.pop(f"{key}_input", None)
    if write_input and not model.batch_names:  # the components would join cells by batch again
        adata.obsm[f"{key}_input"] = input_components(model, data, seed=seed)
