from __future__ import annotations

import pytest
import torch

from scrae import ScraeError
from scrae.core.device import resolve_device


@pytest.mark.parametrize("n_cuda", [0, 2])
def test_names_of_devices(n_cuda: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: n_cuda > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: n_cuda)
    assert resolve_device("cpu") == resolve_device(torch.device("cpu")) == "cpu"
    assert resolve_device("auto") == ("cuda" if n_cuda else "cpu")
    for name in ("gpu", "mps", "cuda:", "cuda:x", "cpu:1"):
        with pytest.raises(ScraeError, match=f"^device: expected auto, cpu or cuda, found '{name}'$"):
            resolve_device(name)
    for name in ("cuda", "cuda:1"):
        if n_cuda:
            assert resolve_device(torch.device(name)) == name
            continue
        with pytest.raises(ScraeError) as error:
            resolve_device(name)
        assert str(error.value) == (
            f"device: expected an available device, found {name!r} and 0 CUDA devices for torch; use 'cpu'"
        )
    with pytest.raises(ScraeError, match=f"found 'cuda:2' and {n_cuda} CUDA devices"):
        resolve_device("cuda:2")
