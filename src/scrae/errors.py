"""The error and the warning that scrae raises on purpose, and the messages about wrong values."""

from __future__ import annotations

import difflib
import math
import types
import typing
from collections.abc import Iterable
from typing import Any, Literal

__all__ = ["ScraeError", "ScraeWarning", "check_fields", "did_you_mean", "show"]


class ScraeError(ValueError):
    """A known error: its one-line message says what was expected, what was found and what to do."""


class ScraeWarning(UserWarning):
    """Something legal that the user should know of, said in one line."""


def show(value: object) -> str:
    """Return ``repr(value)`` for a message, truncated to 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """Return the end of a message that suggests the known name closest to ``name``; "" where none is close.

    Case does not count: ``Cell_Type`` is closest to ``cell_type``.
    """
    names = {str(other).lower(): str(other) for other in known if isinstance(other, str)}
    near = difflib.get_close_matches(str(name).lower(), names, n=1, cutoff=0.5)
    return f"; did you mean {names[near[0]]!r}?" if near else ""


def check_fields(config: Any) -> None:
    """Refuse a config whose fields do not hold what their annotations say."""
    for name, hint in typing.get_type_hints(type(config)).items():
        value = getattr(config, name)
        if not _fits(value, hint):
            raise ScraeError(
                f"{type(config).__name__}.{name}: expected {_describe(hint)}, found {show(value)}"
                f"{did_you_mean(value, typing.get_args(hint))}"
            )


def _fits(value: Any, hint: Any) -> bool:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return value in parts
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(v, parts[0]) for v in value)
    if hint is float:
        return (
            isinstance(value, (int, float)) and not isinstance(value, bool) and -math.inf < value < math.inf
        )
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _describe(hint: Any) -> str:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return "one of " + ", ".join(repr(p) for p in parts)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_describe(part) for part in parts)
    if origin is tuple:
        return f"a tuple of {_describe(parts[0])}"
    return {int: "a whole number", float: "a number", type(None): "None"}.get(
        hint, getattr(hint, "__name__", str(hint))
    )
