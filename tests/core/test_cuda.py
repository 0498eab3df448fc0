"""CUDA graphs without a CUDA device: the recorded work runs as it stands, and shapes are held to be fixed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.inputs import dense_input
from helpers.small_fits import BATCHED, DATA, equal, model_config, train_config
from torch import Generator, Tensor
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode

from scrae.core import fit as training
from scrae.core._cuda import CapturedSteps, DenseMinibatch, dense_minibatch
from scrae.core.checkpoint import TrainingState
from scrae.core.data import CountData
from scrae.core.fit import FitResult, fit
from scrae.core.model import SCRAE
from scrae.core.step import StepLosses, training_step
from scrae.errors import ScraeWarning

Record = Callable[[Callable[[], Tensor], Generator], Callable[[], Tensor]]


def width(data: CountData) -> int:
    return int(data.indptr.diff().max())


def as_it_stands(body: Callable[[], Tensor], _: Generator) -> Callable[[], Tensor]:
    """A recording that is none; its result lies in one place, as a graph's."""
    losses = torch.empty(6)
    return lambda: losses.copy_(body())


def fitted(
    monkeypatch: pytest.MonkeyPatch,
    data: CountData = DATA,
    record: Record | None = as_it_stands,
    **changes: object,
) -> tuple[SCRAE, FitResult]:
    """Train as on a CUDA device; ``record`` None = step by step."""

    class Captured(CapturedSteps):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, record=record)
            if record is None:
                self.rows = self.rows[:0]  # no minibatch is of this size

    start = training._Training.__init__

    def on_device(run: training._Training, *args: object) -> None:
        start(run, *args)
        run.step = Captured(run.state, run.data, run.config)

    monkeypatch.setattr(training._Training, "__init__", on_device)
    model = SCRAE.for_data(data, model_config())
    return model, fit(model, data, train_config(**changes))


@pytest.mark.parametrize("prior_update", ["joint", "separate"])
@pytest.mark.parametrize("data", [DATA, BATCHED], ids=["one batch", "three batches"])
def test_a_training_by_recorded_steps_is_that_step_by_step(
    monkeypatch: pytest.MonkeyPatch, data: CountData, prior_update: str
):
    changes = {"prior_update": prior_update, "max_epochs": 4, "thinning": True}
    with monkeypatch.context() as patch:
        recorded, result = fitted(patch, data, **changes)
    with monkeypatch.context() as patch:
        plain, expected = fitted(patch, data, None, **changes)
    assert equal(recorded.state_dict(), plain.state_dict())
    for name, column in expected.history.items():
        np.testing.assert_array_equal(result.history[name], column)


def test_it_is_the_training_of_the_cpu_but_for_rounding(monkeypatch: pytest.MonkeyPatch):
    model = SCRAE.for_data(DATA, model_config())
    expected = fit(model, DATA, train_config())
    found, result = fitted(monkeypatch)
    for name, column in expected.history.items():
        np.testing.assert_allclose(result.history[name], column, rtol=2e-4, atol=2e-5)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], value, rtol=1e-2, atol=2e-4)


def test_the_schedule_reaches_the_recorded_steps(monkeypatch: pytest.MonkeyPatch):
    seen: list[float] = []
    inner = CapturedSteps.__call__

    def spy(steps: CapturedSteps, rows: Tensor, targets: Tensor | None, *, update_prior: bool) -> StepLosses:
        seen.append(float(steps.state.optimizers.autoencoder.param_groups[0]["lr"]))
        return inner(steps, rows, targets, update_prior=update_prior)

    monkeypatch.setattr(CapturedSteps, "__call__", spy)
    _, result = fitted(monkeypatch, schedule="cosine")
    per_epoch = len(seen) // 3
    np.testing.assert_allclose(seen[::per_epoch], result.history["learning_rate"], rtol=1e-6)
    assert len(set(seen)) == 3


def test_warm_up_leaves_no_trace_and_each_kind_is_recorded_once(monkeypatch: pytest.MonkeyPatch):
    recorded = []

    def counting(body: Callable[[], Tensor], noise: Generator) -> Callable[[], Tensor]:
        state = steps[0].state
        recorded.append(
            (
                noise is state.noise,
                equal(state.model.state_dict(), weights),
                moments(state),
                noise.get_state(),
            )
        )
        return as_it_stands(body, noise)

    def moments(state: TrainingState) -> float:
        values = state.optimizers.autoencoder.state.values()
        return sum(float(v.abs().sum()) for one in values for v in one.values())

    config = train_config()
    model = SCRAE.for_data(DATA, model_config())
    state = TrainingState(model, config, 0)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    noise = state.noise.get_state()
    steps = [CapturedSteps(state, DATA, config, record=counting)]
    steps[0](torch.arange(16), None, update_prior=False)
    assert recorded[0][:3] == (True, True, 0.0)
    assert torch.equal(recorded[0][3], noise)
    steps[0](torch.arange(16), None, update_prior=False)
    steps[0](torch.arange(7), None, update_prior=False)  # of another size
    assert len(recorded) == 1
    steps[0](torch.arange(16), None, update_prior=True)
    assert len(recorded) == 2
    assert not recorded[1][1]


