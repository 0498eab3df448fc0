"""Principal components of what the encoder reads, against a dense decomposition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.inputs import dense_input
from reference.cells import cells

from scrae.config import ModelConfig
from scrae.core.data import CountData
from scrae.core.input_pca import input_components
from scrae.core.model import SCRAE


def model_and_data(counts: np.ndarray) -> tuple[SCRAE, CountData]:
    data = CountData(counts)
    return SCRAE.for_data(data, ModelConfig(n_latent=2, encoder_layers=(4,), decoder_layers=(4,))), data


def dense_components(model: SCRAE, data: CountData, fitted: np.ndarray) -> np.ndarray:
    x = dense_input(model, data.minibatch(torch.arange(len(data)))).numpy().astype(np.float64)
    axes = np.linalg.svd(x[fitted] - x[fitted].mean(axis=0), full_matrices=False)[2][:15]
    return (x - x[fitted].mean(axis=0)) @ axes.T


@pytest.mark.usefixtures("global_randomness_untouched")
def test_they_are_those_of_a_dense_decomposition():
    model, data = model_and_data(cells(1100, 30, seed=3))  # more than a block of rows
    found = input_components(model, data, seed=0)
    expected = dense_components(model, data, np.arange(1100))
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-4)
    np.testing.assert_array_equal(found, input_components(model, data, seed=0))
    np.testing.assert_allclose(np.abs(found), np.abs(input_components(model, data, seed=1)), atol=1e-4)


def test_of_many_cells_some_give_the_axes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("scrae.core.input_pca._FITTED", 50)
    model, data = model_and_data(cells(120, 30, seed=4))
    fitted = np.random.default_rng(7).permutation(120)[:50]
    expected = dense_components(model, data, fitted)
    np.testing.assert_allclose(np.abs(input_components(model, data, seed=7)), np.abs(expected), atol=1e-4)


@pytest.mark.parametrize(
    ("counts", "width"),
    [
        (np.array([[1, 0], [0, 3]]), 1),
        (np.ones((30, 4)), 1),
        (np.zeros((6, 3)), 1),
        (np.eye(1), 1),
        (cells(9, 30, seed=1), 8),
    ],
    ids=["two cells", "all alike", "empty", "one gene", "nine cells"],
)
def test_few_or_equal_cells_pass(counts: np.ndarray, width: int):
    model, data = model_and_data(counts)
    found = input_components(model, data, seed=0)
    assert found.shape == (len(counts), width)
    assert np.isfinite(found).all()
