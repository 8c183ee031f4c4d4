"""GlimpsePrune (arXiv 2508.01548): look once at an image, keep the visual tokens a question needs, answer from those.

The public names load on first use, so that ``import glimpseprune`` does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glimpseprune.addon import save_addon
    from glimpseprune.errors import (
        AddonError,
        DivergedError,
        GlimpseError,
        InputError,
        StackError,
        UnsupportedModelError,
    )
    from glimpseprune.generation import Output, generate, generate_page, prefill_page
    from glimpseprune.greedy import Decoded
    from glimpseprune.model import GlimpseModel, load, new_glimpse
    from glimpseprune.pool import DecodePool
    from glimpseprune.prefill import Prefilled
    from glimpseprune.rule import KeepRule
    from glimpseprune.stats import PruneStats

__all__ = [
    "AddonError",
    "DecodePool",
    "Decoded",
    "DivergedError",
    "GlimpseError",
    "GlimpseModel",
    "InputError",
    "KeepRule",
    "Output",
    "Prefilled",
    "PruneStats",
    "StackError",
    "UnsupportedModelError",
    "generate",
    "generate_page",
    "load",
    "new_glimpse",
    "prefill_page",
    "save_addon",
]

_HOME = {
    "AddonError": "errors",
    "DecodePool": "pool",
    "Decoded": "greedy",
    "DivergedError": "errors",
    "GlimpseError": "errors",
    "GlimpseModel": "model",
    "InputError": "errors",
    "KeepRule": "rule",
    "Output": "generation",
    "Prefilled": "prefill",
    "PruneStats": "stats",
    "StackError": "errors",
    "UnsupportedModelError": "errors",
    "generate": "generation",
    "generate_page": "generation",
    "load": "model",
    "new_glimpse": "model",
    "prefill_page": "generation",
    "save_addon": "addon",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
