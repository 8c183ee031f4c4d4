"""Finds the module of a model family by the ``model_type`` in a checkpoint's ``config.json``."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from pathlib import Path

from glimpseprune.families.refused import why_refused
from pipeline import families
from pipeline.errors import ModelError
from pipeline.families.base import PageFamily, read_json

_registered: dict[str, str] = {}


def register_family(model_type: str, module_path: str) -> None:
    """Register a module outside this package as a family; it takes precedence over one of this package.

    The render child and Ray's workers import the module by its path, so it must be installed or on PYTHONPATH.

    Args:
        model_type: name in the ``config.json`` of the family's checkpoints.
        module_path: dotted path of the module that holds ``FAMILY``.
    """
    _registered[model_type] = module_path


def registered_families() -> dict[str, str]:
    """Return the modules registered in this process, by model type; plain data for other processes."""
    return dict(_registered)


def supported_families() -> list[str]:
    """List the model types that :func:`find_family` knows, sorted."""
    names = {module.name for module in pkgutil.iter_modules(families.__path__)}
    return sorted({name for name in names if _own_module(name)} | set(_registered))


def find_family(folder: Path) -> PageFamily:
    """Find the family of a local checkpoint folder.

    Args:
        folder: local checkpoint folder.

    Raises:
        ModelError: the folder states no model type, or one of a family that is not supported; the message says why if
            it cannot be.
    """
    return family_and_type(folder)[0]


def family_and_type(folder: Path) -> tuple[PageFamily, str]:
    """Find the family of a local checkpoint folder, and the model type that it states.

    Args:
        folder: local checkpoint folder.

    Raises:
        ModelError: as in :func:`find_family`.
    """
    model_type = read_json(folder / "config.json").get("model_type")
    if not isinstance(model_type, str):
        raise ModelError(f"{folder}: expected a config.json with a model_type, as in every checkpoint")
    module_path = _registered.get(model_type) or _own_module(model_type)
    if module_path is None:
        reason = why_refused(model_type)
        told = f"; {reason}. Supported" if reason else "; supported"
        advice = "Take one of those" if reason else 'To add another, see "add a family" in CONTRIBUTING.md'
        raise ModelError(f"{folder} is a {model_type!r} model{told}: {', '.join(supported_families())}. {advice}")
    return family_at(module_path), model_type


def family_at(module_path: str) -> PageFamily:
    """Import the family that a module holds.

    Args:
        module_path: dotted path of the module.

    Raises:
        ModelError: the module cannot be imported here, or holds no family.
    """
    try:
        family = getattr(import_module(module_path), "FAMILY", None)
    except ImportError as error:
        raise ModelError(
            f"the model family {module_path} cannot be imported: {error}; install it, or put its folder on PYTHONPATH"
        ) from error
    if not isinstance(family, PageFamily):
        raise ModelError(f"{module_path}: expected a PageFamily named FAMILY, found {type(family).__name__}")
    return family


def _own_module(model_type: str) -> str | None:
    """Return the path of this package's module for a model type, if there is one."""
    if model_type not in {module.name for module in pkgutil.iter_modules(families.__path__)}:
        return None
    module_path = f"{families.__name__}.{model_type}"
    return module_path if hasattr(import_module(module_path), "FAMILY") else None
