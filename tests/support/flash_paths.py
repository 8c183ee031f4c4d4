"""Answers by every path, with flash-attn in the vision tower and with SDPA."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

import glimpseprune as gp
from glimpseprune.families.qwen2_5_vl import Qwen25VL
from glimpseprune.families.tower_attention import TowerAttention
from tests.support.batches import ITEMS, RULE, batch, item
from tests.support.pages import ask_page, questions_about_one_page

_LENGTHS = (9, 4, 17, 1, 6)
_VISIBLE = torch.arange(8 * 12) % 5 > 1


def _ask(rule: Any, visible: torch.Tensor | None = None) -> Callable[[gp.GlimpseModel], gp.Output]:
    prompts, pixels, grid = questions_about_one_page(_LENGTHS)
    return lambda model: ask_page(model, prompts, pixels, grid, rule, 8, visible)


PATHS: dict[str, tuple[Callable[[gp.GlimpseModel], gp.Output], int]] = {
    "alone": (lambda model: gp.generate(model, ITEMS[0], RULE, 8), 1),
    "alone, unpruned": (lambda model: gp.generate(model, ITEMS[0], None, 8), 1),
    "pooled": (lambda model: gp.generate(model, batch(ITEMS), [RULE, None, RULE, RULE], 8), len(ITEMS)),
    "shared": (_ask(RULE), 1),
    "dense": (_ask(None), 1),
    "some pruned": (_ask([RULE, None, RULE, None, RULE]), 1),
    "drop-blank": (_ask(RULE, _VISIBLE), 1),
    "drop-blank, dense": (_ask(None, _VISIBLE), 1),
    "several images": (lambda model: gp.generate(model, item([(4, 6), (7, 3)], text=9, seed=5), RULE, 8), 2),
    "no image": (lambda model: gp.generate(model, item([], text=12, seed=6), None, 8), 0),
}
"""What answers, by path, and the number of images that go through the tower."""


def compared(sdpa: gp.GlimpseModel, kernel: Callable[..., Any], calls: list[int]) -> dict[str, dict[str, Any]]:
    """How the answers compare, by path.

    Args:
        sdpa: a model of Qwen2.5-VL, whose tower attends with SDPA.
        kernel: the kernel of flash-attn.
        calls: number of sequences of each of its calls, emptied between paths.
    """
    flash = replace(sdpa, backbone=Qwen25VL(sdpa.base, TowerAttention("flash_attention_2", kernel)))
    found = {}
    for name, (answer, _) in PATHS.items():
        want = answer(sdpa)
        assert not calls
        got = answer(flash)
        found[name] = {
            "tokens": [[tokens.tolist() for tokens in out.sequences] for out in (want, got)],
            "keep": [[keep.tolist() for keep in out.keep] for out in (want, got)],
            "apart": float((want.first_logits - got.first_logits).abs().max()),
            "calls": len(calls),
            "sequences": max(calls, default=0),
        }
        calls.clear()
    return found
