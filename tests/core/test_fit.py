from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.inputs import dense_input
from helpers.small_fits import BATCHED, DATA, equal, fitted, model_config, train_config, weights
from reference import training as slow
from reference.cells import cells
from torch import Generator, Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from scrae.cluster.metrics import score
from scrae.cluster.partition import kmeans
from scrae.config import ModelConfig, TrainConfig
from scrae.core import fit as training
from scrae.core.checkpoint import Epoch
from scrae.core.data import CountData
from scrae.core.fit import FitResult, fit
from scrae.core.model import SCRAE
from scrae.core.step import Optimizers, training_step
from scrae.errors import ScraeError, ScraeWarning


@contextmanager
def double_precision() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("prior_update", "thinning"), [("joint", False), ("separate", False), ("joint", True), ("separate", True)]
)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"divergence": "jensen-shannon", "library": "observed"},
        {"divergence": "kullback-leibler", "likelihood": "nb", "n_noise": 3},
        {"prior": "normal"},
        {"prior": "none"},
    ],
    ids=str,
)
@pytest.mark.parametrize("data", [DATA, BATCHED], ids=["one batch", "three batches"])
def test_steps_follow_the_slow_twin(
    data: CountData, prior_update: str, thinning: bool, changes: dict[str, Any]
):
    config = train_config(
        prior_update=prior_update,
        prior_weight=0.7,
        n_critic=2,
        weight_decay=0.02,
        library_kl_weight=0.3,
        thinning=thinning,
    )
    model = SCRAE.for_data(data, model_config(**changes), seed=1).double()
    before, optimizers, batches = weights(model), Optimizers.of(model, config), list(data.minibatches(13))
    with double_precision():
        expected = slow.train(model, batches, config, Generator().manual_seed(8))
        rng = Generator().manual_seed(8)
        model.train()
        for i, batch in enumerate(batches, start=1):
            training_step(model, batch, optimizers, config, rng, update_prior=i % 2 == 0)
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(
            model.state_dict()[name], value, rtol=1e-7, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}"
        )
    moved = [name for name, value in weights(model).items() if not torch.equal(value, before[name])]
    assert {name.split(".")[0] for name in moved} == {
        "encoder",
        "decoder",
        *({"critic"} if model.critic else ()),
        *({"latent_generator"} if model.latent_generator else ()),
    }