def test_losses_of_a_step_stay_when_the_next_is_taken():
    model = SCRAE.for_data(DATA, model_config())
    state = TrainingState(model, train_config(), 0)
    steps = CapturedSteps(state, DATA, train_config(), record=as_it_stands)
    first = steps(torch.arange(16), None, update_prior=False)
    kept = float(first.reconstruction)
    second = steps(torch.arange(16, 32), None, update_prior=False)
    assert float(first.reconstruction) == kept != float(second.reconstruction)


def test_a_recording_that_fails_is_said_and_training_goes_on(monkeypatch: pytest.MonkeyPatch):
    def failing(*_: object) -> Callable[[], Tensor]:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore lines")

    with (
        monkeypatch.context() as patch,
        pytest.warns(
            ScraeWarning, match=r"not be captured \(CUDA error: .* capturing\); training continues eagerly"
        ) as said,
    ):
        model, _ = fitted(patch, record=failing)
    assert len(said) == 2  # of each kind
    with monkeypatch.context() as patch:
        plain, _ = fitted(patch, record=None)
    assert equal(model.state_dict(), plain.state_dict())


@pytest.mark.parametrize("prior_update", ["joint", "separate"])
@pytest.mark.parametrize("update_prior", [True, False])
def test_no_operation_of_a_recorded_step_asks_the_data_for_a_shape_or_a_value(
    prior_update: str, update_prior: bool
):
    """A graph cannot hold such operations; fake tensors have no values to ask for."""
    config = train_config(prior_update=prior_update, thinning=True)
    model_settings = replace(model_config(), dropout=0.1)
    columns = width(BATCHED)
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:
        model = SCRAE(BATCHED.genes, model_settings, batch_names=BATCHED.batch_names)
        state = TrainingState(model, config, 0)
        rows = fake.from_tensor(torch.arange(16))
        batch = dense_minibatch(BATCHED, rows, columns)
        losses = training_step(model, batch, state.optimizers, config, state.noise, update_prior=update_prior)
        assert [tuple(value.shape) for value in losses] == [()] * 6
        with pytest.raises(DynamicOutputShapeException):  # so the mode does notice
            BATCHED.minibatch(rows)


def test_a_dense_batch_holds_the_same_counts():
    rows = torch.tensor([5, 5, 0, 59, 17])
    for data in (DATA, BATCHED):
        sparse, dense = data.minibatch(rows), dense_minibatch(data, rows, width(data))
        assert isinstance(dense, DenseMinibatch)
        torch.testing.assert_close(dense.counts, sparse.dense(sparse.nonzeros.value), rtol=0, atol=0)
        torch.testing.assert_close(dense.log_library, sparse.log_library, rtol=0, atol=0)
        assert (dense.batch_code is None) == (sparse.batch_code is None)
        if dense.batch_code is not None:
            assert torch.equal(dense.batch_code, sparse.batch_code)
        model = SCRAE.for_data(data, model_config())
        torch.testing.assert_close(model.encoder_input(dense), dense_input(model, sparse))


def test_dense_counts_are_thinned_by_half():
    data = CountData(np.full((400, 3), [0, 1, 1000]))
    thinned = dense_minibatch(data, torch.arange(400), width(data)).thinned(Generator().manual_seed(0))
    assert thinned.counts[:, 0].eq(0).all()
    assert abs(thinned.counts[:, 1].mean() - 0.5) < 0.1
    assert abs(thinned.counts[:, 2].mean() - 500) < 4
    assert 13 < thinned.counts[:, 2].std() < 19  # sqrt(1000 / 4) = 15.8
    torch.testing.assert_close(thinned.total, thinned.counts.sum(dim=1))


def test_cells_without_any_count_have_a_dense_batch():
    data = CountData(np.array([[0, 2], [0, 0], [0, 0]]))
    assert dense_minibatch(data, torch.arange(3), width(data)).counts.tolist() == [[0, 2], [0, 0], [0, 0]]
    empty = CountData(np.zeros((2, 2), dtype=int))
    assert dense_minibatch(empty, torch.arange(2), width(empty)).counts.tolist() == [[0, 0], [0, 0]]
