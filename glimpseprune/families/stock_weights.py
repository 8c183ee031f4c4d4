"""Loads the stock model of a checkpoint onto its device, tensor by tensor, and refuses one that lacks weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import GenerationConfig

from glimpseprune.errors import GlimpseError

_FLOATS = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


def load_stock(kind: Any, folder: Path, dtype: torch.dtype, device: torch.device, attn_implementation: str) -> Any:
    """Load a stock model, as :class:`~glimpseprune.families.registry.LoadWeights` asks.

    Weights in the type of their file are parts of the mapped file, of which all processes of a machine share one copy.
    They are therefore loaded in that type, and change it one by one, on their device.

    Args:
        kind: class of the model in transformers.
        folder: folder of a checkpoint.
        dtype: type of the weights.
        device: device of the weights.
        attn_implementation: name of the attention implementation in transformers.

    Raises:
        GlimpseError: the checkpoint is incomplete.
    """
    stored = _stored_dtype(folder) or dtype
    model, info = kind.from_pretrained(
        folder,
        dtype=stored,
        attn_implementation=attn_implementation,
        use_safetensors=True,  # pickled weights could run code
        output_loading_info=True,
    )
    for missing in ("missing_keys", "mismatched_keys"):
        if info[missing]:
            raise GlimpseError(
                f"{folder}: expected a complete checkpoint, found {len(info[missing])} {missing.replace('_', ' ')}, "
                f"such as {sorted(info[missing])[0]}; download it again or take another"
            )
    if model.generation_config is None:
        model.generation_config = GenerationConfig.from_model_config(model.config)
    model.to(device)
    for parameter in model.parameters():  # not the buffers, of which rotary frequencies stay in float32
        parameter.data = parameter.data.to(dtype)
    return model


def _stored_dtype(folder: Path) -> torch.dtype | None:
    """Read the type of a checkpoint's weights; ``None`` if it cannot be told, or is not the same for all."""
    found = set()
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as weights:
            found |= {weights.get_slice(name).get_dtype() for name in weights.keys()}
    return _FLOATS.get(found.pop()) if len(found) == 1 else None
