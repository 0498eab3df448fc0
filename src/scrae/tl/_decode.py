"""Codes back to counts: what the decoder expects of cells, and new cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from scipy import sparse
from torch import Tensor

from scrae.core.data import Minibatch
from scrae.core.model import SCRAE
from scrae.errors import ScraeError
from scrae.io.names import some
from scrae.tl._train import count_data

__all__ = ["denoise", "generate"]

_BLOCK = 1024  # cells at a time


def denoise(
    adata: AnnData,
    model: SCRAE,
    *,
    library: float | Literal["median"] | None = "median",
    genes: Sequence[str] | None = None,
    batch: str | None = None,
    batch_key: str | None = None,
) -> AnnData:
    """Return the decoder's mean counts of cells, all as if sequenced equally deep.

    They are µ = library · softmax(W_µ h) of the paper's eq. 8: what is expected of each gene before zero inflation,
    so that zeros taken for dropout are filled.

    Parameters
    ----------
    adata : cells with raw counts in ``layers["counts"]``; genes are aligned to the model's by name.
    library : the total over the modelled genes that each cell is given, in counts. ``median``: the median total of
        the model's training cells, the same for any cells that are passed. None = each cell's own: its total, or
        what the encoder makes of it where the model infers it.
    genes : which of the modelled genes to return, in this order; None = all.
    batch, batch_key : for a model with batches, one of both: the batch that all cells are decoded as if from, so that
        they can be compared; or the column of obs with each cell's own.

    Returns
    -------
    A new AnnData of these genes: ``X`` the means, float32 [cells, genes], dense; copies of ``obs`` and ``obsm``;
    ``uns["scrae"]["notes"]`` says what X is. Memory is that of X and of 1,024 cells x all modelled genes. Where X is
    too large, name the genes or pass parts of the cells: the means of a cell do not depend on the others.

    Raises
    ------
    ScraeError : as :func:`count_data`, a gene that is not modelled, a library that is not positive, or a batch that
        the model does not know.
    """
    at = _places(model, genes)
    if not (
        library is None or library == "median" or (not isinstance(library, str) and 0 < library < np.inf)
    ):
        raise ScraeError(f"denoise: expected 'median', None or a positive library, found {library!r}")
    code = _code_of(model, batch, batch_key, "denoise")
    data = count_data(
        adata,
        genes=model.genes,
        batch_key=batch_key,
        batch_names=model.batch_names,
        device=model.library_mean.device,
    )
    total = float(model.target_total) if library == "median" else library
    x = np.empty((len(data), len(at)), dtype=np.float32)
    start = 0
    for means in _means(model, data.minibatches(_BLOCK), total, code):
        x[start : start + len(means)] = means[:, at].cpu().numpy()
        start += len(means)
    whose = "its own counts" if total is None else f"{total:g} counts"
    where = "" if batch is None else f", as if all were of batch {batch!r}"
    sentence = (
        f"X holds the decoder's mean counts for a library of {whose} a cell{where}. They are no raw counts."
    )
    return AnnData(
        x,
        obs=adata.obs.copy(),
        var=pd.DataFrame(index=pd.Index(np.asarray(model.genes, dtype=object)[at.numpy()])),
        obsm={key: value.copy() for key, value in adata.obsm.items()},
        uns={"scrae": {"notes": [sentence]}},
    )


def generate(model: SCRAE, n_cells: int, *, batch: str | None = None, seed: int = 0) -> AnnData:
    """Draw new cells from the model.

    Codes come from the prior, ẑ = G(n) with n ~ N(0, I) (the identity for ``prior="normal"``); log library sizes
    from N(µG, σ²G), the training cells' mean and variance; counts from the ZINB of the decoder (paper, eq. 4-10; NB
    where the model has no zero inflation), the negative binomial as a Poisson count of a gamma rate. Codes and
    library sizes are drawn apart, although in real cells a type often has its own. The prior fits the codes better
    where the model was trained with a larger ``prior_weight`` than 1 (docs/tools.md).

    Parameters
    ----------
    n_cells : how many.
    batch : for a model with batches, the one that the cells are drawn from, with its library sizes.
    seed : on CPU the same seed gives the same cells.

    Returns
    -------
    A new AnnData of the modelled genes, cells named "generated_0", ...: ``layers["counts"]`` and ``X`` the counts
    (csr_matrix int32), ``obsm["X_scrae"]`` the codes (float32), ``var["scrae_selected"]`` true for all genes.
    Memory is that of the nonzero counts and of 1,024 cells x genes.

    Raises
    ------
    ScraeError : a model without a prior, fewer than one cell, or a batch that the model does not know.
    """
    if n_cells < 1:
        raise ScraeError(f"generate: expected at least 1 cell, found {n_cells}")
    if model.config.prior == "none":
        raise ScraeError(
            "generate: expected a model with a prior to draw codes from, found prior='none', a plain autoencoder; "
            "train one with prior='learned'"
        )
    code = _code_of(model, batch, None, "generate")
    device = model.library_mean.device
    noise = torch.Generator(device).manual_seed(seed)
    rng = np.random.default_rng(seed)
    codes, counts = [], []
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for start in range(0, n_cells, _BLOCK):
            z = model.sample_prior(min(_BLOCK, n_cells - start), noise)
            codes.append(z.cpu().numpy())
            counts.append(_draw_counts(model, z, code, rng))
    model.train(was_training)
    x = sparse.csr_matrix(sparse.vstack(counts, format="csr"))
    adata = AnnData(
        x,
        obs=pd.DataFrame(index=[f"generated_{i}" for i in range(n_cells)]),
        var=pd.DataFrame({"scrae_selected": True}, index=list(model.genes)),
        layers={"counts": x.copy()},
        obsm={"X_scrae": np.concatenate(codes)},
    )
    sentence = f"These cells were drawn from a model, with seed {seed}. They are no measurement."
    adata.uns["scrae"] = {"notes": [sentence], "seed": seed}
    return adata


def _places(model: SCRAE, genes: Sequence[str] | None) -> Tensor:
    """Return the columns of the wanted genes, int64 [genes]."""
    if genes is None:
        return torch.arange(len(model.genes))
    at = pd.Index(model.genes).get_indexer(pd.Index(genes))
    if not len(at) or (at < 0).any():
        found = "none" if not len(at) else repr(genes[int(np.argmin(at))])
        raise ScraeError(
            f"denoise: expected some of the {len(model.genes)} modelled genes, found {found}; see model.genes"
        )
    return torch.as_tensor(at)


def _code_of(model: SCRAE, batch: str | None, batch_key: str | None, what: str) -> int | None:
    """Return the place of the one batch to decode as if from; None where cells have their own, or there are none."""
    names = model.batch_names
    if not names and (batch is not None or batch_key is not None):
        raise ScraeError(
            f"{what}: expected no batch for a model that was trained without batch_key, found {batch or batch_key!r}"
        )
    if not names or (batch is None and batch_key is not None):
        return None
    if batch not in names or batch_key is not None:
        ways = "batch or batch_key" if what == "denoise" else "batch"
        found = "both" if batch_key is not None else repr(batch)
        raise ScraeError(
            f"{what}: expected {ways}, the model's batches being {some(names, 8)}, found {found}"
        )
    return names.index(batch)


def _means(
    model: SCRAE, batches: Iterator[Minibatch], total: float | None, code: int | None
) -> Iterator[Tensor]:
    """Yield µ of each batch, float32 [cells, genes].

    Parameters
    ----------
    total : None = the cells' own library.
    code : the batch that all cells are decoded as if from; None = their own.
    """
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for batch in batches:
            if code is not None:
                batch = batch._replace(batch_code=torch.full_like(batch.start[1:], code))
            encoded = model.encoder(model.encoder_input(batch))
            share = torch.softmax(model.decoder(encoded.z, one_hot=model.one_hot(batch))[0], dim=1)
            if total is not None:
                yield share * total
            elif model.config.library == "observed":
                yield share * batch.log_library.exp()[:, None]
            else:
                yield share * (encoded.library_mean + model.library_prior(batch)[0]).exp()[:, None]
    model.train(was_training)


def _draw_counts(model: SCRAE, z: Tensor, code: int | None, rng: np.random.Generator) -> Any:
    """Return counts of cells with the given codes, of one batch, csr_matrix int32 [cells, genes]."""
    one_hot = None if code is None else torch.eye(len(model.batch_names), device=z.device)[[code] * len(z)]
    share_logits, zi_logits = model.decoder(z, one_hot=one_hot)
    share = torch.softmax(share_logits.double(), dim=1).cpu().numpy()
    theta = model.decoder.log_theta.double().exp().cpu().numpy()
    mean, var = (float(value.view(-1)[code or 0]) for value in (model.library_mean, model.library_var))
    library = np.exp(rng.normal(mean, var**0.5, size=(len(z), 1)))
    rate = rng.gamma(theta, share * library / theta)
    counts = rng.poisson(rate).astype(np.int32)
    if zi_logits is not None:
        counts[rng.random(counts.shape) < torch.sigmoid(zi_logits).cpu().numpy()] = 0
    return sparse.csr_matrix(counts)
