"""Finds a model family by name; a checkpoint's ``model_type`` is the name of its module."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from glimpseprune.errors import UnsupportedModelError
from glimpseprune.families.base import Backbone
from glimpseprune.families.refused import why_refused
from glimpseprune.families.shape import ModelShape
from glimpseprune.families.tower_attention import TowerAttention

_NOT_A_FAMILY = {
    "base",
    "decoder",
    "decoder_layer",
    "golden_prompt",
    "prompt_tokens",
    "refused",
    "registry",
    "shape",
    "stock_weights",
    "tower_attention",
}
_registered: dict[str, str] = {}


class LoadWeights(Protocol):
    """Reads the weights of a checkpoint folder into the stock model."""

    def __call__(self, folder: Path, dtype: torch.dtype, device: torch.device, attn_implementation: str) -> Any:
        """Return the model on its device, with its ``generation_config``.

        Args:
            folder: folder of a checkpoint.
            dtype: type of the weights.
            device: device of the weights.
            attn_implementation: attention of the stock model's own forward, by its name in transformers.

        Raises:
            GlimpseError: the checkpoint is incomplete.
            OSError: the folder holds no weights.
        """


class MakeBackbone(Protocol):
    """Wraps the stock model without changing it."""

    def __call__(self, model: Any, attention: TowerAttention) -> Backbone:
        """Return the model as its parts.

        Args:
            model: the stock model.
            attention: attention of the vision tower; the language model takes SDPA.

        Raises:
            UnsupportedModelError: the model has parts that the family does not support.
        """


class ReadShape(Protocol):
    """Takes the sizes from a checkpoint's configuration."""

    def __call__(self, config: Any) -> ModelShape:
        """Return the sizes."""


@dataclass(frozen=True, slots=True)
class Family:
    """Describes a model family; its module holds one of these under the name ``FAMILY``.

    Attributes:
        read_config: function that reads the configuration of a checkpoint folder.
        read_shape: function that takes the sizes from the configuration.
        load_weights: function that loads the stock model.
        backbone: function that wraps the stock model.
    """

    read_config: Any
    read_shape: ReadShape
    load_weights: LoadWeights
    backbone: MakeBackbone


@dataclass(frozen=True, slots=True)
class Golden:
    """Holds the golden numbers of a family, under the name ``GOLDEN`` in module ``<model_type>_golden``.

    Attributes:
        make_model: function that makes a small stock model, whose weights the caller fills in.
        make_inputs: function that makes one prompt from a source of noise.
        scores: expected importance logits with the fixed add-on.
        logits: expected logits of the first new token.
        tokens: expected new tokens.
        logprobs: expected log-probability of each new token.
    """

    make_model: Callable[[], Any]
    make_inputs: Callable[[Callable[[int, int], Tensor]], dict[str, Tensor]]
    scores: list[float]
    logits: list[float]
    tokens: list[int]
    logprobs: list[float]


def register_family(model_type: str, module: str) -> None:
    """Register a family that lives outside this package.

    Args:
        model_type: name of the family in the ``config.json`` of its checkpoints.
        module: name of an importable module with a ``FAMILY``.
    """
    _registered[model_type] = module


def supported_families() -> list[str]:
    """List every ``model_type`` that can be loaded, sorted."""
    package = importlib.import_module("glimpseprune.families")
    shipped = {module.name for module in pkgutil.iter_modules(package.__path__)} - _NOT_A_FAMILY
    parts = {name for name in shipped if any(name.startswith(f"{other}_") for other in shipped)}
    return sorted((shipped - parts) | set(_registered))


def find_family(model_type: str) -> Family:
    """Import the family of a ``model_type``.

    Args:
        model_type: name of the family in the checkpoint's ``config.json``.

    Raises:
        UnsupportedModelError: no family has this name; the message lists those that are supported, and says why if it
            cannot be.
    """
    if model_type not in supported_families():
        reason = why_refused(model_type)
        advice = "" if reason else ", or add the family as CONTRIBUTING.md describes"
        raise UnsupportedModelError(
            f"model_type {model_type!r} is not supported{f': {reason}' if reason else ''}; supported: "
            f"{', '.join(supported_families())}. Take such a checkpoint{advice}"
        )
    module = importlib.import_module(_registered.get(model_type, f"glimpseprune.families.{model_type}"))
    family: Family = module.FAMILY
    return family


def golden_families() -> dict[str, Golden]:
    """Find the families that have golden numbers to check an installation with."""
    found = {name: find_golden(name) for name in supported_families()}
    return {name: golden for name, golden in found.items() if golden is not None}


def find_golden(model_type: str) -> Golden | None:
    """Import the golden numbers of a family; ``None`` if it has none."""
    module = f"{_registered.get(model_type, f'glimpseprune.families.{model_type}')}_golden"
    if importlib.util.find_spec(module) is None:
        return None
    golden: Golden = importlib.import_module(module).GOLDEN
    return golden
