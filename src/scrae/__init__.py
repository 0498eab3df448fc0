"""Clusters and latent spaces of single cells from raw counts, without labels (scRAE).

``scrae.run`` is the whole path by one call; ``scrae.pp``, ``scrae.tl`` and ``scrae.pl`` are its steps on AnnData.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import datasets, gene_selection, io, metrics, pl, pp, sklearn, tl
    from .checkpoint import load, save
    from .config import ClusterConfig, ModelConfig, PreprocessConfig, Settings, TrainConfig, preset
    from .counts import CountData
    from .errors import ScraeError, ScraeWarning
    from .model import SCRAE
    from .pipeline import analyse, run
    from .train import Checkpoint, FitResult, fit

__version__ = "0.1.0"

_ROOMS = ("datasets", "gene_selection", "io", "metrics", "pl", "pp", "sklearn", "tl")
_HOMES = {
    "SCRAE": "model",
    "Checkpoint": "train",
    "ClusterConfig": "config",
    "CountData": "counts",
    "FitResult": "train",
    "ModelConfig": "config",
    "PreprocessConfig": "config",
    "ScraeError": "errors",
    "ScraeWarning": "errors",
    "Settings": "config",
    "TrainConfig": "config",
    "analyse": "pipeline",
    "fit": "train",
    "load": "checkpoint",
    "preset": "config",
    "run": "pipeline",
    "save": "checkpoint",
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
    "analyse",
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
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
