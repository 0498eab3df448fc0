"""The device to compute on."""

from __future__ import annotations

import torch

from ..errors import ScraeError

__all__ = ["resolve_device"]


def resolve_device(device: torch.device | str) -> str:
    """Return the torch device for a name, if this machine has it.

    Parameters
    ----------
    device : torch.device or str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or one of several, e.g. ``"cuda:1"``; ``"auto"`` = CUDA if available,
        otherwise the CPU.

    Returns
    -------
    str
        Name of the device.

    Raises
    ------
    ScraeError
        The name is unknown, or this machine has no such device.
    """
    name = str(device)
    kind, _, number = name.partition(":")
    if name not in ("auto", "cpu", "cuda") and not (kind == "cuda" and number.isdecimal()):
        raise ScraeError(f"device: expected auto, cpu or cuda, found {name!r}")
    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda" if n_cuda else "cpu"
    if kind == "cuda" and int(number or 0) >= n_cuda:
        raise ScraeError(
            f"device: expected an available device, found {name!r} and {n_cuda} CUDA devices for torch; use 'cpu'"
        )
    return name
