"""What only a CUDA device can show."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

import glimpseprune as gp
from glimpseprune import golden
from glimpseprune.families import tower_attention
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


def _agrees_with_sdpa(base: Path, addon: Path, name: str) -> None:
    """The tower's kernel is the one named, and rounds otherwise than SDPA at most."""
    chosen = gp.load(base, addon, "cuda", "bfloat16")
    sdpa = gp.load(base, addon, "cuda", "bfloat16", "sdpa")
    assert chosen.backbone.attention.name == name  # type: ignore[attr-defined]
    for rule in (None, RULE):
        one, other = (gp.generate(model, batch(ITEMS), rule, 4) for model in (chosen, sdpa))
        torch.testing.assert_close(one.first_logits, other.first_logits, rtol=0.05, atol=0.1)


@pytest.mark.skipif(importlib.util.find_spec("flash_attn") is None, reason="flash-attn is not installed")
def test_flash_attention_is_chosen_and_agrees_with_sdpa(tiny_base: Path, tiny_addon: Path) -> None:
    _agrees_with_sdpa(tiny_base, tiny_addon, "flash_attention_2")


@pytest.mark.skipif(importlib.util.find_spec("torch.nn.attention.varlen") is None, reason="torch is older than 2.10")
def test_without_flash_attention_torchs_kernel_is_chosen_and_agrees_with_sdpa(
    tiny_base: Path, tiny_addon: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tower_attention, "flash_attn", lambda: "missing")
    _agrees_with_sdpa(tiny_base, tiny_addon, "varlen")


def test_steps_of_many_lengths_take_no_plan_each(tiny_base: Path) -> None:
    """cuDNN's attention plans for each length of the keys, which takes longer than all else in a step."""
    model = gp.load(tiny_base, device="cuda", dtype="bfloat16")
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        gp.generate(model, batch(ITEMS), None, 16)
    assert not [event.key for event in found.key_averages() if "cudnn" in event.key.lower() and "sdpa" in event.key]
