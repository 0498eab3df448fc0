"""Progress of a training in logs, and what a model and a decoded gene say of themselves."""

from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse

from scrae import ModelConfig, TrainConfig, tl
from scrae.core.checkpoint import Epoch
from scrae.tl._progress import ProgressLines

CONFIG = ModelConfig(n_latent=2, encoder_layers=(8,), decoder_layers=(8,))


@pytest.fixture
def adata() -> AnnData:
    counts = sparse.csr_matrix(np.random.default_rng(0).poisson(2.0, (40, 12)).astype(np.int32))
    made = AnnData(counts.astype(np.float32), layers={"counts": counts})
    made.var_names = [f"g{i}" for i in range(12)]
    made.var["scrae_selected"] = True
    made.obs["lane"] = np.where(np.arange(40) % 2, "a", "b")
    return made


def epoch(number: int, validation: float = 2.0) -> Epoch:
    return Epoch(number, 1.0, 0, 0, 0, 0, 0, validation, 0)


def test_a_line_every_tenth_of_the_epochs() -> None:
    lines: list[str] = []
    take = ProgressLines(lines.append, clock=lambda: 0.0)
    for number in range(1, 41):
        take(epoch(number), 40)
    assert [line.split()[1] for line in lines] == [str(n) for n in range(4, 41, 4)]
    assert lines[0] == "epoch 4 of 40, loss 2.0"
    take(epoch(4, float("nan")), 40)  # the next training
    assert lines[-1] == "epoch 4 of 40, loss 1.0"


def test_a_line_every_half_minute() -> None:
    lines: list[str] = []
    now = iter(range(0, 2000, 16))
    take = ProgressLines(lines.append, clock=lambda: float(next(now)))
    for number in range(1, 9):
        take(epoch(number), 1000)
    assert [line.split()[1] for line in lines] == ["2", "4", "6", "8"]


def test_training_shows_lines_where_there_is_no_terminal(
    adata: AnnData, capsys: pytest.CaptureFixture[str]
) -> None:
    heard: list[int] = []
    quick = TrainConfig(max_epochs=20, batch_size=32, patience=None)
    tl.train(
        adata, CONFIG, quick, progress=True, on_epoch=lambda one, _: heard.append(one.epoch), device="cpu"
    )
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("epoch 20 of 20, loss ")
    assert 10 <= len(lines) <= 20
    assert heard == list(range(1, 21))
    tl.train(adata, CONFIG, quick, device="cpu")
    assert capsys.readouterr().err == ""


def test_a_model_describes_itself(adata: AnnData) -> None:
    quick = TrainConfig(max_epochs=1, batch_size=32)
    model = tl.train(adata, CONFIG, quick, batch_key="lane", device="cpu")
    assert repr(model) == (
        "SCRAE(genes=12, n_latent=2, prior='learned', likelihood='nb', batches=2, epochs=1, device='cpu')"
    )
    clean = tl.denoise(adata, model, genes="g3", batch="a")
    assert list(clean.var_names) == ["g3"]
    whole = tl.denoise(adata, model, batch="a")
    assert np.array_equal(clean.X, whole[:, "g3"].X)
