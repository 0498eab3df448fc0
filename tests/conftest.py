"""Shapes and types that scrae's annotations promise are checked while the tests run."""

from __future__ import annotations

import pkgutil
from importlib.util import find_spec

import pytest
import torch
from jaxtyping import install_import_hook

_ROOMS = [room.name for room in pkgutil.iter_modules(find_spec("scrae").submodule_search_locations)]

# The settings check their own types on construction, and tests read the messages.
install_import_hook([f"scrae.{room}" for room in _ROOMS if room != "config"], "typecheck.check")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Results do not depend on the machine's cores; a test may set another number and put it back."""
    torch.set_num_threads(1)
