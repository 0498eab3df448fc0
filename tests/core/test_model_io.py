from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from scrae.config import ModelConfig
from scrae.core import model_io as checkpoint
from scrae.core.data import CountData
from scrae.core.density import fit_density
from scrae.core.model import SCRAE
from scrae.core.model_io import _FORMAT, load, save
from scrae.errors import ScraeError

GENES = ["Gene 1", "HLA-A", "Ünï", "", "n,m"]


def config(**changes: Any) -> ModelConfig:
    settings: dict[str, Any] = {
        "n_latent": 3,
        "encoder_layers": (7, 6),
        "decoder_layers": (6,),
        "generator_layers": (4,),
        "critic_layers": (5,),
        "leak": 0.25,
        "dropout": 0.1,
        "likelihood": "zinb",
        "library": "inferred",
        "prior": "learned",
    }
    return ModelConfig(**settings | changes)


def data() -> CountData:
    return CountData(np.random.default_rng(3).poisson(2.0, (40, len(GENES))), GENES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good model folder, to be damaged."""
    save(SCRAE.for_data(data(), config(), seed=4), tmp_path / "model")
    return tmp_path / "model"


def refused(folder: Path) -> str:
    """The message without the folder's name."""
    with pytest.raises(ScraeError) as error:
        load(folder)
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(str(folder))
    return message.removeprefix(f"{folder}/")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"prior": "normal"},
        {"prior": "none", "likelihood": "nb"},
        {"library": "observed", "encoder_layers": ()},
    ],
    ids=str,
)
def test_the_codes_come_back_bit_for_bit(tmp_path: Path, changes: dict[str, Any]):
    model = SCRAE.for_data(data(), config(**changes), seed=4)
    save(model, tmp_path / "deep" / "model")
    again = load(tmp_path / "deep" / "model")
    assert again.config == model.config
    assert again.genes == tuple(GENES)
    assert not again.training
    np.testing.assert_array_equal(again.encode(data()), model.encode(data()))
    assert again.state_dict().keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    rows = torch.arange(40)
    assert again.held_out_loss(data(), rows) == model.held_out_loss(data(), rows)
    wanted = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    assert {name: parameter.requires_grad for name, parameter in again.named_parameters()} == wanted


def test_the_folder_holds_data_and_nothing_else(folder: Path):
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "genes.txt",
        "weights.safetensors",
    ]
    assert (folder / "genes.txt").read_text(encoding="utf-8") == "Gene 1\nHLA-A\nÜnï\n\nn,m\n"
    content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert (content["format"], content["n_genes"], content["model"]["leak"]) == (_FORMAT, 5, 0.25)
    weights = load_file(folder / "weights.safetensors")
    assert weights["encoder.body.layers.0.weight"].shape == (5, 7)
    assert weights["library_mean"].shape == ()


def test_a_loaded_model_does_not_live_in_its_file(folder: Path):
    model = load(folder)
    before = model.encode(data())
    weights = folder / "weights.safetensors"
    with weights.open("r+b") as file:  # in place, as a copying tool might do
        file.write(b"\0" * weights.stat().st_size)
    np.testing.assert_array_equal(model.encode(data()), before)


def test_saving_again_replaces_the_model(folder: Path):
    other = SCRAE.for_data(data(), config(encoder_layers=(4,)), seed=9)
    save(other, folder)
    np.testing.assert_array_equal(load(folder).encode(data()), other.encode(data()))


@pytest.mark.usefixtures("global_randomness_untouched")
def test_loading_draws_nothing_from_the_global_generators(folder: Path):
    load(folder)


@pytest.mark.parametrize("name", ["config.json", "genes.txt", "weights.safetensors"])
def test_a_missing_file(folder: Path, name: str):
    (folder / name).unlink()
    assert refused(folder) == f"{name}: expected a file of a scrae model, found none"


@pytest.mark.parametrize("name", ["config.json", "genes.txt", "weights.safetensors"])
def test_a_pipe_or_a_folder_in_place_of_a_file(folder: Path, name: str):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert refused(folder) == f"{name}: expected a file of a scrae model, found none"
    (folder / name).unlink()
    (folder / name).mkdir()
    assert refused(folder) == f"{name}: expected a file of a scrae model, found none"


