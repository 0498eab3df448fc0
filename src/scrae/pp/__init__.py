"""From counts to what the model reads: filter, normalise, select genes. All work in place."""

from __future__ import annotations

from scrae.pp._filter import filter
from scrae.pp._normalize import normalize

__all__ = ["filter", "normalize"]
