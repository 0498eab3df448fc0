"""Methods that correct for batches: counts with `obs["batch"]` in, codes out, no labels anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from time import process_time
from typing import Any

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from benchmarks import embeddings
from benchmarks.methods import EMBEDDINGS
from scrae.errors import ScraeError

__all__ = ["METHODS", "BatchMethod", "Embedded", "find_methods"]


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """Codes of a method.

    Attributes
    ----------
    codes
        float32 [cells, dimensions], what is scored.
    beside
        float32 [cells, dimensions], a second representation that the method's own clustering reads; None: none.
    facts
        What turned out during the run.
    """

    codes: NDArray[np.float32]
    beside: NDArray[np.float32] | None
    facts: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class BatchMethod:
    """A method and every setting of it.

    Attributes
    ----------
    embedding
        Key of `EMBEDDINGS`.
    changes
        Settings that differ from that embedding's defaults.
    corrects
        Whether it corrects for the batches.
    uncorrected
        The name of the same method without batches; None: not measured.
    """

    embedding: str
    changes: dict[str, Any]
    corrects: bool
    uncorrected: str | None = None

    @property
    def config(self) -> dict[str, Any]:
        """Every setting, the defaults too."""
        return EMBEDDINGS[self.embedding].defaults | self.changes

    def code(self) -> str:
        """What the codes depend on beside data, seed and config."""
        made = EMBEDDINGS[self.embedding].code()
        return f"{made}, harmonypy {version('harmonypy')}" if self._harmony else made

    @property
    def _harmony(self) -> bool:
        return self.corrects and self.embedding.startswith("pca")

    def embed(self, counts: AnnData, *, seed: int) -> Embedded:
        """Embed every cell of `counts`, which may be changed; reads `obs["batch"]` if it corrects."""
        start, key = process_time(), "batch" if self.corrects else None
        options: dict[str, Any] = {"n_clusters": 0, "seed": seed, "config": self.config, "device": "cpu"}
        embed: Callable[..., embeddings.Embedding] = EMBEDDINGS[self.embedding].embed
        if self.embedding in ("scrae", "scvi"):
            options["batch_key"] = key
        found = embed(counts, **options)
        codes = _harmony(found.codes, counts, seed) if self._harmony else found.codes
        beside = counts.obsm["X_scrae_input"] if self.embedding == "scrae" else None
        return Embedded(
            codes=codes,
            beside=beside,
            facts=found.facts | {"cpu_seconds": round(process_time() - start, 1)},
        )


def _harmony(codes: NDArray[np.float32], counts: AnnData, seed: int) -> NDArray[np.float32]:
    import harmonypy

    done = harmonypy.run_harmony(codes, counts.obs, "batch", random_state=seed, ncores=1, verbose=False)
    return np.asarray(done.Z_corr, dtype=np.float32).reshape(codes.shape)


_BENCHMARK_RECIPE = {"n_layers": 2, "n_latent": 30, "gene_likelihood": "nb"}

METHODS = {
    "pca50": BatchMethod(embedding="pca50", changes={}, corrects=False),
    "harmony": BatchMethod(embedding="pca50", changes={}, corrects=True, uncorrected="pca50"),
    "scrae": BatchMethod(embedding="scrae", changes={}, corrects=False),
    "scrae-batch": BatchMethod(embedding="scrae", changes={}, corrects=True, uncorrected="scrae"),
    "scvi-batch": BatchMethod(embedding="scvi", changes={}, corrects=True),
    "scvi-recipe": BatchMethod(embedding="scvi", changes=_BENCHMARK_RECIPE, corrects=True),
}


def find_methods(names: str) -> dict[str, BatchMethod]:
    """The methods of a comma-separated list.

    Raises
    ------
    ScraeError
        If a name is unknown.
    """
    listed = names.split(",")
    if unknown := [name for name in listed if name not in METHODS]:
        raise ScraeError(
            f"expected methods among {', '.join(METHODS)}, found {unknown[0]!r}; correct --methods"
        )
    return {name: METHODS[name] for name in listed}