def test_a_missing_folder(tmp_path: Path):
    assert refused(tmp_path / "nothing") == "config.json: expected a file of a scrae model, found none"


def rewrite(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "config.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    changed = change(content)
    path.write_text(json.dumps(changed if isinstance(changed, list) else content), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format=99), f"expected a model of format {_FORMAT} or older, found 99; use a newer scrae"),
        (lambda c: c.update(format=1), "expected a model of format 2 or newer, found 1; train it again"),
        (lambda c: c.update(format=0), "expected a scrae model, found another file"),
        (lambda c: c.update(format=True), "expected a scrae model, found another file"),
        (lambda c: c.pop("format"), "expected a scrae model, found another file"),
        (lambda c: [c], "expected a scrae model, found another file"),
        (lambda c: c.update(n_genes="5"), "expected a positive whole number n_genes, found '5'"),
        (lambda c: c.update(n_genes=0), "expected a positive whole number n_genes, found 0"),
        (lambda c: c.update(n_genes=True), "expected a positive whole number n_genes, found True"),
        (lambda c: c.pop("n_genes"), "expected a positive whole number n_genes, found None"),
        (lambda c: c.update(model=7), "model: expected a mapping of settings, found int"),
        (lambda c: c["model"].pop("leak"), "expected every setting of the model, found none for 'leak'"),
        (lambda c: c["model"].update(leak="x"), "leak: expected a number from 0 to 1, found 'x'"),
        (lambda c: c["model"].update(leak=float("nan")), "leak: expected a number from 0 to 1, found nan"),
        (
            lambda c: c["model"].update(n_latent=10**9),
            "n_latent: expected a whole number from 1 to 65536, found 1000000000",
        ),
        (
            lambda c: c["model"].update(encoder_layers=[1] * 20_000),
            f"encoder_layers: expected a tuple of at most 32 sizes, each a whole number from 1 to 65536, "
            f"found ({'1, ' * 25}1...",
        ),
    ],
)  # fmt: skip
def test_a_wrong_config(folder: Path, change: Callable[[dict[str, Any]], Any], message: str):
    rewrite(folder, change)
    assert refused(folder) == f"config.json: {message}"


def test_an_unknown_setting(folder: Path):
    rewrite(folder, lambda c: c["model"].update(code="import os"))
    assert refused(folder).startswith("config.json: model: unknown setting 'code'; known are ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected JSON, found something else (Expecting value: line 1 column 1 (char 0))"),
        ('{"n_genes": ', "expected JSON, found something else (Expecting value: line 1 column 13 (char 12))"),
        ("[" * 60_000, "expected JSON, found something else (maximum recursion depth exceeded"),
        ("9" * 5000, "expected JSON, found something else (Exceeds the limit (4300 digits)"),
        (" " * 70_000, "expected at most 65536 bytes, found 70000"),
    ],
    ids=["empty", "truncated", "deep", "long number", "large"],
)  # fmt: skip
def test_a_config_that_is_no_json(folder: Path, text: str, message: str):
    (folder / "config.json").write_text(text)
    assert refused(folder).startswith(f"config.json: {message}")


@pytest.mark.parametrize("name", ["config.json", "genes.txt"])
def test_text_that_is_not_utf8(folder: Path, name: str):
    (folder / name).write_bytes(b"\xff\xfe\x00A")
    assert refused(folder) == f"{name}: expected UTF-8 text, found other bytes"


@pytest.mark.parametrize(
    ("text", "found"),
    [("", 0), ("Gene 1\nHLA-A\nÜnï\n\nn", 4), ("a\nb\nc\nd\ne\nf\n", 6)],
    ids=["empty", "cut", "long"],
)
def test_genes_that_do_not_fit_the_config(folder: Path, text: str, found: int):
    (folder / "genes.txt").write_text(text, encoding="utf-8")
    assert refused(folder) == f"genes.txt: expected 5 genes, as config.json says, found {found}"


