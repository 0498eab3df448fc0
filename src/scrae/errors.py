"""The error and the warning that scrae raises on purpose, and the messages about wrong values."""

from __future__ import annotations

import difflib
import math
import types
import typing
from collections.abc import Iterable
from typing import Annotated, Any, Literal

__all__ = ["ScraeError", "ScraeWarning", "check_fields", "did_you_mean", "show"]

_MOST_SIZES = 32
"""Bounds a tuple of layer sizes, so that a foreign model folder cannot ask for any amount of memory."""


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
    """Raise an error that names the field of a dataclass whose value does not fit its annotation.

    ``Annotated[int, low, high]`` is a whole number between these, both allowed.
    """
    for name, hint in typing.get_type_hints(type(config), include_extras=True).items():
        value = getattr(config, name)
        if not _fits(value, hint):
            raise ScraeError(
                f"{name}: expected {_describe(hint)}, found {show(value)}"
                f"{did_you_mean(value, typing.get_args(hint))}"
            )


def _fits(value: Any, hint: Any) -> bool:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return value in parts
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Annotated:
        kind, low, high = parts
        is_number = isinstance(value, (int, float) if kind is float else int) and not isinstance(value, bool)
        return is_number and low <= value <= high and value != math.inf
    if origin is tuple:
        return (
            isinstance(value, tuple) and len(value) <= _MOST_SIZES and all(_fits(v, parts[0]) for v in value)
        )
    return isinstance(value, hint)


def _describe(hint: Any) -> str:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return "one of " + ", ".join(map(repr, parts))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_describe, parts))
    if origin is Annotated:
        kind, low, high = parts
        extent = f"of at least {low}" if high == math.inf else f"from {low} to {high}"
        return f"a {'whole ' if kind is int else ''}number {extent}"
    if origin is tuple:
        return f"a tuple of at most {_MOST_SIZES} sizes, each {_describe(parts[0])}"
    return {type(None): "None", bool: "True or False", str: "a text"}.get(hint) or str(hint.__name__)
