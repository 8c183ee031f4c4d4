"""Answers questions about images from the few visual tokens each needs (GlimpsePrune, arXiv 2508.01548).

A public name is imported on first use, so that ``import glimpseprune`` does not import torch.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

# oneDNN keeps the code it made for each number of rows, megabytes of it in bfloat16, and pages differ in theirs: a
# process grew by gigabytes. It reads this when it first computes; a page needs fewer, and is as fast.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "256")

if TYPE_CHECKING:
    from glimpseprune.decode.greedy import Decoded
    from glimpseprune.decode.pool import DecodePool
    from glimpseprune.decode.prefilled import Prefilled
    from glimpseprune.errors import (
        AddonError,
        DivergedError,
        GlimpseError,
        InputError,
        StackError,
        UnsupportedModelError,
    )
    from glimpseprune.families.registry import register_family
    from glimpseprune.generation import Output, generate
    from glimpseprune.loading import load, new_glimpse
    from glimpseprune.methods.glimpse.addon import save_addon
    from glimpseprune.model import GlimpseModel
    from glimpseprune.page import Answer, EncodedPage, encode_page, encode_pages
    from glimpseprune.rule import KeepRule
    from glimpseprune.stats import PruneStats

__all__ = [
    "AddonError",
    "Answer",
    "DecodePool",
    "Decoded",
    "DivergedError",
    "EncodedPage",
    "GlimpseError",
    "GlimpseModel",
    "InputError",
    "KeepRule",
    "Output",
    "Prefilled",
    "PruneStats",
    "StackError",
    "UnsupportedModelError",
    "encode_page",
    "encode_pages",
    "generate",
    "load",
    "new_glimpse",
    "register_family",
    "save_addon",
]

_HOME = {
    "AddonError": "errors",
    "Answer": "page",
    "DecodePool": "decode.pool",
    "Decoded": "decode.greedy",
    "DivergedError": "errors",
    "EncodedPage": "page",
    "GlimpseError": "errors",
    "GlimpseModel": "model",
    "InputError": "errors",
    "KeepRule": "rule",
    "Output": "generation",
    "Prefilled": "decode.prefilled",
    "PruneStats": "stats",
    "StackError": "errors",
    "UnsupportedModelError": "errors",
    "encode_page": "page",
    "encode_pages": "page",
    "generate": "generation",
    "load": "loading",
    "new_glimpse": "loading",
    "register_family": "families.registry",
    "save_addon": "methods.glimpse.addon",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
