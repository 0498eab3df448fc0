"""A training that was stopped goes on and ends with the same bits as one that was not."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference.cells import cells
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from scrae.config import ModelConfig, TrainConfig
from scrae.core import fit as train
from scrae.core.checkpoint import Checkpoint, Epoch, _fingerprint
from scrae.core.data import CountData
from scrae.core.fit import FitResult, fit
from scrae.core.model import SCRAE
from scrae.errors import ScraeError, ScraeWarning

DATA = CountData(cells(60, 15, seed=4))
KILLER = Path(__file__).parent.parent / "long" / "kill_training.py"


def settings(**changes: Any) -> tuple[ModelConfig, TrainConfig]:
    model: dict[str, Any] = {
        "n_latent": 2,
        "encoder_layers": (12,),
        "decoder_layers": (12,),
        "generator_layers": (8,),
        "critic_layers": (8,),
    }
    training: dict[str, Any] = {"batch_size": 16, "max_epochs": 6, "n_critic": 2}
    for name, value in changes.items():
        (model if name in ModelConfig.__dataclass_fields__ else training)[name] = value
    return ModelConfig(**model), TrainConfig(**training)


def run(
    configs: tuple[ModelConfig, TrainConfig],
    checkpoint: Checkpoint | None = None,
    on_epoch: Callable[[Epoch, int], None] | None = None,
    data: CountData = DATA,
    seed: int = 3,
) -> tuple[SCRAE, FitResult]:
    model = SCRAE.for_data(data, configs[0], seed=seed)
    return model, fit(model, data, configs[1], seed=seed, checkpoint=checkpoint, on_epoch=on_epoch)


def stopping_at(number: int, how: BaseException) -> Callable[[Epoch, int], None]:
    def heard(epoch: Epoch, _: int) -> None:
        if epoch.epoch == number:
            raise how

    return heard


def same(first: tuple[SCRAE, FitResult], second: tuple[SCRAE, FitResult]) -> None:
    for (name, value), other in zip(
        first[0].state_dict().items(), second[0].state_dict().values(), strict=True
    ):
        assert torch.equal(value, other), name
    for name, column in first[1].history.items():
        np.testing.assert_array_equal(column, second[1].history[name])
    assert replace(first[1], history={}) == replace(second[1], history={})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"prior_update": "separate", "library": "inferred", "dropout": 0.3, "schedule": "constant"},
        {"prior": "normal", "thinning": False, "weight_decay": 0.1},
        {"prior": "none", "likelihood": "nb"},
        {"validation_fraction": 0.0, "patience": None, "n_critic": 100},
        {"patience": 1, "learning_rate": 0.5, "schedule": "constant"},
    ],
    ids=str,
)
def test_it_ends_with_the_same_bits_wherever_it_was_stopped(tmp_path: Path, changes: dict[str, Any]):
    configs = settings(**changes)
    whole = run(configs)
    for number in {1, whole[1].epochs // 2, whole[1].epochs}:
        checkpoint = Checkpoint(path=tmp_path / f"{number}" / "t.safetensors", resume=True)
        with pytest.raises(KeyboardInterrupt):
            run(configs, checkpoint, stopping_at(number, KeyboardInterrupt()))
        rows: list[Epoch] = []
        same(run(configs, checkpoint, lambda epoch, _, rows=rows: rows.append(epoch)), whole)
        assert [row.epoch for row in rows] == list(range(number + 1, whole[1].epochs + 1))


def test_keeping_every_epoch_changes_nothing_and_the_last_one_stays(tmp_path: Path):
    checkpoint = Checkpoint(path=tmp_path / "t.safetensors", seconds=0)
    whole = run(settings(), checkpoint)
    same(whole, run(settings()))
    heard: list[Epoch] = []
    same(run(settings(), replace(checkpoint, resume=True), lambda epoch, _: heard.append(epoch)), whole)
    assert heard == []


def test_a_short_training_writes_nothing(tmp_path: Path):
    run(settings(), Checkpoint(path=tmp_path / "t.safetensors", seconds=1000))
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_says_how_to_resume(tmp_path: Path):
    path = tmp_path / "t.safetensors"
    with pytest.raises(SystemExit) as stop:
        run(settings(), Checkpoint(path=path), stopping_at(2, SystemExit(143)))
    assert stop.value.__notes__ == [
        f"the training up to epoch 2 is saved in {path}; resume it by the same command with --resume"
    ]
    with pytest.raises(KeyboardInterrupt) as interrupt:  # before the first epoch has ended
        fit_with_broken_start(Checkpoint(path=tmp_path / "none"))
    assert not hasattr(interrupt.value, "__notes__")
    assert not (tmp_path / "none").exists()


def fit_with_broken_start(checkpoint: Checkpoint) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "training_step", stop_now)
        run(settings(), checkpoint)


def stop_now(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def kept(tmp_path: Path) -> Checkpoint:
    """A training of three epochs of six, to go on from."""
    checkpoint = Checkpoint(path=tmp_path / "training.safetensors", resume=True)
    with pytest.raises(KeyboardInterrupt):
        run(settings(), checkpoint, stopping_at(3, KeyboardInterrupt()))
    return checkpoint


def test_an_unfinished_training_is_not_overwritten(kept: Checkpoint):
    with pytest.raises(ScraeError) as error:
        run(settings(), replace(kept, resume=False))
    assert str(error.value) == (
        f"{kept.path}: found an unfinished training; pass --resume to continue it, or delete this file to "
        "start over"
    )


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"max_epochs": None}, "max_epochs=6, found None"),
        ({"encoder_layers": (12, 3)}, "encoder_layers=[12], found [12, 3]"),
    ],
)
def test_other_settings_are_refused(kept: Checkpoint, changes: dict[str, Any], found: str):
    with pytest.raises(ScraeError) as error:
        run(settings(**changes), kept)
    assert str(error.value) == (
        f"resume: the training began with {found}; pass what it began with, or delete {kept.path} to start over"
    )


def test_another_seed_is_refused(kept: Checkpoint):
    with pytest.raises(ScraeError, match=r"^resume: the training began with seed=3, found 4; pass what"):
        run(settings(), kept, seed=4)


def test_other_data_is_refused(kept: Checkpoint):
    counts = cells(60, 15, seed=4)
    counts[59, 14] += 1
    with pytest.raises(
        ScraeError, match=r"^resume: the training began with other counts, genes or batches; pass what"
    ):
        run(settings(), kept, data=CountData(counts))


def test_the_fingerprint_sees_counts_genes_and_shape():
    counts = cells(60, 15, seed=4)
    genes = [f"g{i}" for i in range(15)]
    seen = {_fingerprint(CountData(c, g)) for c, g in (
        (counts, genes), (counts[::-1], genes), (counts, genes[::-1]), (counts, None), (counts[:-1], genes),
        (np.vstack([counts, 0 * counts[:1]]), genes),
    )}  # fmt: skip
    seen |= {
        _fingerprint(CountData(counts, genes, batch_names=names, batch_codes=np.arange(60) % n))
        for names, n in (("ab", 2), ("ac", 2), ("ab", 1))
    }
    assert len(seen) == 9
    assert _fingerprint(CountData(counts, genes)) == _fingerprint(CountData(counts.astype(float), genes))


Parts = tuple[dict[str, torch.Tensor], dict[str, Any]]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t, f: t.pop("model.decoder.log_theta"), "ValueError: no model.decoder.log_theta"),
        (lambda t, f: t.pop("random.noise"), "ValueError: no random.noise"),
        (lambda t, f: t.pop("best.gene_scale"), "ValueError: no best.gene_scale"),
        (lambda t, f: t.update(extra=torch.zeros(1)), "KeyError: 'extra'"),
        (lambda t, f: t.update({"model.gene_scale": torch.ones(99)}), "model.gene_scale is F32 [99]"),
        (lambda t, f: t.update({"model.gene_scale": torch.ones(15).half()}), "model.gene_scale is F16 [15]"),
        (lambda t, f: t["model.gene_scale"].fill_(math.nan), "NaN or infinity in model.gene_scale"),
        (lambda t, f: t["random.order"].fill_(255), "RuntimeError: "),
        (lambda t, f: t.update({"random.order": torch.zeros(7, dtype=torch.uint8)}), "RuntimeError: "),
        (lambda t, f: f.pop("epoch"), "KeyError: 'epoch'"),
        (lambda t, f: f.update(epoch=-1), "inconsistent header"),
        (lambda t, f: f.update(epoch=10**9), "inconsistent header"),
        (lambda t, f: f.update(best=None), "inconsistent header"),
        (lambda t, f: f.update(rows=[[1, 2]] * 3), "inconsistent header"),
        (lambda t, f: f.update(settings=7), "AttributeError: "),
    ],
)  # fmt: skip
def test_a_file_that_was_changed_is_refused(kept: Checkpoint, change: Callable[..., Any], reason: str):
    tensors = load_file(kept.path)
    with safe_open(kept.path, framework="pt") as file:
        facts = json.loads(file.metadata()["training"])
    change(tensors, facts)
    save_file(tensors, kept.path, {"training": json.dumps(facts)})
    with pytest.raises(ScraeError) as error:
        run(settings(), kept)
    message = str(error.value)
    assert message.startswith(
        f"{kept.path}: expected the state of a training, found a damaged or foreign file ("
    )
    assert reason in message
    assert "\n" not in message


def test_a_damaged_file_is_refused(kept: Checkpoint):
    content = kept.path.read_bytes()
    for wrong in (b"", content[:-1], content[:100], b"\xff" * 8 + content[8:], b"\x80\x04\x95" + content):
        kept.path.write_bytes(wrong)
        with pytest.raises(ScraeError, match="found a damaged or foreign file"):
            run(settings(), kept)
    save_file({"a": torch.zeros(1)}, kept.path)
    with pytest.raises(ScraeError, match="found a damaged or foreign file"):
        run(settings(), kept)


def test_another_format_is_refused(kept: Checkpoint):
    tensors = load_file(kept.path)
    with safe_open(kept.path, framework="pt") as file:
        facts = json.loads(file.metadata()["training"])
    save_file(tensors, kept.path, {"training": json.dumps(facts | {"format": 99})})
    with pytest.raises(ScraeError, match="expected a training of this version of scrae, found another"):
        run(settings(), kept)


def test_a_checkpoint_that_cannot_be_written_does_not_end_the_training(tmp_path: Path):
    (tmp_path / "file").write_text("")
    checkpoint = Checkpoint(path=tmp_path / "file" / "t.safetensors", seconds=0)
    with pytest.warns(
        ScraeWarning, match=r"could not be written: a file stands .* Training continues"
    ) as caught:
        made = run(settings(max_epochs=2), checkpoint)
    assert len(caught) == 2
    same(made, run(settings(max_epochs=2)))


def test_killed_at_random_moments_it_ends_with_the_same_bits(tmp_path: Path):
    """Five stops of real processes; ``make test-long`` has more."""
    command = [sys.executable, str(KILLER), str(tmp_path), "--kills", "5", "--epochs", "8"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["kills"] == 5
    assert seen["trainings finished with equal bits"] >= 1