def test_genes_and_config_that_agree_on_another_number(folder: Path):
    (folder / "genes.txt").write_text("a\nb\nc\nd\ne\nf\n")
    rewrite(folder, lambda c: c.update(n_genes=6))
    assert refused(folder) == "weights.safetensors: expected gene_scale as F32 [6], found F32 [5]"


Weights = dict[str, torch.Tensor]
DIFFER = "expected the weights that config.json describes, found a difference at"
NOT_FINITE = "expected finite weights, found NaN or infinity in"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("critic.value.bias"), f"{DIFFER} 'critic.value.bias'"),
        (lambda w: w.update(extra=torch.zeros(1)), f"{DIFFER} 'extra'"),
        (lambda w: w.update(gene_scale=torch.ones(4)), "expected gene_scale as F32 [5], found F32 [4]"),
        (lambda w: w.update(gene_scale=torch.ones(5, 1)), "expected gene_scale as F32 [5], found F32 [5, 1]"),
        (lambda w: w.update(gene_scale=torch.ones(5).double()), "expected gene_scale as F32 [5], found F64 [5]"),
        (lambda w: w["decoder.log_theta"].fill_(torch.nan), f"{NOT_FINITE} 'decoder.log_theta'"),
        (lambda w: w["library_mean"].fill_(torch.inf), f"{NOT_FINITE} 'library_mean'"),
    ],
    ids=["one less", "one more", "shorter", "deeper", "double", "nan", "inf"],
)  # fmt: skip
def test_wrong_weights(folder: Path, change: Callable[[Weights], Any], message: str):
    weights = load_file(folder / "weights.safetensors")
    change(weights)
    save_file(weights, folder / "weights.safetensors")
    assert refused(folder) == f"weights.safetensors: {message}"


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-4],
        lambda content: content[:100],
        lambda content: b"\xff" * 8 + content[8:],  # a header of 2^64 bytes
        lambda content: b"\x80\x04\x95" + content,  # how a pickle begins
    ],
    ids=["empty", "cut", "cut in the header", "endless header", "pickle"],
)
def test_damaged_weights(folder: Path, damage: Callable[[bytes], bytes]):
    path = folder / "weights.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    message = refused(folder)
    assert message.startswith(
        "weights.safetensors: expected safetensors weights, found a damaged or foreign file ("
    )


def test_a_config_that_asks_for_giant_layers_takes_no_memory(folder: Path):
    wide = [65_536, 65_536, 65_536]  # three times 17 GB
    rewrite(folder, lambda c: c["model"].update(encoder_layers=wide, decoder_layers=wide))
    tracemalloc.start()
    message = refused(folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "found a difference at 'decoder.body.layers.1.bias'" in message
    assert peak < 20e6  # Python's part; the tensors would not have fitted into the machine


@pytest.mark.parametrize("name", ["b\nc", "b\rc", "b\udc80c"])
def test_a_gene_name_that_a_file_cannot_hold(tmp_path: Path, name: str):
    with pytest.raises(ScraeError) as error:
        save(SCRAE(["a", name], config()), tmp_path)
    assert str(error.value) == f"save: expected gene names of one line of Unicode, found {name!r}; rename it"


def test_a_setting_that_came_later_has_its_old_value(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checkpoint, "_FORMAT", _FORMAT + 1)
    monkeypatch.setattr(checkpoint, "_ADDED", {"leak": (_FORMAT + 1, 0.5)})
    rewrite(folder, lambda c: c["model"].pop("leak"))
    assert load(folder).config.leak == 0.5
    rewrite(folder, lambda c: c["model"].update(leak=0.125))
    assert load(folder).config.leak == 0.125
    rewrite(folder, lambda c: c["model"].pop("leak"))
    rewrite(folder, lambda c: c.update(format=_FORMAT + 1))
    assert refused(folder) == "config.json: expected every setting of the model, found none for 'leak'"


def test_a_place_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ScraeError, match=r"^save: cannot write the model to .*/file: .*File exists"):
        save(SCRAE(GENES, config()), tmp_path / "file")
    (tmp_path / "model" / "weights.safetensors").mkdir(parents=True)
    with pytest.raises(ScraeError, match=r"^save: cannot write the model to .*/model: .*directory"):
        save(SCRAE(GENES, config()), tmp_path / "model")


