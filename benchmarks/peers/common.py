"""What the peers share: cells as tensors, minibatches, and both protocols."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from anndata import AnnData
from torch import Generator, Tensor

import scrae
from benchmarks.embeddings import Embed, Embedding, EmbedEachEpoch, EpochCodes, split_cells
from benchmarks.genes import choose_genes

__all__ = [
    "Cells", "Coded", "Encode", "Inputs", "Train", "batches", "code_of", "each_epoch_by", "embed_by",
    "normalised_logs", "raw_counts", "squared_distances", "standardised", "unit_logs",
]  # fmt: skip

_READS = ("core/distributions", "core/losses", "core/networks")  # of scrae


class Cells(NamedTuple):
    """Cells in the form that networks read.

    Attributes
    ----------
    inputs
        float32 [cells, genes], what the encoder reads.
    counts
        float32 [cells, genes], raw counts of the same genes.
    size_factor
        float32 [cells], a cell's total over all genes divided by the median cell's.
    """

    inputs: Tensor
    counts: Tensor
    size_factor: Tensor

    def take(self, index: Tensor) -> Cells:
        """The cells at `index`, int64 [any]."""
        return Cells(*(part[index] for part in self))


class Coded(NamedTuple):
    """What a peer says of cells: codes float32 [cells, latent], and its own clusters int64 [cells] or None."""

    codes: Tensor
    clusters: Tensor | None = None


Encode = Callable[[Cells], Coded]
Inputs = Callable[[Tensor, Tensor], Tensor]  # counts [cells, genes] and size factors [cells] to Cells.inputs


class Train(Protocol):
    """A peer: trains on cells, and gives after every epoch a function that encodes any cells.

    The function speaks for the networks as they are when it is called, so that only the newest counts.
    """

    def __call__(
        self, cells: Cells, *, n_clusters: int, config: dict[str, Any], generator: Generator
    ) -> Iterator[Encode]:
        """Train; all that is random comes from `generator`."""
        ...


def raw_counts(counts: Tensor, size_factor: Tensor) -> Tensor:
    """The counts as they are."""
    del size_factor
    return counts


def normalised_logs(counts: Tensor, size_factor: Tensor) -> Tensor:
    """Log1p of counts over size factors; [cells, genes]."""
    return torch.log1p(counts / size_factor[:, None])


def standardised(counts: Tensor, size_factor: Tensor) -> Tensor:
    """The normalised logs with mean 0 and standard deviation 1 for each gene; [cells, genes]."""
    logs = normalised_logs(counts, size_factor)
    deviation = logs.std(dim=0)
    return (logs - logs.mean(dim=0)) / torch.where(deviation > 0, deviation, 1.0)


def unit_logs(counts: Tensor, size_factor: Tensor) -> Tensor:
    """Log2(counts + 1) over its largest value, in [0, 1]; [cells, genes]."""
    del size_factor
    logs = torch.log2(counts + 1)
    return logs / logs.max().clamp(min=1)


def batches(n_cells: int, size: int, generator: Generator) -> Iterator[Tensor]:
    """Every cell once, in a drawn order; the last batch may be smaller, but a single cell joins the one before."""
    order = torch.randperm(n_cells, generator=generator)
    parts = list(order.split(size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    yield from parts


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Squared Euclidean distance of every row of `a` to every row of `b`, [rows of a, rows of b], never below 0."""
    products = a.square().sum(dim=1)[:, None] + b.square().sum(dim=1) - 2 * a @ b.t()
    return products.clamp(min=0)


def embed_by(train: Train, inputs: Inputs) -> Embed:
    """The peer as an embedding method of the protocol label-free: train on all cells, encode them at the end."""

    def embed(
        counts: AnnData, *, n_clusters: int, seed: int, config: dict[str, Any], device: str
    ) -> Embedding:
        cells = _cells(counts, config, inputs, device)
        start, epochs = perf_counter(), 0
        for encode in train(cells, n_clusters=n_clusters, config=config, generator=_generator(seed, device)):
            last, epochs = encode, epochs + 1
        facts = {"n_genes_used": cells.counts.shape[1], "epochs": epochs}
        facts["train_seconds"] = round(perf_counter() - start, 3)
        with torch.no_grad():
            coded = last(cells)
        clusters = None if coded.clusters is None else coded.clusters.cpu().numpy().astype(np.int64)
        return Embedding(coded.codes.cpu().numpy(), facts, clusters)

    return embed


def each_epoch_by(train: Train, inputs: Inputs) -> EmbedEachEpoch:
    """The peer under the protocol paper: train on 80 % of the cells, encode the others after every epoch."""

    def each_epoch(
        counts: AnnData, *, n_clusters: int, seed: int, config: dict[str, Any], device: str
    ) -> EpochCodes:
        cells = _cells(counts, config, inputs, device)
        seen, unseen = (torch.from_numpy(part).to(device) for part in split_cells(counts.n_obs, seed))
        steps = train(
            cells.take(seen), n_clusters=n_clusters, config=config, generator=_generator(seed, device)
        )
        test, codes = cells.take(unseen), []
        for encode in steps:
            with torch.no_grad():
                codes.append(encode(test).codes.cpu().numpy())
        facts = {"n_genes_used": cells.counts.shape[1], "epochs": len(codes)}
        return EpochCodes(unseen.cpu().numpy(), codes, facts)

    return each_epoch


def code_of(*modules: str) -> Callable[[], str]:
    """Gives torch's version and a fingerprint of the source that the codes of a peer depend on."""
    here, root = Path(__file__).parent, Path(scrae.__file__).parent
    files = [*(here / f"{name}.py" for name in ("common", "likelihood", *modules)), here.parent / "genes.py"]
    files += [root / f"{name}.py" for name in _READS]
    found = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
    return lambda: f"torch {version('torch')} {found}"


def _generator(seed: int, device: str) -> Generator:
    return Generator(device).manual_seed(seed)


def _cells(counts: AnnData, config: dict[str, Any], inputs: Inputs, device: str) -> Cells:
    genes = choose_genes(counts, config["genes"], config["n_top_genes"])
    totals = np.maximum(np.asarray(counts.X.sum(axis=1)).ravel(), 1)
    size_factor = torch.from_numpy((totals / np.median(totals)).astype(np.float32)).to(device)
    chosen = torch.from_numpy(counts.X[:, genes].toarray()).to(device)
    return Cells(inputs(chosen, size_factor), chosen, size_factor)
