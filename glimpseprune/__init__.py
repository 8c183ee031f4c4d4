"""GlimpsePrune (arXiv 2508.01548): look once at an image, keep the visual tokens a question needs, answer from those.

The public names load on first use, so that ``import glimpseprune`` does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glimpseprune.addon import save_addon
    from glimpseprune.errors import AddonError, GlimpseError, InputError, StackError, UnsupportedModelError
    from glimpseprune.generation import Output, generate, generate_page
    from glimpseprune.model import GlimpseModel, load, new_glimpse
    from glimpseprune.rule import KeepRule
    from glimpseprune.stats import PruneStats

__all__ = [
    "AddonError",
    "GlimpseError",
    "GlimpseModel",
    "InputError",
    "KeepRule",
    "Output",
    "PruneStats",
    "StackError",
    "UnsupportedModelError",
    "generate",
    "generate_page",
    "load",
    "new_glimpse",
    "save_addon",
]

_HOME = {
    "AddonError": "errors",
    "GlimpseError": "errors",
    "GlimpseModel": "model",
    "InputError": "errors",
    "KeepRule": "rule",
    "Output": "generation",
    "PruneStats": "stats",
    "StackError": "errors",
    "UnsupportedModelError": "errors",
    "generate": "generation",
    "generate_page": "generation",
    "load": "model",
    "new_glimpse": "model",
    "save_addon": "addon",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
