from __future__ import annotations

import pytest
import torch
from helpers.small_fits import DATA, model_config, train_config
from torch import Tensor

from scrae.core.data import CountData
from scrae.core.fit import fit
from scrae.core.model import SCRAE
from scrae.core.refit import refit_decoder

TRAIN, HELD_OUT = torch.arange(40), torch.arange(40, 60)
CONFIG = train_config()


def trained() -> SCRAE:
    model = SCRAE.for_data(DATA, model_config(library="observed"))
    fit(model, DATA, train_config(max_epochs=2))
    return model


def weights(model: SCRAE, network: str) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in getattr(model, network).state_dict().items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_only_the_decoder_changes_and_the_likelihood_of_held_out_cells_improves():
    model = trained()
    codes, encoder, decoder = model.encode(DATA), weights(model, "encoder"), weights(model, "decoder")
    before = model.held_out_loss(DATA, HELD_OUT)
    refit_decoder(model, DATA, TRAIN, CONFIG, seed=0)
    assert model.held_out_loss(DATA, HELD_OUT) < before
    assert equal(encoder, weights(model, "encoder"))
    assert (codes == model.encode(DATA)).all()
    assert not equal(decoder, weights(model, "decoder"))
    assert not model.training


def test_a_refit_that_diverges_is_undone(monkeypatch: pytest.MonkeyPatch):
    model = trained()
    decoder = weights(model, "decoder")
    monkeypatch.setattr("scrae.core.refit.rate_factor", lambda *_: float("inf"))
    refit_decoder(model, DATA, TRAIN, CONFIG, seed=0)
    assert equal(decoder, weights(model, "decoder"))


def test_the_seed_decides():
    decoders = []
    for seed in (1, 1, 2):
        model = trained()
        refit_decoder(model, DATA, TRAIN, CONFIG, seed=seed)
        decoders.append(weights(model, "decoder"))
    assert equal(decoders[0], decoders[1])
    assert not equal(decoders[0], decoders[2])


@pytest.mark.parametrize("neighbor_targets", [True, False])
def test_training_with_neighbor_targets_ends_with_a_refit(
    neighbor_targets: bool, monkeypatch: pytest.MonkeyPatch
):
    seen: list[int] = []

    def spy(model: SCRAE, data: CountData, rows: Tensor, *_: object, seed: int) -> None:
        assert data is DATA
        seen.append(len(rows))

    monkeypatch.setattr("scrae.core.fit.refit_decoder", spy)
    config = train_config(neighbor_targets=neighbor_targets, validation_fraction=0.2)
    fit(SCRAE.for_data(DATA, model_config()), DATA, config)
    assert seen == ([48] if neighbor_targets else [])
