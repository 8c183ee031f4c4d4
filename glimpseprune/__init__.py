"""GlimpsePrune (arXiv 2508.01548): look once at an image, keep the visual tokens a question needs, answer from those.

The public names load on first use, so that ``import glimpseprune`` does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glimpseprune.decode.greedy import Decoded
    from glimpseprune.decode.pool import DecodePool
    from glimpseprune.errors import (
        AddonError,
        DivergedError,
        GlimpseError,
        InputError,
        StackError,
        UnsupportedModelError,
    )
    from glimpseprune.generation import Output, generate, generate_page, prefill_page
    from glimpseprune.methods.glimpse.addon import save_addon
    from glimpseprune.model import GlimpseModel, load, new_glimpse
    from glimpseprune.prefill.alone import Prefilled
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
    "DecodePool": "decode.pool",
    "Decoded": "decode.greedy",
    "DivergedError": "errors",
    "GlimpseError": "errors",
    "GlimpseModel": "model",
    "InputError": "errors",
    "KeepRule": "rule",
    "Output": "generation",
    "Prefilled": "prefill.alone",
    "PruneStats": "stats",
    "StackError": "errors",
    "UnsupportedModelError": "errors",
    "generate": "generation",
    "generate_page": "generation",
    "load": "model",
    "new_glimpse": "model",
    "prefill_page": "generation",
    "save_addon": "methods.glimpse.addon",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
