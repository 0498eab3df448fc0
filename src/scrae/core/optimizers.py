"""Torch's Adam and AdamW without its compiler.

An optimizer loads `torch._dynamo`, which takes 1.5 s and 70 MB, only to exclude its own methods from compilation.
Nothing is compiled here. `step` is therefore called without its wrappers, and methods that would be wrapped when they
are first called are marked as wrapped already. Where a version of torch does this in another way, the compiler is
loaded.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import optim

__all__ = ["Adam", "AdamW"]

_MARK = "__dynamo_disable"


def _leave_compiler_out() -> None:
    for method in vars(optim.Optimizer).values():
        inner = getattr(method, "__wrapped__", None)
        if inner is not None and not hasattr(inner, _MARK):
            setattr(inner, _MARK, inner)


class _Plain:
    """Takes steps without the wrappers of torch."""

    def __init__(self, *args: Any, **options: Any) -> None:
        _leave_compiler_out()
        super().__init__(*args, **options)

    def step(self, closure: None = None) -> None:
        """Take a step; see :class:`torch.optim.Optimizer`."""
        with torch.no_grad():
            inspect.unwrap(super().step)(self, closure)  # type: ignore[misc]  # the mixin relies on the class beside it


class Adam(_Plain, optim.Adam):  # type: ignore[misc]  # the mixin relies on the class beside it
    """See :class:`torch.optim.Adam`."""


class AdamW(_Plain, optim.AdamW):  # type: ignore[misc]  # the mixin relies on the class beside it
    """See :class:`torch.optim.AdamW`."""
