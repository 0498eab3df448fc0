"""What scrae itself brings to the benchmarks: its embeddings and its clusters, by its public parts."""

from __future__ import annotations

import hashlib
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

import scrae
from benchmarks.clusterers import Clustering
from benchmarks.embeddings import Embedding, EpochCodes, split_cells
from benchmarks.genes import prepare
from scrae import tl
from scrae.config import (
    ClusterConfig,
    ModelConfig,
    PreprocessConfig,
    Settings,
    TrainConfig,
    from_dict,
    to_dict,
)
from scrae.core.fit import fit
from scrae.core.input_pca import input_components
from scrae.core.model import SCRAE
from scrae.errors import ScraeError

__all__ = ["cluster", "code", "config_of", "default_input", "embed", "embed_each_epoch"]

_MODULES = ("config", "tl/_train")
_PACKAGES = ("core", "gene_selection", "pp")


def config_of(settings: Settings) -> dict[str, Any]:
    """All that shapes the codes, in one flat dict; filters of cells are not in it, since all cells count."""
    genes = {key: getattr(settings.preprocess, key) for key in ("min_cells", "gene_selection", "n_top_genes")}
    train = to_dict(settings.train)
    del train["prior_weight_batched"]  # no batches there
    return {**genes, **to_dict(settings.model), **train}


def code() -> str:
    """Fingerprint of the source that makes the codes, as it was when this process loaded it."""
    return _CODE


def _fingerprint() -> str:
    root = Path(scrae.__file__).parent
    files = [root / f"{name}.py" for name in _MODULES]
    files += [file for package in _PACKAGES for file in sorted((root / package).glob("*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


_CODE = _fingerprint()  # now: someone may change a file while runs go on with what was loaded


def embed(
    counts: AnnData,
    *,
    n_clusters: int,
    seed: int,
    config: dict[str, Any],
    device: str,
    batch_key: str | None = None,
) -> Embedding:
    """Embed by `tl.train`, as `scrae run` does, but without dropping a cell."""
    del n_clusters
    prepare(counts, _part(PreprocessConfig, config))
    facts: dict[str, Any] = {"n_genes_used": int(counts.var["scrae_selected"].sum())}
    start = perf_counter()
    tl.train(
        counts,
        _part(ModelConfig, config),
        _part(TrainConfig, config),
        seed=seed,
        batch_key=batch_key,
        device=device,
    )
    facts["train_seconds"] = round(perf_counter() - start, 3)
    trained = counts.uns["scrae"]["train"]
    facts |= {key: trained[key] for key in ("epochs", "best_epoch", "stopped_because")}
    return Embedding(np.asarray(counts.obsm["X_scrae"], dtype=np.float32), facts)


def embed_each_epoch(
    counts: AnnData, *, n_clusters: int, seed: int, config: dict[str, Any], device: str
) -> EpochCodes:
    """Train on 80 % of the cells, drawn with the seed; the codes of the others after every epoch."""
    del n_clusters
    prepare(counts, _part(PreprocessConfig, config))
    train, test = split_cells(counts.n_obs, seed)
    seen, unseen = tl.count_data(counts[train], device=device), tl.count_data(counts[test], device=device)
    model = SCRAE.for_data(seen, _part(ModelConfig, config), seed=seed)
    codes: list[NDArray[np.float32]] = []
    fit(
        model,
        seen,
        _part(TrainConfig, config),
        seed=seed,
        on_epoch=lambda *_: codes.append(model.encode(unseen)),
    )
    return EpochCodes(test, codes, {"n_genes_used": seen.n_genes, "epochs": len(codes)})


def default_input(counts: AnnData, seed: int) -> NDArray[np.float32]:
    """Components of what the default model reads of these cells, whatever method made their codes; see `cluster`."""
    prepare(counts, PreprocessConfig())
    data = tl.count_data(counts)
    return input_components(SCRAE.for_data(data, ModelConfig(), seed=seed), data, seed=seed)


def cluster(
    codes: NDArray[np.float32],
    *,
    n_clusters: int,
    seed: int,
    config: dict[str, Any],
    beside: NDArray[np.float32] | None = None,
) -> Clustering:
    """The package's default clustering by `tl.cluster`, at the true K or at a K of its own choice; `config` says which.

    Cells are neighbours in the codes, and in `beside` where it is given: `default_input` of the same cells.
    """
    default = ClusterConfig().method
    if config["cluster_method"] != default:
        raise ScraeError(f"expected cluster_method={default}, the default, found {config['cluster_method']}")
    adata = AnnData(codes, obsm={"X_scrae": codes} | ({} if beside is None else {"X_scrae_input": beside}))
    tl.cluster(adata, n_clusters=None if config["choose"] else n_clusters, seed=seed)
    return Clustering(adata.obs["scrae"].astype(np.int64).to_numpy(), {})


def _part(kind: type[Any], config: dict[str, Any]) -> Any:
    """The config of class `kind` out of the flat dict."""
    return from_dict(kind, {key: config[key] for key in kind.__dataclass_fields__ if key in config})
