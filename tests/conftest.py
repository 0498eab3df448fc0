"""Shapes and types that scrae's annotations promise are checked while the tests run."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook

_ROOMS = [room.name for room in pkgutil.iter_modules(find_spec("scrae").submodule_search_locations)]

# The settings check their own types on construction, and tests read the messages. Estimators leave it to the settings:
# scikit-learn wants constructors that take anything.
_OWN_CHECKS = ("config", "sklearn")
install_import_hook([f"scrae.{room}" for room in _ROOMS if room not in _OWN_CHECKS], "typecheck.check")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Results do not depend on the machine's cores; a test may set another number and put it back."""
    torch.set_num_threads(1)


@pytest.fixture
def global_randomness_untouched() -> Iterator[None]:
    """Fails the test if it moves the random state of NumPy or torch (Python's is moved by the type checker)."""
    before = _global_randomness()
    yield
    for name, state in _global_randomness().items():
        assert state == before[name], f"the global random state of {name} was moved"


def _global_randomness() -> dict[str, str]:
    return {
        "numpy": repr([part.tolist() for part in map(np.asarray, np.random.get_state()[1:])]),  # noqa: NPY002
        "torch": repr(torch.get_rng_state().tolist()),
    }
