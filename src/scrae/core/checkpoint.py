"""The file from which a stopped training goes on: one safetensors file whose header holds the facts as JSON."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ..config import TrainConfig, to_dict
from ..errors import ScraeError, show
from ..files import atomic_path
from .data import CountData
from .state import Epoch, Snapshot, TrainingState

__all__ = ["TRAINING_FILE", "Checkpoint", "Keeper", "fingerprint"]

TRAINING_FILE = "training.safetensors"
"""Its usual name, in the model folder; the finished model replaces the folder, and so removes it."""

_FORMAT = 2  # format 1 had the weights of linear layers the other way round
_NAME = "training"  # of the JSON in the header


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Where training is kept while it runs, so that it can go on after a stop.

    Attributes
    ----------
    path : the file; it is written whole or not at all, and not removed at the end.
    resume : go on from the file, if it is there. Otherwise a file that is there is refused, not overwritten.
    seconds : the least time between two writes; what is done after the last one is lost with a killed process.
        On an interrupt (``KeyboardInterrupt``, ``SystemExit``) the last whole epoch is always written.
    """

    path: Path
    resume: bool = False
    seconds: float = 5.0

    def refuse_unfinished(self) -> None:
        """Raise ScraeError where the file is there and is not to go on from."""
        if not self.resume and self.path.exists():
            raise ScraeError(
                f"{self.path}: found a training that was not finished; go on with it (--resume), or delete this "
                "file to begin anew"
            )


class Keeper:
    """Writes the snapshots of one training to its :class:`Checkpoint`, now and then, and reads them back."""

    def __init__(
        self, checkpoint: Checkpoint, state: TrainingState, data: CountData, config: TrainConfig
    ) -> None:
        self.path, self._seconds = checkpoint.path, checkpoint.seconds
        self._about = {
            "format": _FORMAT,
            "model": to_dict(state.model.config),
            "train": to_dict(config) | {"seed": state.seed},
            "device": data.device.type,
            "data": fingerprint(data),
        }
        self.last_written, self._at = 0, time.monotonic()
        checkpoint.refuse_unfinished()
        if not checkpoint.path.exists():
            return
        snapshot = _read(self.path, self._about, state)
        try:
            state.restore(snapshot)
        except RuntimeError as error:  # a generator's state that is none
            raise ScraeError(_damaged(self.path, error)) from error
        self.last_written = state.epoch

    def due(self) -> bool:
        """Whether the time between two writes is over."""
        return time.monotonic() - self._at >= self._seconds

    def write(self, snapshot: Snapshot) -> None:
        """Write a snapshot, unless this one is in the file already.

        Raises
        ------
        ScraeError : the file cannot be written; the earlier one is still there.
        """
        self._at = time.monotonic()
        if snapshot.facts["epoch"] == self.last_written:
            return
        header = {_NAME: json.dumps(self._about | snapshot.facts)}
        content = save({name: value.cpu() for name, value in snapshot.tensors.items()}, header)
        with atomic_path(self.path) as draft:
            draft.write_bytes(content)
        self.last_written, self._at = snapshot.facts["epoch"], time.monotonic()


def fingerprint(data: CountData) -> str:
    """Return the SHA-256 of the genes and counts, and of the batches where there are some."""
    digest = hashlib.sha256(json.dumps([len(data), *data.genes]).encode())
    parts = [data.indptr, data.indices, data.values]
    if data.batch_codes is not None:
        digest.update(json.dumps(data.batch_names).encode())
        parts.append(data.batch_codes)
    for part in parts:
        digest.update(str(part.dtype).encode())
        digest.update(part.cpu().numpy().tobytes())
    return digest.hexdigest()


def _read(path: Path, about: dict[str, Any], state: TrainingState) -> Snapshot:
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})[_NAME])
            _check_same(path, facts, about)
            known, names = state.shapes(), set(file.keys())
            if odd := sorted(names - known.keys()):
                raise ValueError(f"unknown tensor {show(odd[0])}")
            for name in names:
                part, (dtype, shape) = file.get_slice(name), known[name]
                if part.get_dtype() != dtype or shape not in (None, tuple(part.get_shape())):
                    raise ValueError(f"{name} is {part.get_dtype()} {part.get_shape()}")
            tensors = {name: file.get_tensor(name).clone() for name in names}  # else a view of the file
        _check_whole(tensors, facts, state)
    except ScraeError:
        raise
    except (
        SafetensorError,
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        raise ScraeError(_damaged(path, error)) from error
    return Snapshot(tensors, facts)


def _damaged(path: Path, error: Exception) -> str:
    reason = " ".join(str(error).split())[:150]
    return (
        f"{path}: expected the state of a training, found a damaged or foreign file "
        f"({type(error).__name__}: {reason}); delete it to begin anew"
    )


def _check_same(path: Path, facts: dict[str, Any], about: dict[str, Any]) -> None:
    """Refuse to go on with other data or settings: the result would be that of neither."""
    advice = f"give what it began with, or delete {path} to begin anew"
    if facts["format"] != about["format"]:
        raise ScraeError(f"{path}: expected the state of a training by this version of scrae; {advice}")
    for part, kind in (("model", "ModelConfig"), ("train", "TrainConfig")):
        for name in sorted(facts[part].keys() | about[part].keys()):
            before, now = facts[part].get(name), about[part].get(name)
            if before != now:
                raise ScraeError(
                    f"resume: the training began with {kind}.{name}={show(before)}, found {show(now)}; {advice}"
                )
    if facts["device"] != about["device"]:
        raise ScraeError(
            f"resume: the training began on {show(facts['device'])}, found {about['device']!r}; {advice}"
        )
    if facts["data"] != about["data"]:
        raise ScraeError(f"resume: the training began with other counts, genes or batches; {advice}")


def _check_whole(tensors: dict[str, torch.Tensor], facts: dict[str, Any], state: TrainingState) -> None:
    """Raise ValueError where a snapshot lacks something or states what cannot be."""
    names = {name for name in state.shapes() if name.startswith(("model.", "random."))}
    if facts["best_epoch"]:
        names |= {name for name in state.shapes() if name.startswith("best.")}
    if lacking := sorted(names - tensors.keys()):
        raise ValueError(f"no {lacking[0]}")
    if bad := [n for n, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()]:
        raise ValueError(f"NaN or infinity in {bad[0]}")
    checks: dict[str, Callable[[Any], bool]] = {
        "epoch": lambda v: type(v) is int and v >= 1,
        "iteration": lambda v: type(v) is int and v >= facts["epoch"],
        "rate": lambda v: type(v) is float and 0 < v <= 1,
        "best": lambda v: type(v) is float and not math.isnan(v),
        "best_epoch": lambda v: type(v) is int and 0 <= v <= facts["epoch"],
        "faults": lambda v: isinstance(v, list) and all(type(line) is str for line in v),
        "rows": lambda v: len(v) == facts["epoch"] and all(_is_row(row) for row in v),
    }
    for name, right in checks.items():
        if not right(facts[name]):
            raise ValueError(f"{name}={show(facts[name])}")


def _is_row(row: Any) -> bool:
    return len(row) == len(Epoch._fields) and type(row[0]) is int and all(type(v) is float for v in row[1:])
