"""Small data and settings for tests of the training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from reference.cells import cells
from torch import Tensor

from scrae.config import ModelConfig, TrainConfig
from scrae.core.data import CountData
from scrae.core.fit import FitResult, fit
from scrae.core.model import SCRAE

DATA = CountData(cells(60, 15, seed=4))
BATCHED = CountData(
    cells(60, 15, seed=4), batch_names=("a", "b", "c"), batch_codes=np.arange(60) ** 2 % 11 % 3
)


def model_config(**changes: Any) -> ModelConfig:
    settings: dict[str, Any] = {
        "n_latent": 2,
        "encoder_layers": (12,),
        "decoder_layers": (12,),
        "generator_layers": (8,),
        "critic_layers": (8, 8),
        "n_noise": None,
        "leak": 0.2,
        "dropout": 0.0,
        "likelihood": "zinb",
        "library": "inferred",
        "prior": "learned",
        "divergence": "wasserstein",
    }
    return ModelConfig(**settings | changes)


def train_config(**changes: Any) -> TrainConfig:
    settings: dict[str, Any] = {
        "batch_size": 16,
        "max_epochs": 3,
        "learning_rate": 2e-3,
        "adversarial_learning_rate": 1e-3,
        "schedule": "constant",
        "weight_decay": 0.0,
        "prior_weight": 1.0,
        "prior_weight_batched": 2.5,
        "prior_update": "joint",
        "n_critic": 2,
        "gradient_penalty_weight": 10.0,
        "library_kl_weight": 0.1,
        "thinning": False,
        "neighbor_targets": False,
        "validation_fraction": 0.0,
        "patience": None,
    }
    return TrainConfig(**settings | changes)


def fitted(
    model: ModelConfig, config: TrainConfig, data: CountData = DATA, *, seed: int = 0
) -> tuple[SCRAE, FitResult]:
    made = SCRAE.for_data(data, model, seed=seed)
    return made, fit(made, data, config, seed=seed)


def weights(model: SCRAE, *parts: str) -> dict[str, Tensor]:
    return {
        name: v.clone() for name, v in model.state_dict().items() if not parts or name.split(".")[0] in parts
    }


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)
