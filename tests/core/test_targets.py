from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers.small_fits import DATA, model_config, train_config
from sklearn.neighbors import NearestNeighbors
from torch import Generator, Tensor

from scrae.core import fit as training
from scrae.core import targets
from scrae.core.alignment import align_batches
from scrae.core.checkpoint import Checkpoint
from scrae.core.data import CountData
from scrae.core.fit import fit
from scrae.core.input_pca import input_components, log_components
from scrae.core.model import SCRAE
from scrae.core.step import training_step
from scrae.core.targets import NeighborTargets

NEIGHBORS = train_config(neighbor_targets=True)


def targets_of(data: CountData) -> NeighborTargets:
    return NeighborTargets(SCRAE.for_data(data, model_config()), data, torch.arange(len(data)), seed=0)


def test_candidates_are_the_nearest_cells_of_two_representations():
    model = SCRAE.for_data(DATA, model_config())
    found = NeighborTargets(model, DATA, torch.arange(len(DATA)), seed=3).neighbors.numpy()
    expected = [
        NearestNeighbors(n_neighbors=15).fit(points).kneighbors(return_distance=False)
        for points in (input_components(model, DATA, seed=3), log_components(model, DATA, seed=3))
    ]
    np.testing.assert_array_equal(found, np.hstack(expected))


def test_a_sixth_of_the_targets_are_the_cells_themselves():
    made, cells = targets_of(DATA), torch.full((36_000,), 7)
    drawn = made.draw(cells, Generator().manual_seed(0))
    found = np.bincount(drawn.numpy(), minlength=len(DATA))
    expected = 1000.0 * np.bincount(made.neighbors[7].numpy(), minlength=len(DATA))
    expected[7] += 6000
    assert set(np.flatnonzero(found)) == set(np.flatnonzero(expected))
    chi_squared = ((found - expected) ** 2 / np.maximum(expected, 1)).sum()
    assert chi_squared < 75  # at most 30 degrees of freedom: p < 1e-5


def test_the_generator_decides():
    made, cells = targets_of(DATA), torch.arange(len(DATA))
    first, again, other = (made.draw(cells, Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_with_batches_the_candidates_are_nearest_in_the_aligned_components():
    counts = np.random.default_rng(0).poisson(2.0, size=(60, 9))
    codes = np.repeat([0, 1, 2], [40, 18, 2])
    counts[codes == 1, :4] += 9
    data = CountData(counts, batch_names=("a", "b", "c"), batch_codes=codes)
    model = SCRAE.for_data(data, model_config())
    found = NeighborTargets(model, data, torch.arange(60), seed=3).neighbors.numpy()
    expected, separate = [], []
    for points in (input_components(model, data, seed=3), log_components(model, data, seed=3)):
        for result, known in ((expected, align_batches(points, codes, seed=3)), (separate, points)):
            result.append(NearestNeighbors(n_neighbors=15).fit(known).kneighbors(return_distance=False))
    np.testing.assert_array_equal(found, np.hstack(expected))
    other = [(codes[index] != codes[:, None])[codes == 1].mean() for index in (found, np.hstack(separate))]
    assert other[1] < 0.1 < other[0]


def test_of_many_cells_a_sample_has_neighbors(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(targets, "_SEARCHED", 20)
    neighbors = targets_of(DATA).neighbors.numpy()
    own = (neighbors == np.arange(len(DATA))[:, None]).all(axis=1)
    assert (~own).sum() == 20
    assert set(np.unique(neighbors[~own])) <= set(np.flatnonzero(~own))


@pytest.mark.parametrize("n_cells", [2, 3, 10])
def test_few_cells(n_cells: int):
    data = CountData(np.random.default_rng(0).poisson(3.0, size=(n_cells, 5)))
    made = targets_of(data)
    assert made.neighbors.shape == (n_cells, 2 * (n_cells - 1))
    assert set(made.draw(torch.arange(n_cells), Generator().manual_seed(0)).tolist()) <= set(range(n_cells))


def test_the_encoder_reads_the_cells_and_the_decoder_explains_the_targets():
    model = SCRAE.for_data(DATA, model_config(library="observed")).eval()
    own, other = DATA.minibatch(torch.arange(8)), DATA.minibatch(torch.arange(8, 16))
    losses = model.autoencoder_losses(other, seen=own)
    assert torch.equal(losses.z, model.autoencoder_losses(own).z)
    encoded = model.encoder(model.encoder_input(own))
    share_logits, zi_logits = model.decoder(encoded.z)
    expected = other.nll(share_logits, other.log_library, model.decoder.log_theta, zi_logits)
    torch.testing.assert_close(losses.reconstruction, expected)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor]]:
    """The totals of the encoded cells and of their targets, in each step."""
    seen: list[tuple[Tensor, Tensor]] = []

    def spy(model: SCRAE, cells: Any, *args: Any, targets: Any, **settings: Any) -> Any:
        seen.append((cells.total, targets.total))
        return training_step(model, cells, *args, targets=targets, **settings)

    monkeypatch.setattr(training, "training_step", spy)
    return seen


def test_training_draws_new_targets_in_every_step(steps: list[tuple[Tensor, Tensor]]):
    fit(SCRAE.for_data(DATA, model_config()), DATA, NEIGHBORS)
    assert len(steps) == 3 * 4
    assert not any(torch.equal(own, target) for own, target in steps)


def test_held_out_cells_are_no_targets():
    rows = torch.randperm(len(DATA), generator=Generator().manual_seed(4))[:40]
    made = NeighborTargets(SCRAE.for_data(DATA, model_config()), DATA, rows, seed=0)
    drawn = {int(cell) for seed in range(50) for cell in made.draw(rows, Generator().manual_seed(seed))}
    assert drawn == set(rows.tolist())
    rest = torch.tensor(sorted(set(range(len(DATA))) - set(rows.tolist())))
    assert torch.equal(made.draw(rest, Generator().manual_seed(0)), rest)


def test_training_explains_no_counts_of_held_out_cells(steps: list[tuple[Tensor, Tensor]]):
    config = train_config(neighbor_targets=True, validation_fraction=0.25)
    model = SCRAE.for_data(DATA, model_config())
    expected = set()
    original = SCRAE.held_out_loss

    def spy(self: SCRAE, data: CountData, rows: Tensor) -> float:
        expected.update(data.minibatch(rows).total.tolist())
        return original(self, data, rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SCRAE, "held_out_loss", spy)
        fit(model, DATA, config)
    trained = {float(total) for _, target in steps for total in target}
    assert expected
    only_held_out = expected - {float(total) for own, _ in steps for total in own}
    assert only_held_out
    assert not only_held_out & trained


def test_an_interrupted_training_ends_with_the_same_bits(tmp_path):
    config = train_config(neighbor_targets=True, max_epochs=4, thinning=True, validation_fraction=0.2)
    whole, parts = (SCRAE.for_data(DATA, model_config()) for _ in range(2))
    fit(whole, DATA, config, seed=5)

    def stop(row: Any, _: int) -> None:
        if row.epoch == 2:
            raise KeyboardInterrupt

    path = tmp_path / "training.safetensors"
    with pytest.raises(KeyboardInterrupt):
        fit(parts, DATA, config, seed=5, checkpoint=Checkpoint(path=path), on_epoch=stop)
    again = SCRAE.for_data(DATA, model_config())
    fit(again, DATA, config, seed=5, checkpoint=Checkpoint(path=path, resume=True))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
