"""Qwen3-VL as a :class:`~pipeline.families.base.PageFamily`: any page shape within a range of areas."""

from __future__ import annotations

from pathlib import Path

from pipeline.families.base import ModelInput, PageFamily
from pipeline.families.qwen_vl_size import fit_page, max_visual_tokens, read_pixel_budget
from pipeline.records import PixelBudget


def _read_budget(folder: Path, limit: int | None) -> PixelBudget:
    return read_pixel_budget(folder, limit, __name__)


def _load_input(folder: Path) -> ModelInput:
    from pipeline.families.qwen_vl_input import Processor  # imports torch, which the render child must not load

    return Processor(folder)


FAMILY = PageFamily(_read_budget, fit_page, max_visual_tokens, _load_input, takes_several=True)
