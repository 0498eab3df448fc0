"""Decoding of the latent representation: denoised counts of cells, and generated cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from scipy import sparse
from torch import Tensor

from scrae.core.data import Minibatch
from scrae.core.model import SCRAE, evaluating
from scrae.errors import ScraeError
from scrae.io.names import some
from scrae.tl._counts import count_data, missing_genes

__all__ = ["denoise", "generate"]

_BLOCK = 1024  # cells


def denoise(
    adata: AnnData,
    model: SCRAE,
    *,
    library: float | Literal["median"] | None = "median",
    genes: str | Sequence[str] | None = None,
    batch: str | None = None,
    batch_key: str | None = None,
) -> AnnData:
    """Compute the decoder's mean counts of cells, at equal sequencing depth.

    These are µ = library · softmax(W_µ h) of the paper's eq. 8: the expected counts before zero inflation, so that
    zeros attributed to dropout are filled.

    Parameters
    ----------
    adata : AnnData
        Cells with raw counts in ``layers["counts"]``; genes are aligned to the model's by name.
    model : SCRAE
        The trained model.
    library : float, "median" or None
        Total counts of each cell over the modeled genes. ``"median"`` = the median total of the model's training
        cells. None = each cell's own: its total, or the encoder's estimate if the model infers it.
    genes : str or sequence of str, optional
        Modeled genes to return, in this order; None = all.
    batch : str, optional
        For a model with batches: the batch to decode all cells as if from, so that they can be compared.
    batch_key : str, optional
        Instead of ``batch``: column of ``obs`` with each cell's own batch.

    Returns
    -------
    AnnData
        ``X`` holds the means, float32 [cells, genes], dense, with copies of ``obs`` and ``obsm``;
        ``uns["scrae"]["notes"]`` says what X is. Memory is that of X plus 1,024 cells x all modeled genes. If X is
        too large, name genes or pass parts of the cells: the means of a cell do not depend on the others.

    Raises
    ------
    ScraeError
        As :func:`count_data`; a gene that is not modeled, a library that is not positive, or an unknown batch.

    Examples
    --------
    >>> clean = scrae.tl.denoise(adata, model, genes=["CD3D", "LYZ"])
    >>> clean.shape
    (700, 2)
    """
    at = _gene_index(model, [genes] if isinstance(genes, str) else genes)
    if not (
        library is None or library == "median" or (not isinstance(library, str) and 0 < library < np.inf)
    ):
        raise ScraeError(f"denoise: expected 'median', None or a positive library, found {library!r}")
    code = _batch_code(model, batch, batch_key, "denoise")
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
    with evaluating(model):
        for cells in data.minibatches(_BLOCK):
            means = _mean_counts(model, cells, total, code)[:, at]
            x[start : start + len(means)] = means.cpu().numpy()
            start += len(means)
    depth = "its own counts" if total is None else f"{total:g} counts"
    where = "" if batch is None else f", as if all were of batch {batch!r}"
    note = f"X holds the decoder's mean counts for a library of {depth} per cell{where}. They are not raw counts."
    missing = missing_genes(adata, model.genes)
    return AnnData(
        x,
        obs=adata.obs.copy(),
        var=pd.DataFrame(index=pd.Index(np.asarray(model.genes, dtype=object)[at.numpy()])),
        obsm={key: value.copy() for key, value in adata.obsm.items()},
        uns={"scrae": {"notes": [note, missing] if missing else [note]}},
    )


def generate(
    model: SCRAE,
    n_cells: int,
    *,
    source: Literal["density", "prior"] = "density",
    batch: str | None = None,
    seed: int = 0,
) -> AnnData:
    """Simulate cells with the model.

    Codes are decoded, and counts drawn from the decoder's distribution (paper, eq. 4-10): negative binomial as a
    gamma-Poisson mixture, with zero inflation if the model has it.

    Parameters
    ----------
    model : SCRAE
        The trained model.
    n_cells : int
        Number of cells.
    source : {"density", "prior"}
        Where codes and library sizes come from. ``"density"``: a mixture of Gaussians over both that :func:`train`
        fitted to the training cells, with dispersions estimated from their counts
        (:func:`scrae.core.density.fit_density`). ``"prior"``: codes from the prior of the paper, ẑ = G(n) with
        n ~ N(0, I) (G is the identity for ``prior="normal"``), and independent log library sizes from N(µG, σ²G), the
        moments of the training cells, with the decoder's dispersions. The density describes cells far better
        (docs/tools.md).
    batch : str, optional
        For a model with batches: the batch to simulate, with its library sizes.
    seed : int
        Seed of all draws; on the CPU the same seed gives the same cells.

    Returns
    -------
    AnnData
        Cells "generated_0", ... of the modeled genes: ``layers["counts"]`` and ``X`` hold the counts (csr_matrix
        int32), ``obsm["X_scrae"]`` the codes (float32), and ``var["scrae_selected"]`` is true for all genes. Memory is
        that of the nonzero counts plus 1,024 cells x genes.

    Raises
    ------
    ScraeError
        No density or no prior in the model, fewer than one cell, or an unknown batch.

    Examples
    --------
    >>> made = scrae.tl.generate(model, 100)
    >>> made.layers["counts"].shape == (100, len(model.genes))
    True
    """
    if n_cells < 1:
        raise ScraeError(f"generate: expected at least 1 cell, found {n_cells}")
    if source == "density" and model.density is None:
        raise ScraeError(
            "generate: expected a model with a density of its codes, found none: scrae.fit and version 0.1.0 did not "
            "fit one; train with scrae.tl.train, or use source='prior'"
        )
    if source == "prior" and model.config.prior == "none":
        raise ScraeError(
            "generate: expected a model with a prior to draw codes from, found prior='none', a plain autoencoder; "
            "use source='density', or train one with prior='learned'"
        )
    code = _batch_code(model, batch, None, "generate")
    noise = torch.Generator(model.library_mean.device).manual_seed(seed)
    rng = np.random.default_rng(seed)
    codes, counts = [], []
    with evaluating(model):
        for start in range(0, n_cells, _BLOCK):
            n = min(_BLOCK, n_cells - start)
            if source == "density" and model.density is not None:
                drawn, log_library = model.density.mixtures[code or 0].sample(n, rng)
                z, theta = torch.from_numpy(drawn).to(model.library_mean.device), model.density.theta
            else:
                z, theta = model.sample_prior(n, noise), model.decoder.log_theta.double().exp().cpu().numpy()
                mean, var = (float(v.view(-1)[code or 0]) for v in (model.library_mean, model.library_var))
                log_library = rng.normal(mean, var**0.5, size=n)
            codes.append(z.cpu().numpy())
            counts.append(_draw_counts(model, z, np.exp(log_library), theta, code, rng))
    x = sparse.csr_matrix(sparse.vstack(counts, format="csr"))
    note = f"Simulated cells, not measurements: drawn from a model with seed {seed}."
    return AnnData(
        x,
        obs=pd.DataFrame(index=[f"generated_{i}" for i in range(n_cells)]),
        var=pd.DataFrame({"scrae_selected": True}, index=list(model.genes)),
        layers={"counts": x.copy()},
        obsm={"X_scrae": np.concatenate(codes)},
        uns={"scrae": {"notes": [note], "seed": seed}},
    )


def _gene_index(model: SCRAE, genes: Sequence[str] | None) -> Tensor:
    """Return the columns of the requested genes, int64 [genes]."""
    if genes is None:
        return torch.arange(len(model.genes))
    at = pd.Index(model.genes).get_indexer(pd.Index(genes))
    if not len(at) or (at < 0).any():
        found = "none" if not len(at) else repr(genes[int(np.argmin(at))])
        raise ScraeError(
            f"denoise: expected some of the {len(model.genes)} modeled genes, found {found}; see model.genes"
        )
    return torch.as_tensor(at)


def _batch_code(model: SCRAE, batch: str | None, batch_key: str | None, what: str) -> int | None:
    """Return the index of the batch to decode as if from; None if cells have their own, or the model has none."""
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
        raise ScraeError(f"{what}: expected {ways} (the model's batches are {some(names, 8)}), found {found}")
    return names.index(batch)


def _mean_counts(model: SCRAE, cells: Minibatch, total: float | None, code: int | None) -> Tensor:
    """Return µ, float32 [cells, genes].

    ``total`` None = the cells' own library. ``code`` is the batch to decode as if from; None = their own.
    """
    if code is not None:
        cells = cells._replace(batch_code=torch.full_like(cells.start[1:], code))
    encoded = model.encoder(model.encoder_input(cells))
    share: Tensor = torch.softmax(model.decoder(encoded.z, one_hot=model.one_hot(cells))[0], dim=1)
    if total is not None:
        return share * total
    if model.config.library == "observed":
        return share * cells.log_library.exp()[:, None]
    library: Tensor = (encoded.library_mean + model.library_prior(cells)[0]).exp()
    return share * library[:, None]


def _draw_counts(
    model: SCRAE,
    z: Tensor,
    library: np.ndarray,
    theta: np.ndarray,
    code: int | None,
    rng: np.random.Generator,
) -> Any:
    """Draw counts of cells with the given codes and library sizes, of one batch, csr_matrix int32 [cells, genes]."""
    one_hot = None if code is None else torch.eye(len(model.batch_names), device=z.device)[[code] * len(z)]
    share_logits, zi_logits = model.decoder(z, one_hot=one_hot)
    share = torch.softmax(share_logits.double(), dim=1).cpu().numpy()
    rate = rng.gamma(theta, share * library[:, None] / theta)
    counts = rng.poisson(rate).astype(np.int32)
    if zi_logits is not None:
        counts[rng.random(counts.shape) < torch.sigmoid(zi_logits).cpu().numpy()] = 0
    return sparse.csr_matrix(counts)
