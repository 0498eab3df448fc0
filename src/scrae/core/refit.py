"""Refit of the decoder after a training with neighbor targets."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from ..config import TrainConfig
from .data import CountData
from .model import SCRAE
from .optimizers import Adam
from .step import descend, rate_factor

__all__ = ["refit_decoder"]

_STEPS = 200


def refit_decoder(model: SCRAE, data: CountData, rows: Tensor, config: TrainConfig, *, seed: int) -> None:
    """Train the decoder on the cells' own counts, with the codes of all their counts, in place.

    Neighbor targets make the codes better, but their decoder describes the neighborhood of a cell. Denoised and
    simulated counts and the likelihood are those of cells. The encoder does not change. If a weight becomes
    non-finite, the decoder stays as it was.

    Parameters
    ----------
    model : SCRAE
        After training; its mode is evaluation afterwards.
    data : CountData
        The training cells.
    rows : Tensor
        The cells to train on, int64.
    config : TrainConfig
        Batch size and learning rate, which decays to a hundredth.
    seed : int
        Seed of the minibatches.
    """
    model.eval()
    before = {name: value.clone() for name, value in model.decoder.state_dict().items()}
    optimizer = Adam(model.decoder.parameters(), fused=True)
    generator = Generator().manual_seed(seed)
    for step in range(_STEPS):
        drawn = rows[torch.randint(len(rows), (config.batch_size,), generator=generator)]
        cells = data.minibatch(drawn.to(data.device))
        optimizer.param_groups[0]["lr"] = config.learning_rate * rate_factor(step + 1, _STEPS, "cosine")
        descend(optimizer, model.autoencoder_losses(cells).reconstruction.mean())
    if not all(bool(value.isfinite().all()) for value in model.decoder.state_dict().values()):
        model.decoder.load_state_dict(before)
