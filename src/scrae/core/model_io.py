"""Model folders: ``config.json``, ``weights.safetensors``, ``genes.txt``, and ``density.safetensors`` if it was fitted.

They are data and cannot run code.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from ..config import ModelConfig, from_dict, to_dict
from ..errors import ScraeError, show
from .device import resolve_device
from .mixture import Density, Mixture
from .model import SCRAE

__all__ = ["load", "save"]

_OLDEST, _FORMAT = 2, 3
"""Format 1 had the weights of linear layers the other way round; format 3 brought the names of batches."""
_ADDED: dict[str, tuple[int, Any]] = {}
"""Settings that came after the oldest format: the format that brought each, and what models did before it.

A new field of ``ModelConfig`` raises ``_FORMAT`` by one and gets a line here.
"""
_UNFIT = re.compile("[\r\n\ud800-\udfff]")
_LARGEST_CONFIG = 1 << 16  # bytes
_LARGEST_GENES = 1 << 24  # bytes
_DENSITY = "density.safetensors"


def save(model: SCRAE, folder: str | Path) -> None:
    """Write a model into a folder, which is created if needed; files of an earlier model are replaced.

    Parameters
    ----------
    model : SCRAE
        The model.
    folder : str or pathlib.Path
        Gets ``config.json``, ``genes.txt``, ``weights.safetensors`` and, if it was fitted, ``density.safetensors``.

    Raises
    ------
    ScraeError
        If a gene name has a line break or an unpaired surrogate, or the folder cannot be written.
    """
    broken = next((gene for gene in model.genes if _UNFIT.search(gene)), None)
    if broken is not None:
        raise ScraeError(f"save: expected gene names of one line of Unicode, found {broken!r}; rename it")
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        config = {
            "format": _FORMAT,
            "n_genes": len(model.genes),
            "batch_names": list(model.batch_names),
            "model": to_dict(model.config),
            "epochs": model.epochs,
        }
        (path / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        (path / "genes.txt").write_text("".join(f"{gene}\n" for gene in model.genes), encoding="utf-8")
        weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
        (path / "weights.safetensors").write_bytes(to_bytes(weights))
        (path / _DENSITY).unlink(missing_ok=True)
        if model.density is not None:
            (path / _DENSITY).write_bytes(to_bytes(_density_tensors(model.density)))
    except OSError as error:
        raise ScraeError(f"save: cannot write the model to {path}: {error}") from error


def load(folder: str | Path, *, device: torch.device | str = "auto") -> SCRAE:
    """Load the model that :func:`save` wrote.

    Parameters
    ----------
    folder : str or pathlib.Path
        The model folder.
    device : torch.device or str
        Where to put the model; "auto" = CUDA if available, otherwise the CPU.

    Returns
    -------
    SCRAE
        In evaluation mode. On the CPU it returns the same codes, bit by bit, as before saving.

    Raises
    ------
    ScraeError
        If a file is missing, foreign or damaged (the message names it), or this machine has no such device.
    """
    path, device = Path(folder), resolve_device(device)
    config, n_genes, batch_names, epochs = _read_config(path / "config.json")
    genes = _read_text(path / "genes.txt", _LARGEST_GENES).split("\n")[:-1]
    if len(genes) != n_genes:
        raise ScraeError(
            f"{path / 'genes.txt'}: expected {n_genes} genes, as config.json says, found {len(genes)}"
        )
    with torch.device("meta"):  # shapes alone: memory is taken only for weights that are really there
        model = SCRAE(genes, config, batch_names=batch_names)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict(_read_weights(path / "weights.safetensors", shapes), assign=True)
    if (path / _DENSITY).exists():
        model.density = _read_density(path / _DENSITY, model)
    model.epochs = epochs
    return model.to(device).eval()


def _read_config(path: Path) -> tuple[ModelConfig, int, list[str], int | None]:
    text = _read_text(path, _LARGEST_CONFIG)
    try:
        content: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ScraeError(f"{path}: expected JSON, found something else ({error})") from error
    number: Any = content.get("format") if isinstance(content, dict) else None
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ScraeError(f"{path}: expected a scrae model, found another file")
    if number > _FORMAT:
        raise ScraeError(
            f"{path}: expected a model of format {_FORMAT} or older, found {number}; use a newer scrae"
        )
    if number < _OLDEST:
        raise ScraeError(
            f"{path}: expected a model of format {_OLDEST} or newer, found {number}; train it again"
        )
    n_genes: Any = content.get("n_genes")
    settings: Any = content.get("model")
    if isinstance(settings, dict):
        settings = {name: old for name, (since, old) in _ADDED.items() if number < since} | settings
    if not isinstance(n_genes, int) or isinstance(n_genes, bool) or n_genes < 1:
        raise ScraeError(f"{path}: expected a positive whole number n_genes, found {n_genes!r}")
    batches: Any = content.get("batch_names") if number >= 3 else []
    if not isinstance(batches, list) or not all(isinstance(name, str) for name in batches):
        raise ScraeError(f"{path}: expected a list of names batch_names, found {show(batches)}")
    try:
        config = from_dict(ModelConfig, settings)
    except ScraeError as error:
        raise ScraeError(f"{path}: {error}") from error
    if missing := sorted(to_dict(config).keys() - settings.keys()):
        raise ScraeError(f"{path}: expected every setting of the model, found none for {missing[0]!r}")
    epochs = content.get("epochs")
    return config, n_genes, batches, epochs if isinstance(epochs, int) else None


def _read_text(path: Path, largest: int) -> str:
    if not path.is_file():
        raise ScraeError(f"{path}: expected a file of a scrae model, found none")
    try:
        if path.stat().st_size > largest:
            raise ScraeError(f"{path}: expected at most {largest} bytes, found {path.stat().st_size}")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ScraeError(f"{path}: expected UTF-8 text, found other bytes") from error
    except OSError as error:
        raise ScraeError(
            f"{path}: expected a file of a scrae model, found none that can be read ({error.strerror})"
        ) from error


def _read_weights(path: Path, expected: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise ScraeError(f"{path}: expected a file of a scrae model, found none")
    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            if names != set(expected):
                odd = sorted(names ^ set(expected))[0]
                raise ScraeError(
                    f"{path}: expected the weights that config.json describes, found a difference at {odd!r}"
                )
            for name, shape in expected.items():
                found = file.get_slice(name)
                if tuple(found.get_shape()) != shape or found.get_dtype() != "F32":
                    raise ScraeError(
                        f"{path}: expected {name} as F32 {list(shape)}, found {found.get_dtype()} {found.get_shape()}"
                    )
            weights = {name: file.get_tensor(name).clone() for name in expected}  # else a view of the file
    except (SafetensorError, OSError) as error:
        raise ScraeError(
            f"{path}: expected safetensors weights, found a damaged or foreign file ({error})"
        ) from error
    bad = next((name for name, value in weights.items() if not torch.isfinite(value).all()), None)
    if bad is not None:
        raise ScraeError(f"{path}: expected finite weights, found NaN or infinity in {bad!r}")
    return weights


def _density_tensors(density: Density) -> dict[str, torch.Tensor]:
    arrays = {"theta": density.theta}
    for i, mixture in enumerate(density.mixtures):
        arrays |= {f"{field}.{i}": getattr(mixture, field) for field in ("weights", "means", "roots")}
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in arrays.items()}


def _read_density(path: Path, model: SCRAE) -> Density:
    n_dimensions, n_mixtures = model.config.n_latent + 1, max(len(model.batch_names), 1)
    try:
        with safe_open(path, framework="np") as file:
            arrays = {name: np.asarray(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118 (not a dict)
        mixtures = []
        for i in range(n_mixtures):
            weights, means, roots = (arrays[f"{field}.{i}"] for field in ("weights", "means", "roots"))
            n, d = len(weights), n_dimensions
            _require((weights.shape, means.shape, roots.shape) == ((n,), (n, d), (n, d, d)), "shapes")
            _require(
                bool((weights >= 0).all()) and abs(float(weights.sum()) - 1) < 1e-6, "weights that sum to 1"
            )
            mixtures.append(Mixture(weights=weights, means=means, roots=roots))
        theta = arrays["theta"]
        _require(theta.shape == (len(model.genes),) and bool((theta > 0).all()), "positive dispersions")
        _require(
            all(a.dtype == np.float64 and np.isfinite(a).all() for a in arrays.values()), "finite float64"
        )
    except (SafetensorError, OSError, ValueError, LookupError, TypeError) as error:
        reason = " ".join(str(error).split())[:150]
        raise ScraeError(
            f"{path}: expected the density of this model, found a damaged or foreign file ({reason}); delete it to "
            "load the model without it"
        ) from error
    return Density(mixtures=tuple(mixtures), theta=theta)


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(f"expected {what}")
