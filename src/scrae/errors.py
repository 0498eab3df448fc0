"""The one error and the one warning that scrae raises on purpose."""

from __future__ import annotations

__all__ = ["ScraeError", "ScraeWarning"]


class ScraeError(ValueError):
    """A known error: its one-line message says what was expected, what was found and what to do."""


class ScraeWarning(UserWarning):
    """Something legal that the user should know of, said in one line."""
