"""Write the embedded model as an ordinary checkpoint folder of transformers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from pipeline.nano.training import vocabulary
from pipeline.nano.training.shape import CELL, GREY_MEAN, GREY_STD, MAX_VISUAL_TOKENS, PATCH


def export(model: nn.Module, folder: Path) -> None:
    """Write an ordinary checkpoint folder: bfloat16 weights, tokenizer, chat template and image processor."""
    _scale_as_usual(model)
    stock = model.to(torch.bfloat16)
    stock.generation_config.update(  # type: ignore[operator, union-attr]
        eos_token_id=vocabulary.END, pad_token_id=vocabulary.PAD, bos_token_id=None, do_sample=False
    )
    stock.save_pretrained(folder)  # type: ignore[operator]
    vocabulary.save_tokenizer(folder)
    Qwen2VLImageProcessorPil(
        size={"shortest_edge": 4 * CELL**2, "longest_edge": MAX_VISUAL_TOKENS * CELL**2},
        image_mean=[GREY_MEAN] * 3,
        image_std=[GREY_STD] * 3,
        patch_size=PATCH,
        merge_size=CELL // PATCH,
        temporal_patch_size=2,
    ).save_pretrained(folder)


def _scale_as_usual(model: Any) -> None:
    """Leave the factor of the attention to the format's readers, not all of which heed one that is declared.

    The usual one (Peng et al., 2023, "YaRN", 0.1 ln s + 1) is in queries and keys both, so both shrink by it.
    """
    rope = model.config.text_config.rope_parameters
    usual = 0.1 * math.log(rope["factor"]) + 1.0
    by = usual / rope.pop("attention_factor", usual)
    with torch.no_grad():
        for layer in model.model.language_model.layers:
            for projection in (layer.self_attn.q_proj, layer.self_attn.k_proj):
                projection.weight.div_(by)
                projection.bias.div_(by)
