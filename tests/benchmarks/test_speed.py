from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from reference import zinb
from reference.cells import cells
from scipy import sparse
from typer.testing import CliRunner

from benchmarks import speed, speed_loops
from benchmarks.records import read
from scrae.config import ModelConfig, TrainConfig
from scrae.core.data import CountData

CONFIG = ModelConfig(encoder_layers=(7, 6), decoder_layers=(6, 5), n_latent=3)
DATA = CountData(cells(30, 12))


def test_products_are_those_of_every_layer_of_encoder_and_decoder():
    model_layers = [(12, 7), (7, 6), (6, 3), (3, 6), (6, 5), (5, 12), (5, 12)]
    assert speed_loops._sizes(12, CONFIG) == model_layers


def test_the_plain_autoencoder_has_the_same_loss_as_scipy():
    torch.manual_seed(0)
    model = speed_loops._Plain(12, CONFIG)
    x = torch.from_numpy(cells(5, 12)).float()
    total = x.sum(dim=1, keepdim=True)
    h = model.decoder(model.encoder(torch.log1p(x / total * 1e4)))
    mu, logits = total * torch.softmax(model.share(h), dim=1), model.zero(h)
    expected = zinb.cell_nll(x.numpy(), mu.detach().numpy(), np.ones(12), logits.detach().numpy())
    np.testing.assert_allclose(model(x).detach(), expected, rtol=1e-4)


@pytest.mark.parametrize("prior", ["none", "learned"])
def test_all_contestants_run_and_are_timed(prior: str):
    loops = {
        "products": speed_loops.products(DATA, CONFIG, 8),
        "ours": speed_loops.ours(DATA, CONFIG, 8, prior),
        "plain": speed_loops.plain(DATA, CONFIG, 8),
        "absent": None,
    }
    found = speed._interleaved(loops, 2, 3)
    assert list(found) == ["products", "ours", "plain"]
    assert all(0 < times["least"] <= times["median"] for times in found.values())


def test_resampled_cells_have_the_genes_of_real_ones():
    counts = sparse.csr_matrix(np.array([[50.0, 0, 0], [0, 40, 60]], dtype=np.float32))
    drawn = speed._resampled(counts, 400).toarray()
    assert drawn.shape == (400, 3)
    assert not ((drawn[:, 0] > 0) & (drawn[:, 1] > 0)).any()
    assert drawn[drawn[:, 0] > 0, 0].mean() == pytest.approx(50, rel=0.05)


def test_the_most_expressed_genes_keep_their_order():
    counts = sparse.csr_matrix(np.array([[1.0, 9, 0, 5], [1, 2, 0, 5]], dtype=np.float32))
    np.testing.assert_array_equal(speed._most_expressed(counts, 2).toarray(), [[9, 5], [2, 5]])


def test_a_whole_training_is_timed_by_the_command(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(TrainConfig, "epochs_for", lambda *_: 2)
    file = tmp_path / "records.jsonl"
    command = [
        "training",
        "--data",
        str(sets),
        "--set",
        "small",
        "--cells",
        "90",
        "--genes",
        "20",
        "--repeats",
        "1",
    ]
    result = CliRunner().invoke(speed.app, [*command, "--threads", "1", "-o", str(file)])
    assert result.exit_code == 0, result.output
    (record,) = read(file)
    assert (record["n_cells"], record["n_genes"], record["machine"]["device"]) == (90, 20, "cpu")
    assert record["epochs"] == 2  # of 81 training cells, one minibatch
    assert record["iteration_ms"] == pytest.approx(1000 * record["seconds"] / 2, rel=0.02)
    assert record["cells_per_second"] == pytest.approx(162 / record["seconds"], rel=0.02)
    shown = CliRunner().invoke(speed.app, ["table", str(file)]).output
    assert "| small | 90 | 20 | 2 |" in shown
