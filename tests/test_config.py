from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from scrae.config import (
    ClusterConfig,
    ModelConfig,
    PreprocessConfig,
    Settings,
    TrainConfig,
    from_dict,
    preset,
    to_dict,
)
from scrae.errors import ScraeError

SIZES = "expected a tuple of at most 32 sizes, each a whole number from 1 to 65536"

# Every setting away from its default, whatever the defaults are.
ODD = Settings(
    label_key="type",
    batch_key="donor",
    also_2d=True,
    check_seeds=2,
    layer="umi",
    transpose=True,
    backed=False,
    device="cpu",
    seed=12345,
    preprocess=PreprocessConfig(
        min_cells=3,
        min_genes=200,
        min_counts=500,
        max_mito=0.2,
        mito_prefix="chrM:",
        gene_selection="scmarker",
        n_top_genes=777,
    ),
    model=ModelConfig(
        n_latent=7,
        encoder_layers=(31, 17),
        decoder_layers=(17, 31, 5),
        generator_layers=(),
        critic_layers=(9,),
        n_noise=4,
        leak=0.15,
        dropout=0.05,
        likelihood="nb",
        library="observed",
        prior="learned",
        divergence="jensen-shannon",
    ),
    train=TrainConfig(
        batch_size=33,
        max_epochs=44,
        learning_rate=2e-3,
        adversarial_learning_rate=3e-5,
        schedule="cosine",
        weight_decay=1e-5,
        prior_weight=0.125,
        prior_update="separate",
        n_critic=3,
        gradient_penalty_weight=2.5,
        library_kl_weight=0.75,
        thinning=False,
        validation_fraction=0.25,
        patience=6,
    ),
    cluster=ClusterConfig(method="leiden", resolution=0.5),
)


@pytest.mark.parametrize("settings", [ODD, Settings(), preset("paper")], ids=["odd", "default", "paper"])
def test_json_brings_back_equal_settings(settings: Settings):
    read = from_dict(Settings, json.loads(json.dumps(to_dict(settings))))
    assert read == settings
    assert hash(read) == hash(settings)  # tuples again, not lists
    for part in ("preprocess", "model", "train", "cluster"):
        one = getattr(settings, part)
        assert from_dict(type(one), json.loads(json.dumps(to_dict(one)))) == one


def test_the_dictionary_holds_every_setting_by_its_name():
    written = to_dict(ODD)
    assert written["model"]["encoder_layers"] == [31, 17]
    assert written["model"]["generator_layers"] == []
    assert (written["model"]["likelihood"], written["model"]["n_noise"], written["seed"]) == ("nb", 4, 12345)
    assert set(written) == {field.name for field in fields(Settings)}
    for part in ("preprocess", "model", "train", "cluster"):
        assert set(written[part]) == {field.name for field in fields(getattr(ODD, part))}


def test_what_is_not_named_keeps_its_default():
    assert from_dict(ModelConfig, {"n_latent": 3}) == ModelConfig(n_latent=3)
    assert from_dict(Settings, {"train": {"n_critic": 9}}) == Settings(train=TrainConfig(n_critic=9))


def test_settings_are_frozen_and_by_keyword():
    with pytest.raises(FrozenInstanceError):
        ODD.model.n_latent = 3  # type: ignore[misc]
    with pytest.raises(TypeError, match="positional"):
        ModelConfig(10)  # type: ignore[misc]


def test_the_paper_s_settings_are_those_published():
    paper = preset("paper")
    assert (paper.preprocess.gene_selection, paper.preprocess.n_top_genes) == ("seurat", 720)
    model, train = paper.model, paper.train
    assert (model.n_latent, model.n_noise or model.n_latent, model.leak, model.dropout) == (10, 10, 0.2, 0.0)
    assert model.encoder_layers == model.decoder_layers == (512, 512)
    assert (model.generator_layers, model.critic_layers) == ((32, 32), (64, 64))
    assert (model.likelihood, model.library, model.prior) == ("zinb", "inferred", "learned")
    assert model.divergence == "wasserstein"
    assert (train.batch_size, train.max_epochs, train.schedule, train.patience) == (16, 200, "constant", None)
    assert (train.learning_rate, train.adversarial_learning_rate) == (1e-3, 9e-5)
    assert (train.prior_update, train.learning_rate * train.prior_weight) == ("separate", 1e-6)
    assert (train.gradient_penalty_weight, train.library_kl_weight, train.n_critic) == (10.0, 0.1, 5)


def test_another_preset_is_refused():
    with pytest.raises(ScraeError) as error:
        preset("Paper")
    assert str(error.value) == "preset: expected 'default' or 'paper', found 'Paper'; did you mean 'paper'?"


