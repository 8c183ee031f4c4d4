"""Does the work of ``docpipe doctor``: checks whether this machine can answer questions."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import psutil

from glimpseprune.errors import StackError
from pipeline.answering.checkpoints import NANO, resolve_model
from pipeline.errors import UsageError
from pipeline.pages.child_process import ChildProcess
from pipeline.pages.limits import RenderLimits

_PACKAGES = ("glimpse-docpipe", "torch", "transformers", "ray", "pymupdf", "pyarrow", "pydantic", "fsspec")


def examine(device: str) -> tuple[list[str], bool]:
    """Check the machine.

    Args:
        device: device that computes the golden numbers; ``auto`` takes a GPU if there is one.

    Returns:
        The lines to print, and whether docpipe works on this machine.

    Raises:
        UsageError: the device is not there.
    """
    from pipeline.answering.devices import check_device

    check_device(device)
    lines = [f"python           {platform.python_version()} ({sys.executable})"]
    healthy = True
    for name in _PACKAGES:
        try:
            lines.append(f"{name:<16} {version(name)}")
        except PackageNotFoundError:
            lines.append(f"{name:<16} MISSING")
            healthy = False
    lines += _devices()
    memory = psutil.virtual_memory()
    lines.append(f"memory           {memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free")
    lines.append(f"renderer         {_renderer()}")
    lines.append(f"embedded model   {_nano()}")
    import torch

    from glimpseprune import golden

    place = device if device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        golden.check(place)
        lines.append(f"golden numbers   ok on {place}")
    except StackError as error:
        lines.append(f"golden numbers   WRONG: {error}")
        healthy = False
    return lines, healthy


def _devices() -> list[str]:
    import torch

    from glimpseprune.families.tower_attention import flash_attn

    found = flash_attn()
    flash = f"{found}; torch's attention is used" if isinstance(found, str) else "installed"
    if not torch.cuda.is_available():
        return [f"gpu              none, {torch.get_num_threads()} CPU threads", f"flash-attn       {flash}"]
    lines = []
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        lines.append(f"gpu {index}            {name}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free")
    return [*lines, f"flash-attn       {flash}"]


def _renderer() -> str:
    child = ChildProcess(RenderLimits().memory_bytes)
    child.kill()
    if child.not_confined is None:
        return "without network and write access"
    return f"NOT CONFINED, the kernel refused {child.not_confined}; docs/security.md says what that means"


def _nano() -> str:
    try:
        resolve_model(NANO)
    except UsageError:
        return "not in this build; name a model with --model"
    return "here; it reads the documents of `docpipe demo` and no others"
