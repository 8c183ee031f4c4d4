"""Loads the stock model of a checkpoint, and refuses one that lacks weights."""

from __future__ import annotations

from typing import Any

import torch
from transformers import GenerationConfig

from glimpseprune.errors import GlimpseError


def load_stock(kind: Any, base: str, dtype: torch.dtype, attn_implementation: str, revision: str | None) -> Any:
    """Load a stock model, as :class:`~glimpseprune.families.registry.LoadWeights` asks.

    Args:
        kind: class of the model in transformers.
        base: folder or hub id of a checkpoint.
        dtype: type of the weights.
        attn_implementation: name of the attention implementation in transformers.
        revision: branch, tag or commit on the hub; ``None`` for the main branch.

    Raises:
        GlimpseError: the checkpoint is incomplete.
    """
    model, info = kind.from_pretrained(
        base, dtype=dtype, attn_implementation=attn_implementation, revision=revision, output_loading_info=True
    )
    for missing in ("missing_keys", "mismatched_keys"):
        if info[missing]:
            raise GlimpseError(
                f"{base}: expected a complete checkpoint, found {len(info[missing])} {missing.replace('_', ' ')}, such "
                f"as {sorted(info[missing])[0]}; download it again or take another"
            )
    if model.generation_config is None:
        model.generation_config = GenerationConfig.from_model_config(model.config)
    return model
