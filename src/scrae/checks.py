"""What the settings check of themselves on construction."""

from __future__ import annotations

import difflib
import math
import types
import typing
from collections.abc import Iterable
from typing import Any, Literal

from .errors import ScraeError

__all__ = ["at_least", "between", "check_types", "did_you_mean", "show"]


def check_types(config: Any) -> None:
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


def show(value: Any) -> str:
    """Return a value for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def did_you_mean(name: object, there: Iterable[object]) -> str:
    """Return the end of a message that suggests the nearest name of those that are there; empty where none is near.

    Case does not count: ``Cell_Type`` is nearest to ``cell_type``.
    """
    names = {str(other).lower(): str(other) for other in there if isinstance(other, str)}
    near = difflib.get_close_matches(str(name).lower(), names, n=1, cutoff=0.5)
    return f"; did you mean {names[near[0]]!r}?" if near else ""


def at_least(config: Any, **minima: float) -> None:
    """Refuse a field that is smaller than it may be; None passes."""
    for name, minimum in minima.items():
        value = getattr(config, name)
        if value is not None and value < minimum:
            raise ScraeError(
                f"{type(config).__name__}.{name}: expected at least {minimum}, found {show(value)}"
            )


def between(config: Any, **ranges: tuple[float, float]) -> None:
    """Refuse a field outside its range, both ends allowed; None passes."""
    for name, (low, high) in ranges.items():
        value = getattr(config, name)
        if value is not None and not low <= value <= high:
            raise ScraeError(f"{type(config).__name__}.{name}: expected {low} to {high}, found {show(value)}")
