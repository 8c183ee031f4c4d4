"""What only a CUDA device can show."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

import glimpseprune as gp
from glimpseprune import golden
from tests.support.batches import ITEMS, RULE, batch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def test_the_golden_numbers_hold_on_the_device() -> None:
    golden.check("cuda")


def test_the_device_gives_the_tokens_of_the_cpu(tiny_base: Path, tiny_addon: Path) -> None:
    out = {
        device: gp.generate(gp.load(tiny_base, tiny_addon, device, "float32"), batch(ITEMS), RULE, 8)
        for device in ("cpu", "cuda")
    }
    for one, other in zip(out["cpu"].sequences, out["cuda"].sequences, strict=True):
        assert one.tolist() == other.tolist()
    for one, other in zip(out["cpu"].keep, out["cuda"].keep, strict=True):
        assert one.tolist() == other.tolist()


@pytest.mark.skipif(importlib.util.find_spec("flash_attn") is None, reason="flash-attn is not installed")
def test_flash_attention_is_chosen_and_agrees_with_sdpa(tiny_base: Path, tiny_addon: Path) -> None:
    flash = gp.load(tiny_base, tiny_addon, "cuda", "bfloat16")
    sdpa = gp.load(tiny_base, tiny_addon, "cuda", "bfloat16", "sdpa")
    assert flash.base.config.text_config._attn_implementation == "flash_attention_2"  # type: ignore[union-attr]
    for rule in (None, RULE):
        one, other = (gp.generate(model, batch(ITEMS), rule, 4) for model in (flash, sdpa))
        torch.testing.assert_close(one.first_logits, other.first_logits, rtol=0.05, atol=0.1)
