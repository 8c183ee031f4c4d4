"""Checks that the device of a model is there, before anything is loaded onto it."""

from __future__ import annotations

import torch

from pipeline.errors import UsageError


def check_device(name: str) -> None:
    """Refuse a GPU that this machine does not have.

    Args:
        name: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        UsageError: there is no such GPU.
    """
    gpus = torch.cuda.device_count()
    kind, _, number = name.partition(":")
    if kind == "cuda" and int(number or 0) >= gpus:
        found = f"found {gpus}, counted from 0" if gpus else "found none"
        raise UsageError(f"--device {name} needs a GPU, {found}; `docpipe doctor` lists the devices")