def updates(model: ModelConfig, config: TrainConfig, n_cells: int) -> list[str]:
    """The networks in the order in which an optimiser moved them."""
    data = CountData(cells(n_cells, 15, seed=4))
    made = SCRAE.for_data(data, model, seed=0)
    networks = {name: set(map(id, network.parameters())) for name, network in made.named_children()}
    seen = []

    def note(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        own = {id(p) for group in optimizer.param_groups for p in group["params"]}
        seen.append("+".join(name for name, ids in networks.items() if own & ids))

    handle = register_optimizer_step_post_hook(note)
    try:
        fit(made, data, config)
    finally:
        handle.remove()
    return seen


def test_updates_of_each_network_are_counted_in_the_paper_s_order():
    # Two epochs of five batches; the count goes on over the epochs, so generator and encoder learn at 3, 6, 9.
    often, rare = ["encoder+decoder", "critic"], ["encoder+decoder", "latent_generator", "critic"]
    joint = updates(model_config(), train_config(batch_size=4, max_epochs=2, n_critic=3), 20)
    assert joint == (2 * often + rare) * 3 + often
    rare = ["encoder+decoder", "latent_generator", "encoder", "critic"]
    separate = updates(
        model_config(), train_config(batch_size=4, max_epochs=2, n_critic=3, prior_update="separate"), 20
    )
    assert separate == (2 * often + rare) * 3 + often
    rare = ["encoder+decoder", "encoder", "critic"]
    normal = updates(
        model_config(prior="normal"),
        train_config(batch_size=4, max_epochs=2, n_critic=3, prior_update="separate"),
        20,
    )
    assert normal == (2 * often + rare) * 3 + often
    none = updates(model_config(prior="none"), train_config(batch_size=4, max_epochs=2, n_critic=3), 20)
    assert none == ["encoder+decoder"] * 10


@pytest.mark.parametrize("prior_update", ["joint", "separate"])
def test_ten_times_the_prior_weight_changes_the_update(prior_update: str):
    def after(weight: float) -> dict[str, Tensor]:
        config = train_config(prior_update=prior_update, prior_weight=weight, n_critic=1, max_epochs=1)
        return weights(fitted(model_config(), config)[0], "encoder")

    one, again, ten, hundred = (after(weight) for weight in (0.3, 0.3, 3.0, 30.0))
    assert equal(one, again)

    def distance(other: dict[str, Tensor]) -> float:
        return max(float((other[name] - one[name]).abs().max()) for name in one)

    # Not rounding: a step of Adam is about the learning rate, 2e-3.
    assert distance(ten) > 5e-4
    assert distance(hundred) > 5e-4
    assert not equal(ten, hundred)


@pytest.mark.parametrize("prior_update", ["joint", "separate"])
def test_weight_zero_is_a_plain_autoencoder_bit_for_bit(prior_update: str):
    # With the observed library the autoencoder draws nothing, so the critic's draws cannot shift its stream.
    config = train_config(prior_update=prior_update, prior_weight=0.0, max_epochs=2)
    with_prior, _ = fitted(model_config(library="observed", prior="learned"), config)
    without, _ = fitted(model_config(library="observed", prior="none"), config)
    assert equal(weights(with_prior, "encoder", "decoder"), weights(without, "encoder", "decoder"))
    weighted, _ = fitted(model_config(library="observed", prior="learned"), replace(config, prior_weight=1.0))
    assert not equal(weights(weighted, "encoder"), weights(without, "encoder"))


def test_the_normal_prior_at_weight_30_makes_codes_standard_normal_and_none_does_not():
    data = CountData(cells(400, 40, seed=0))
    networks = {"encoder_layers": (32,), "decoder_layers": (32,), "critic_layers": (32, 32)}
    networks |= {"library": "observed", "divergence": "wasserstein"}
    # A slow critic is outrun, and one held to slope 1 by a large penalty never lets go: the codes would circle.
    config = train_config(
        batch_size=200,
        max_epochs=120,
        learning_rate=1e-3,
        adversarial_learning_rate=2e-2,
        schedule="cosine",
        prior_weight=30.0,
        n_critic=1,
        gradient_penalty_weight=0.1,
    )
    codes = fitted(model_config(prior="normal", **networks), config, data)[0].encode(data)
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=0.2)
    np.testing.assert_allclose(codes.std(axis=0), 1, atol=0.2)
    free = fitted(model_config(prior="none", **networks), config, data)[0].encode(data)
    assert np.abs(free.std(axis=0) - 1).max() > 0.5


@pytest.mark.usefixtures("global_randomness_untouched")
@pytest.mark.parametrize("prior_update", ["joint", "separate"])
def test_the_same_seed_gives_the_same_bits_and_another_does_not(prior_update: str):
    def run(seed: int) -> tuple[dict[str, Tensor], np.ndarray, FitResult]:
        config = train_config(prior_update=prior_update, validation_fraction=0.2, patience=2)
        model, result = fitted(model_config(dropout=0.2), config, seed=seed)
        return weights(model), model.encode(DATA), result

    (first, codes, result), (again, same_codes, same_result), (other, other_codes, _) = run(5), run(5), run(6)
    assert equal(first, again)
    np.testing.assert_array_equal(codes, same_codes)
    for name, column in result.history.items():
        np.testing.assert_array_equal(column, same_result.history[name])
    assert not equal(first, other)
    assert not np.array_equal(codes, other_codes)


def test_the_training_seed_alone_matters_too():
    model = SCRAE.for_data(DATA, model_config(), seed=1)
    twin = copy.deepcopy(model)
    fit(model, DATA, train_config(), seed=1)
    fit(twin, DATA, train_config(), seed=2)
    assert not equal(weights(model), weights(twin))


