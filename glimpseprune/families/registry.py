"""Families by name: a checkpoint's ``model_type`` is the name of the module that drives it."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from glimpseprune.errors import UnsupportedModelError
from glimpseprune.families.base import Backbone
from glimpseprune.families.shape import ModelShape

_NOT_A_FAMILY = {"base", "shape", "registry"}
_registered: dict[str, str] = {}


class LoadWeights(Protocol):
    """Reads the weights of a checkpoint folder or hub id into the stock model."""

    def __call__(self, base: str, dtype: torch.dtype, attn_implementation: str, revision: str | None) -> Any:
        """Return the model on the CPU, with its ``generation_config``.

        Args:
            base: folder or hub id.
            dtype: type of the weights.
            attn_implementation: attention implementation.
            revision: branch, tag or commit on the hub.

        Raises:
            GlimpseError: the checkpoint is incomplete.
            OSError: there is no such folder or hub id.
        """


class MakeBackbone(Protocol):
    """Wraps the stock model; nothing in it is changed."""

    def __call__(self, model: Any) -> Backbone:
        """Return the model as its parts.

        Args:
            model: the stock model.

        Raises:
            UnsupportedModelError: the model has parts that the family does not drive.
        """


class ReadShape(Protocol):
    """Reads the sizes from a checkpoint's configuration."""

    def __call__(self, config: Any) -> ModelShape:
        """Return the sizes."""


@dataclass(frozen=True, slots=True)
class Family:
    """A model family; its module offers one under the name ``FAMILY``.

    Attributes:
        read_config: reads the configuration of a folder or hub id (``base, revision``).
        read_shape: takes the sizes out of it.
        load_weights: loads the stock model.
        backbone: wraps it.
    """

    read_config: Any
    read_shape: ReadShape
    load_weights: LoadWeights
    backbone: MakeBackbone


@dataclass(frozen=True, slots=True)
class Golden:
    """Known numbers of a family; its module ``<model_type>_golden`` offers them under the name ``GOLDEN``.

    Attributes:
        make_backbone: makes a small model; its ``model`` attribute holds the parameters.
        make_inputs: makes one prompt from a source of noise.
        scores: importance logits that the fixed add-on has to give.
        logits: logits of the first new token.
        tokens: new tokens.
        logprobs: log-probability of each.
    """

    make_backbone: Callable[[], Any]
    make_inputs: Callable[[Callable[[int, int], Tensor]], dict[str, Tensor]]
    scores: list[float]
    logits: list[float]
    tokens: list[int]
    logprobs: list[float]


def register_family(model_type: str, module: str) -> None:
    """Add a family that lives outside this package.

    Args:
        model_type: name in the ``config.json`` of its checkpoints.
        module: importable module with a ``FAMILY``.
    """
    _registered[model_type] = module


def supported_families() -> list[str]:
    """Every ``model_type`` that can be loaded, sorted."""
    package = importlib.import_module("glimpseprune.families")
    shipped = {module.name for module in pkgutil.iter_modules(package.__path__)} - _NOT_A_FAMILY
    parts = {name for name in shipped if any(name.startswith(f"{other}_") for other in shipped)}
    return sorted((shipped - parts) | set(_registered))


def find_family(model_type: str) -> Family:
    """Import the family of a ``model_type``.

    Args:
        model_type: name in the checkpoint's ``config.json``.

    Raises:
        UnsupportedModelError: no module drives it; the message lists those that can be driven.
    """
    if model_type not in supported_families():
        raise UnsupportedModelError(
            f"models of type {model_type!r} are not supported; supported: {', '.join(supported_families())}. "
            "CONTRIBUTING.md says how a family is added"
        )
    module = importlib.import_module(_registered.get(model_type, f"glimpseprune.families.{model_type}"))
    family: Family = module.FAMILY
    return family


def golden_families() -> dict[str, Golden]:
    """The families that have known numbers to check an installation against."""
    found: dict[str, Golden] = {}
    for name in supported_families():
        module = f"{_registered.get(name, f'glimpseprune.families.{name}')}_golden"
        if importlib.util.find_spec(module) is not None:
            found[name] = importlib.import_module(module).GOLDEN
    return found