@pytest.mark.parametrize(
    ("cls", "values", "message"),
    [
        (
            ModelConfig,
            {"n_latent": 2.0},
            "n_latent: expected a whole number from 1 to 65536, found 2.0",
        ),
        (
            ModelConfig,
            {"n_latent": True},
            "n_latent: expected a whole number from 1 to 65536, found True",
        ),
        (
            ModelConfig,
            {"n_latent": 0},
            "n_latent: expected a whole number from 1 to 65536, found 0",
        ),
        (
            ModelConfig,
            {"n_noise": "9"},
            "n_noise: expected a whole number from 1 to 65536 or None, found '9'",
        ),
        (ModelConfig, {"leak": 1.5}, "leak: expected a number from 0 to 1, found 1.5"),
        (ModelConfig, {"leak": float("nan")}, "leak: expected a number from 0 to 1, found nan"),
        (ModelConfig, {"dropout": 1}, "dropout: expected a number from 0 to 0.95, found 1"),
        (
            ModelConfig,
            {"encoder_layers": [10, 0]},
            f"encoder_layers: {SIZES}, found (10, 0)",
        ),
        (
            ModelConfig,
            {"critic_layers": [70_000]},
            f"critic_layers: {SIZES}, found (70000,)",
        ),
        (
            ModelConfig,
            {"generator_layers": [1] * 33},
            f"generator_layers: {SIZES}, found ({'1, ' * 25}1...",
        ),
        (
            ModelConfig,
            {"decoder_layers": 64},
            f"decoder_layers: {SIZES}, found 64",
        ),
        (
            ModelConfig,
            {"decoder_layers": ["64"]},
            f"decoder_layers: {SIZES}, found ('64',)",
        ),
        (
            ModelConfig,
            {"likelihood": "ZINB"},
            "likelihood: expected one of 'zinb', 'nb', found 'ZINB'; did you mean 'zinb'?",
        ),
        (
            ModelConfig,
            {"prior": "normal", "n_latent": 4, "n_noise": 5},
            "n_noise: expected None or 4, since with prior='normal' the noise is the code, found 5",
        ),
        (
            TrainConfig,
            {"batch_size": 0},
            "batch_size: expected a whole number of at least 1, found 0",
        ),
        (
            TrainConfig,
            {"prior_weight_batched": -1},
            "prior_weight_batched: expected a number of at least 0, found -1",
        ),
        (
            TrainConfig,
            {"prior_weight": -1},
            "prior_weight: expected a number of at least 0, found -1",
        ),
        (
            TrainConfig,
            {"prior_weight": float("inf")},
            "prior_weight: expected a number of at least 0, found inf",
        ),
        (
            TrainConfig,
            {"learning_rate": 1.1},
            "learning_rate: expected a number from 0 to 1, found 1.1",
        ),
        (Settings, {"seed": -1}, "seed: expected a whole number from 0 to 4294967295, found -1"),
        (
            Settings,
            {"seed": 2**32},
            "seed: expected a whole number from 0 to 4294967295, found 4294967296",
        ),
        (Settings, {"label_key": 3}, "label_key: expected a text or None, found 3"),
        (Settings, {"backed": 0}, "backed: expected True or False or None, found 0"),
        (Settings, {"device": "mps"}, "device: expected one of 'auto', 'cpu', 'cuda', found 'mps'"),
        (
            TrainConfig,
            {"patience": 3, "validation_fraction": 0},
            "patience: early stopping needs held-out cells, found validation_fraction=0; "
            "set a fraction or patience=None",
        ),
        (
            PreprocessConfig,
            {"n_top_genes": 1},
            "n_top_genes: expected a whole number of at least 2, found 1",
        ),
        (
            PreprocessConfig,
            {"max_mito": 20},
            "max_mito: expected a number from 0 to 1 or None, found 20",
        ),
        (
            ClusterConfig,
            {"n_clusters": 0},
            "n_clusters: expected a whole number of at least 1 or None, found 0",
        ),
        (
            ClusterConfig,
            {"method": "gmm", "resolution": 1.0},
            "resolution: expected method='leiden' without n_clusters, found method='gmm'; leave one out",
        ),
        (
            ClusterConfig,
            {"method": "leiden", "n_clusters": 3, "resolution": 1.0},
            "resolution: expected method='leiden' without n_clusters, found n_clusters=3; leave one out",
        ),
        (
            ClusterConfig,
            {"method": "leiden", "resolution": -1.0},
            "resolution: expected a number from 0 to 64 or None, found -1.0",
        ),
        (Settings, {"model": [1]}, "model: expected a mapping of settings, found list"),
        (Settings, "default", "settings: expected a mapping of settings, found str"),
    ],
)
def test_a_wrong_value_is_named(cls: type[Any], values: Any, message: str):
    with pytest.raises(ScraeError) as error:
        from_dict(cls, values)
    assert str(error.value) == message


def test_an_unknown_setting_is_named_with_those_known():
    with pytest.raises(ScraeError) as error:
        from_dict(Settings, {"model": {"latent": 3}})
    expected = ", ".join(sorted(field.name for field in fields(ModelConfig)))
    assert str(error.value) == f"model: unknown setting 'latent'; known are {expected}"


def test_the_parts_of_settings_have_their_own_types():
    with pytest.raises(ScraeError, match=r"^model: expected ModelConfig, found TrainConfig\("):
        Settings(model=TrainConfig())  # type: ignore[arg-type]


def test_epochs_make_a_thousand_steps_unless_they_are_given():
    assert TrainConfig(max_epochs=7, batch_size=128).epochs_for(10) == 7
    free = TrainConfig(max_epochs=None, batch_size=128)
    assert free.epochs_for(1280) == 100
    assert free.epochs_for(1279) == 101
    assert free.epochs_for(10**6) == 5


def test_whole_numbers_are_numbers():
    assert TrainConfig(prior_weight=2, learning_rate=1).prior_weight == 2
