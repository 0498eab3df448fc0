"""Forward passes of the four networks in NumPy, from the weights by name (paper, section 3.2)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import nn

Weights = dict[str, np.ndarray]


class Decoded(NamedTuple):
    """Shares [cells, genes], zero-inflation logits [cells, genes] or None, inverse dispersion [genes]."""

    share: np.ndarray
    logits: np.ndarray | None
    theta: np.ndarray


def weights_of(module: nn.Module) -> Weights:
    """All parameters and buffers as float64 arrays."""
    return {name: value.detach().double().numpy() for name, value in module.state_dict().items()}


def linear(h: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    return h @ weights[f"{name}.weight"] + weights[f"{name}.bias"]


def mlp(h: np.ndarray, weights: Weights, leak: float) -> np.ndarray:
    """Hidden layers ``body.layers.0``, ``body.layers.1``, ...: linear and leaky ReLU."""
    depth = sum(name.startswith("body.layers.") and name.endswith(".weight") for name in weights)
    for i in range(depth):
        h = linear(h, weights, f"body.layers.{i}")
        h = np.where(h > 0, h, leak * h)
    return h


def encode(x: np.ndarray, weights: Weights, leak: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Code, and mean and log variance of the log library size (through one more ReLU layer)."""
    h = mlp(x, weights, leak)
    library = linear(np.maximum(linear(h, weights, "library_hidden"), 0), weights, "library")
    return linear(h, weights, "code"), library[:, 0], library[:, 1]


def decode(z: np.ndarray, weights: Weights, leak: float) -> Decoded:
    h = mlp(z, weights, leak)
    scores = np.exp(linear(h, weights, "share"))
    logits = linear(h, weights, "zero") if "zero.weight" in weights else None
    return Decoded(scores / scores.sum(axis=1, keepdims=True), logits, np.exp(weights["log_theta"]))


def generate(noise: np.ndarray, weights: Weights, leak: float) -> np.ndarray:
    return linear(mlp(noise, weights, leak), weights, "code")


def criticise(z: np.ndarray, weights: Weights, leak: float) -> np.ndarray:
    return linear(mlp(z, weights, leak), weights, "value")[:, 0]
