"""Finds the exporter of a format by the name of its module."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from pipeline.errors import UsageError
from pipeline.output import export
from pipeline.output.export.base import Exporter

_registered: dict[str, str] = {}


def register_exporter(name: str, module_path: str) -> None:
    """Register a module outside this package as an exporter.

    Args:
        name: name of the format.
        module_path: dotted path of the module that holds ``EXPORTER``.
    """
    _registered[name] = module_path


def formats() -> list[str]:
    """List the formats that :func:`find_exporter` knows, sorted."""
    own = {module.name for module in pkgutil.iter_modules(export.__path__)}
    return sorted({name for name in own if hasattr(import_module(_path(name)), "EXPORTER")} | set(_registered))


def find_exporter(name: str) -> Exporter:
    """Find the exporter of a format.

    Args:
        name: name of the format, such as ``xlsx``.

    Raises:
        UsageError: there is no such format.
    """
    known = formats()
    if name not in known:
        raise UsageError(f"--format {name}: expected one of {', '.join(known)}")
    exporter: Exporter = import_module(_registered.get(name, _path(name))).EXPORTER
    return exporter


def _path(name: str) -> str:
    return f"{export.__name__}.{name}"