def batched() -> CountData:
    counts = np.random.default_rng(3).poisson(2.0, (40, len(GENES)))
    return CountData(counts, GENES, batch_names=("Ünï 1", "2"), batch_codes=np.arange(40) % 2)


def test_the_batches_come_back(tmp_path: Path):
    model = SCRAE.for_data(batched(), config(), seed=4)
    save(model, tmp_path)
    again = load(tmp_path)
    assert again.batch_names == ("Ünï 1", "2")
    assert again.library_mean.shape == (2,)
    assert again.held_out_loss(batched(), torch.arange(40)) == model.held_out_loss(
        batched(), torch.arange(40)
    )
    rewrite(tmp_path, lambda c: c.update(batch_names=["1", 2]))
    assert refused(tmp_path) == "config.json: expected a list of names batch_names, found ['1', 2]"


def test_a_folder_of_before_there_were_batches_is_read(folder: Path):
    codes = load(folder).encode(data())
    rewrite(folder, lambda c: c.__delitem__("batch_names"))
    assert refused(folder) == "config.json: expected a list of names batch_names, found None"
    rewrite(folder, lambda c: c.update(format=2))
    assert load(folder).batch_names == ()
    np.testing.assert_array_equal(load(folder).encode(data()), codes)


def with_density(model: SCRAE) -> SCRAE:
    model.density = fit_density(model, data(), seed=0)
    return model


def test_the_density_comes_back_and_an_old_one_is_removed(tmp_path: Path):
    model = with_density(SCRAE.for_data(data(), config()))
    save(model, tmp_path)
    again = load(tmp_path).density
    assert again is not None
    np.testing.assert_array_equal(again.theta, model.density.theta)
    for found, expected in zip(again.mixtures, model.density.mixtures, strict=True):
        for name in ("weights", "means", "roots"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    model.density = None
    save(model, tmp_path)
    assert not (tmp_path / "density.safetensors").exists()
    assert load(tmp_path).density is None


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda arrays: arrays | {"theta": arrays["theta"][1:]}, "positive dispersions"),
        (lambda arrays: arrays | {"theta": -arrays["theta"]}, "positive dispersions"),
        (lambda arrays: arrays | {"weights.0": 2 * arrays["weights.0"]}, "weights that sum to 1"),
        (lambda arrays: arrays | {"means.0": arrays["means.0"][:, 1:].contiguous()}, "shapes"),
        (lambda arrays: arrays | {"means.0": arrays["means.0"] * float("nan")}, "finite float64"),
        (lambda arrays: {name: value for name, value in arrays.items() if name != "roots.0"}, "roots.0"),
    ],
)
def test_a_damaged_density(tmp_path: Path, damage: Callable[..., Any], words: str):
    save(with_density(SCRAE.for_data(data(), config())), tmp_path)
    file = tmp_path / "density.safetensors"
    save_file(damage(load_file(file)), file)
    message = refused(tmp_path)
    assert message.startswith("density.safetensors: expected the density of this model, found a damaged")
    assert words in message
    file.write_bytes(b"something else")
    assert refused(tmp_path).startswith("density.safetensors: expected the density")


def test_a_loaded_model_says_its_epochs_and_is_where_it_can_be(tmp_path):
    model = SCRAE(["a", "b"], config())
    save(model, tmp_path / "untrained")
    assert "epochs" not in repr(load(tmp_path / "untrained"))
    model.epochs = 7
    save(model, tmp_path / "model")
    found = load(tmp_path / "model")
    assert found.epochs == 7
    assert "epochs=7, device=" in repr(found)
    assert found.library_mean.device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ScraeError, match="device: expected an available device, found 'cuda:99'"):
        load(tmp_path / "model", device="cuda:99")
