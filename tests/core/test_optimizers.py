"""Optimizers without torch's compiler."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import optim

from scrae.core import optimizers as ours


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_steps_are_those_of_torch(name: str) -> None:
    start, options = (
        torch.linspace(-1, 1, 12).reshape(3, 4),
        {"lr": 0.1, "betas": (0.5, 0.9), "weight_decay": 0.3},
    )
    values = []
    for kind in (getattr(ours, name), getattr(optim, name)):
        weight = torch.nn.Parameter(start.clone())
        optimizer, called = kind([weight], **options), []
        optimizer.register_step_pre_hook(lambda *_, called=called: called.append(1))
        for step in range(4):
            weight.grad = (step + 1) * weight.detach().sin()
            optimizer.step()
        assert len(called) == 4
        again = torch.nn.Parameter(weight.detach().clone())
        resumed = kind([again], **options)
        resumed.load_state_dict(optimizer.state_dict())
        again.grad = torch.ones(3, 4)
        resumed.step()
        values.append((weight.detach(), again.detach()))
    (one, one_resumed), (other, other_resumed) = values
    assert torch.equal(one, other)
    assert torch.equal(one_resumed, other_resumed)
    assert not torch.equal(one, start)


def test_training_does_not_load_the_compiler() -> None:
    words = """
import sys, numpy as np, scrae
data = scrae.CountData(np.random.default_rng(0).poisson(2.0, (40, 12)))
scrae.fit(scrae.SCRAE.for_data(data, scrae.ModelConfig()), data, scrae.TrainConfig(max_epochs=1))
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", words], check=False).returncode == 0