@pytest.fixture
def held_out(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The cells of every look at the held-out likelihood."""
    seen: list[Tensor] = []
    original = SCRAE.held_out_loss

    def spy(model: SCRAE, data: CountData, rows: Tensor, **settings: Any) -> float:
        seen.append(rows)
        return original(model, data, rows, **settings)

    monkeypatch.setattr(SCRAE, "held_out_loss", spy)
    return seen


def test_early_stopping_ends_with_the_best_weights(held_out: list[Tensor]):
    config = train_config(learning_rate=3e-2, max_epochs=80, validation_fraction=0.25, patience=4)
    model, result = fitted(model_config(encoder_layers=(64,), decoder_layers=(64,)), config)
    losses = result.history["validation"]
    assert result.best_epoch == int(np.argmin(losses)) + 1
    assert result.epochs == result.best_epoch + 4 == len(losses) < 80
    assert result.stopped_because == (
        f"held-out likelihood did not improve for 4 epochs; weights of epoch {result.best_epoch} were kept"
    )
    assert all(torch.equal(rows, held_out[0]) for rows in held_out)
    assert len(held_out[0]) == 15
    assert model.held_out_loss(DATA, held_out[0]) == losses.min()
    assert losses[-1] > losses.min()
    assert not model.training


def test_held_out_cells_are_never_trained_on(held_out: list[Tensor], monkeypatch: pytest.MonkeyPatch):
    data = CountData(np.arange(1, 42)[:, None] * [1, 2, 0] + [0, 0, 3])  # totals tell the cells apart
    trained: list[float] = []
    original = training_step

    def spy(model: SCRAE, batch: Any, *args: Any, **settings: Any) -> Any:
        trained.extend(batch.total.tolist())
        return original(model, batch, *args, **settings)

    monkeypatch.setattr(training, "training_step", spy)
    fitted(model_config(), train_config(max_epochs=2, validation_fraction=0.25, patience=5), data)
    kept = set(data.totals[held_out[0]].tolist())
    assert len(kept) == 11  # a quarter of 41, rounded up
    assert set(trained) == set(data.totals.tolist()) - kept
    assert len(trained) == 2 * 30


def test_without_patience_all_epochs_are_run(held_out: list[Tensor]):
    config = train_config(max_epochs=4, validation_fraction=0.25, patience=None)
    model, result = fitted(model_config(), config)
    assert (result.epochs, result.best_epoch) == (4, 4)
    assert result.stopped_because == "all 4 epochs were run"
    assert model.held_out_loss(DATA, held_out[0]) == result.history["validation"][-1]


def test_the_best_weights_come_back_when_the_epochs_end_first(held_out: list[Tensor]):
    config = train_config(learning_rate=3e-2, max_epochs=80, validation_fraction=0.25, patience=4)
    networks = model_config(encoder_layers=(64,), decoder_layers=(64,))
    best = fitted(networks, config)[1].best_epoch
    model, result = fitted(networks, replace(config, max_epochs=best + 2))
    assert (result.epochs, result.best_epoch) == (best + 2, best)
    assert result.stopped_because == f"all {best + 2} epochs were run; weights of epoch {best} were kept"
    assert model.held_out_loss(DATA, held_out[0]) == result.history["validation"].min()


def test_the_history_has_every_term():
    rows: list[Epoch] = []
    model = SCRAE.for_data(DATA, model_config(), seed=0)
    config = train_config(max_epochs=5, schedule="cosine", validation_fraction=0.2)
    planned: list[int] = []

    def heard(epoch: Epoch, epochs: int) -> None:
        rows.append(epoch)
        planned.append(epochs)

    result = fit(model, DATA, config, on_epoch=heard)
    assert planned == [5] * 5
    assert list(result.history) == list(Epoch._fields)
    assert {
        "reconstruction",
        "library",
        "critic",
        "gradient_penalty",
        "generator",
        "encoder",
        "validation",
    } <= set(result.history)
    for name, column in result.history.items():
        assert column.tolist() == [getattr(row, name) for row in rows]
        assert np.isfinite(column).all()
    assert result.history["epoch"].tolist() == [1, 2, 3, 4, 5]
    expected = 2e-3 * (0.01 + 0.99 * (1 + np.cos(np.pi * np.arange(5) / 5)) / 2)
    np.testing.assert_allclose(result.history["learning_rate"], expected, rtol=1e-12)


def test_terms_that_were_not_used_are_nan():
    _, result = fitted(model_config(prior="none", library="observed"), train_config())
    for name in ("critic", "gradient_penalty", "generator", "encoder", "validation"):
        assert np.isnan(result.history[name]).all()
    assert not result.history["library"].any()
    assert result.history["learning_rate"].tolist() == [2e-3] * 3
    _, result = fitted(model_config(prior="normal"), train_config())
    assert np.isnan(result.history["generator"]).all()
    assert np.isfinite(result.history["encoder"]).all()


def test_history_averages_over_the_steps_that_used_a_term():
    model = SCRAE.for_data(DATA, model_config(), seed=0)
    config = train_config(max_epochs=1, n_critic=3)  # four steps, one of them with generator and encoder
    twin = copy.deepcopy(model).train()
    order, noise, optimizers = (
        Generator().manual_seed(0),
        Generator().manual_seed(1),
        Optimizers.of(twin, config),
    )
    rows = torch.randperm(60, generator=order)
    steps = [
        training_step(twin, batch, optimizers, config, noise, update_prior=i == 3)
        for i, batch in enumerate(DATA.minibatches(16, rows=rows, generator=order), start=1)
    ]
    history = fit(model, DATA, config).history
    for name in ("reconstruction", "library", "critic", "gradient_penalty"):
        assert history[name][0] == pytest.approx(
            np.mean([float(getattr(step, name)) for step in steps]), rel=1e-6
        )
    assert history["generator"][0] == float(steps[2].generator)
    assert history["encoder"][0] == float(steps[2].encoder)


def test_an_epoch_shorter_than_n_critic_is_fine():
    _, result = fitted(model_config(), train_config(batch_size=60, n_critic=2, max_epochs=4))
    assert np.isnan(result.history["generator"]).tolist() == [True, False, True, False]


def test_training_finds_the_types():
    counts = cells(300, 30, n_types=3, seed=2)
    config = train_config(max_epochs=10, batch_size=30, learning_rate=4e-3)
    model, result = fitted(model_config(n_latent=3, library="observed"), config, CountData(counts))
    assert result.history["reconstruction"][-1] < 0.9 * result.history["reconstruction"][0]
    clusters = kmeans(model.encode(CountData(counts)), 3, seed=0)
    assert score(np.arange(300) % 3, clusters).nmi > 0.9


def test_other_genes_are_refused():
    with pytest.raises(ScraeError) as error:
        fit(SCRAE.for_data(DATA, model_config()), CountData(np.ones((9, 4), dtype=int)), train_config())
    assert str(error.value) == "fit: expected the model's 15 genes in its order, found 4 others"


def test_one_cell_cannot_be_held_out_from_itself():
    data = CountData(cells(1, 15, seed=4))
    model = SCRAE.for_data(data, model_config(), seed=0)
    with pytest.raises(ScraeError) as error:
        fit(model, data, train_config(validation_fraction=0.5, patience=3))
    assert str(error.value) == (
        "fit: expected at least 2 cells for early stopping, found 1; set patience=None"
    )
    assert fit(model, data, train_config(patience=None)).epochs == 3


@pytest.mark.parametrize(
    ("network", "term"), [("decoder.log_theta", "reconstruction"), ("critic.value.bias", "critic")]
)
def test_a_loss_that_is_not_finite_is_an_error(network: str, term: str):
    model = SCRAE.for_data(DATA, model_config(prior="normal"), seed=0)
    with torch.no_grad():
        model.get_parameter(network).fill_(torch.nan)
    with pytest.raises(ScraeError) as error:
        fit(model, DATA, train_config(n_critic=100))
    first = torch.randperm(60, generator=Generator().manual_seed(0))
    first = first[torch.randperm(60, generator=skipped(Generator().manual_seed(0)))][:16]
    counts = cells(60, 15, seed=4)
    cell = max(first.tolist(), key=lambda row: counts[row].sum())
    gene = int(counts[first].max(axis=0).argmax())
    assert str(error.value) == (
        f"fit: expected finite losses, found {term}=nan at step 1 of epoch 1 (the largest of its cells has "
        f"{counts[cell].sum()} counts (cell {cell} of the data, from 0; the median is "
        f"{np.sort(counts.sum(axis=1))[29]}), the largest count is {counts[first].max()}, of gene '{gene}'); "
        "lower the learning rates or leave out these cells"
    )


def skipped(generator: Generator) -> Generator:
    """The generator after the split of 60 cells."""
    torch.randperm(60, generator=generator)
    return generator


def breaking(monkeypatch: pytest.MonkeyPatch, term: str, broken: Callable[[int], bool]) -> None:
    """Make a term NaN in the steps, counted from 0, that ``broken`` names."""
    original, count = training_step, itertools.count()

    def late(model: SCRAE, *args: Any, **settings: Any) -> Any:
        step = original(model, *args, **settings)
        if not broken(next(count)):
            return step
        with torch.no_grad():
            model.get_parameter("decoder.log_theta").fill_(torch.nan)  # as a wild step leaves it
        return step._replace(**{term: getattr(step, term) * torch.nan})

    monkeypatch.setattr(training, "training_step", late)


@pytest.mark.parametrize("term", ["reconstruction", "critic", "gradient_penalty", "encoder", "generator"])
def test_a_nan_ends_training_with_the_weights_of_the_last_good_epoch(
    monkeypatch: pytest.MonkeyPatch, term: str
):
    good = fitted(model_config(), train_config(max_epochs=1))[0]
    breaking(monkeypatch, term, lambda step: step == 7)  # four steps an epoch; the last of the second
    made = SCRAE.for_data(DATA, model_config(), seed=0)
    with pytest.warns(ScraeWarning) as caught:
        result = fit(made, DATA, train_config(max_epochs=3))
    assert len(caught) == 1
    message = str(caught[0].message)
    assert message.startswith(
        f"Training ended early: {term}=nan at step 4 of epoch 2 (the largest of its cells has"
    )
    assert message.endswith("; weights of epoch 1 were kept.")
    assert result.fault is not None
    assert result.fault.startswith(f"{term}=nan at step 4 of epoch 2 (")
    assert (result.epochs, result.best_epoch) == (1, 1)
    assert result.stopped_because == f"{result.fault}; weights of epoch 1 were kept"
    assert result.history["epoch"].tolist() == [1]
    assert equal(weights(made), weights(good))


def test_with_early_stopping_a_nan_ends_training_with_the_best_weights(monkeypatch: pytest.MonkeyPatch):
    config = train_config(max_epochs=9, validation_fraction=0.2, patience=5)
    good = fitted(model_config(), train_config(max_epochs=2, validation_fraction=0.2, patience=5))[0]
    breaking(monkeypatch, "library", lambda step: step >= 6)  # three steps an epoch
    made = SCRAE.for_data(DATA, model_config(), seed=0)
    with pytest.warns(ScraeWarning, match="weights of epoch 2 were kept"):
        result = fit(made, DATA, config)
    assert result.epochs == result.best_epoch == 2
    assert equal(weights(made), weights(good))


def test_a_nan_in_the_first_epoch_is_an_error(monkeypatch: pytest.MonkeyPatch):
    breaking(monkeypatch, "reconstruction", lambda step: step == 2)
    expected = (
        r"^fit: expected finite losses, found reconstruction=nan at step 3 of epoch 1 \(.*lower the learning"
    )
    with pytest.raises(ScraeError, match=expected):
        fitted(model_config(), train_config(max_epochs=2))


def test_a_weight_that_breaks_in_the_last_step_is_seen(monkeypatch: pytest.MonkeyPatch):
    original, count = training_step, itertools.count()

    def late(model: SCRAE, *args: Any, **settings: Any) -> Any:
        step = original(model, *args, **settings)
        if next(count) == 7:
            with torch.no_grad():
                model.get_parameter("critic.value.bias").fill_(torch.inf)
        return step

    monkeypatch.setattr(training, "training_step", late)
    with pytest.warns(ScraeWarning, match=r"a non-finite weight at step 4 of epoch 2 \("):
        fitted(model_config(), train_config(max_epochs=3))


def test_a_non_finite_held_out_loss_is_seen(monkeypatch: pytest.MonkeyPatch):
    losses = iter([5.0, math.nan])
    monkeypatch.setattr(SCRAE, "held_out_loss", lambda *_, **__: next(losses))
    with pytest.warns(ScraeWarning, match=r"validation=nan of the held-out cells after epoch 2 \("):
        result = fitted(model_config(), train_config(validation_fraction=0.2, patience=5))[1]
    assert result.history["validation"].tolist() == [5]


def test_thinning_hides_half_of_the_molecules_from_the_encoder_only():
    model = SCRAE.for_data(DATA, model_config(library="observed"), seed=0)
    batch = DATA.minibatch(torch.arange(len(DATA)))
    seen = batch.thinned(Generator().manual_seed(1))
    plain, thin = model.autoencoder_losses(batch), model.autoencoder_losses(batch, seen=seen)
    with torch.no_grad():
        assert torch.equal(thin.z, model.encoder(dense_input(model, seen)).z)
    assert not torch.equal(thin.z, plain.z)
    _, with_thinning = fitted(model_config(), train_config(thinning=True))
    _, without = fitted(model_config(), train_config(thinning=False))
    assert (with_thinning.history["reconstruction"] != without.history["reconstruction"]).all()


def test_data_of_other_batches_is_refused():
    model = SCRAE.for_data(BATCHED, model_config())
    with pytest.raises(
        ScraeError, match=r"^fit: expected the model's batches \('a', 'b', 'c'\), found \(\)$"
    ):
        fit(model, DATA, train_config())
    with pytest.raises(ScraeError, match="expected the batch of each cell, since the model was trained with"):
        model.held_out_loss(DATA, torch.arange(9))
