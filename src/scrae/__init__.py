"""Clusters and latent spaces of single cells from raw counts, without labels (scRAE).

``scrae.run`` is the whole path by one call; ``scrae.pp``, ``scrae.tl`` and ``scrae.pl`` are its steps on AnnData.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import datasets, gene_selection, io, pl, pp, sklearn, tl
    from .cluster import metrics
    from .config import ClusterConfig, ModelConfig, PreprocessConfig, Settings, TrainConfig, preset
    from .core.checkpoint import Checkpoint
    from .core.data import CountData
    from .core.fit import FitResult, fit
    from .core.model import SCRAE
    from .core.model_io import load, save
    from .errors import ScraeError, ScraeWarning
    from .pipeline.run import analyze, run

__version__ = "0.2.0"

_ROOMS = ("datasets", "gene_selection", "io", "pl", "pp", "sklearn", "tl")
_HOMES = {
    "SCRAE": "core.model",
    "Checkpoint": "core.checkpoint",
    "ClusterConfig": "config",
    "CountData": "core.data",
    "FitResult": "core.fit",
    "ModelConfig": "config",
    "PreprocessConfig": "config",
    "ScraeError": "errors",
    "ScraeWarning": "errors",
    "Settings": "config",
    "TrainConfig": "config",
    "analyze": "pipeline.run",
    "fit": "core.fit",
    "load": "core.model_io",
    "preset": "config",
    "run": "pipeline.run",
    "save": "core.model_io",
}

__all__ = [
    "SCRAE",
    "Checkpoint",
    "ClusterConfig",
    "CountData",
    "FitResult",
    "ModelConfig",
    "PreprocessConfig",
    "ScraeError",
    "ScraeWarning",
    "Settings",
    "TrainConfig",
    "analyze",
    "datasets",
    "fit",
    "gene_selection",
    "io",
    "load",
    "metrics",
    "pl",
    "pp",
    "preset",
    "run",
    "save",
    "sklearn",
    "tl",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import scrae`` and ``scrae --help`` are quick."""
    if name in _ROOMS:
        return importlib.import_module(f".{name}", __name__)
    if name == "metrics":
        return importlib.import_module(".cluster.metrics", __name__)
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
